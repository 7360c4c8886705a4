"""Where the mesh's crop lies, without its network."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.landmarker import face_square
from kernels.geometry import apply, compose, invert, scale

POINTS = np.array([[-40.0, -50], [40, -50], [0, 50], [-30, 20], [10, -60]])
EYES = np.array([[-18.0, -10], [20.0, -10]])


def test_an_upright_face_fills_two_thirds() -> None:
    affine = face_square(POINTS, *EYES)
    inside = apply(affine, POINTS)
    low, high = inside.min(axis=0), inside.max(axis=0)
    assert (high - low).max() == pytest.approx(192 / 1.5)
    assert (low + high) / 2 == pytest.approx([95.5, 95.5])
    right, left = apply(affine, EYES)
    assert left[1] == pytest.approx(right[1])
    assert left[0] > right[0]


@given(
    angle=st.floats(-np.pi, np.pi),
    size=st.floats(0.05, 20),
    shift=st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)),
)
def test_the_crop_moves_with_the_face(
    angle: float, size: float, shift: tuple[float, float]
) -> None:
    cos, sin = size * np.cos(angle), size * np.sin(angle)
    move = np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]]])
    still = face_square(POINTS, *EYES)
    moved = face_square(apply(move, POINTS), *apply(move, EYES))
    assert compose(moved, move) == pytest.approx(still, abs=1e-6)


def test_a_box_turns_about_its_centre_and_keeps_its_size() -> None:
    box = np.array([[10.0, 20], [50, 60]])
    tilted = face_square(box, np.array([20.0, 30]), np.array([40.0, 50]))
    assert scale(tilted) == pytest.approx(192 / 1.5 / 40)
    assert apply(tilted, [30, 40]) == pytest.approx([95.5, 95.5])


def test_eyes_that_coincide_leave_the_crop_upright() -> None:
    affine = face_square(POINTS, EYES[0], EYES[0])
    assert affine[0, 1] == affine[1, 0] == 0
    assert np.isfinite(invert(affine)).all()
