"""The fitted camera, and the crop that it asks for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.geometry import apply
from kernels.mesh.canonical import canonical_face
from kernels.mesh.pose import FACE, Camera, crop_affine, turn

FACE_MESH = canonical_face()
CAMERA = Camera(FACE_MESH)


def seen(
    yaw: float, roll: float, scale: float, shift: tuple[float, float], pitch: float = 0.0
) -> np.ndarray:
    """[468, 2] the canonical face, turned by angles in degrees."""
    y, r, p = np.radians([yaw, roll, pitch])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    points: np.ndarray = (FACE_MESH.vertices @ (about_z @ about_x @ about_y).T)[:, :2]
    return points * scale + shift


@given(
    st.floats(-60, 60), st.floats(-180, 180), st.floats(20, 900), st.floats(-500, 2000),
    st.floats(-30, 30),
)  # fmt: skip
def test_the_crop_holds_the_face_upright_and_of_one_size(
    yaw: float, roll: float, scale: float, shift: float, pitch: float
) -> None:
    points = seen(yaw, roll, scale, (shift, -shift), pitch)
    affine = crop_affine(CAMERA.fit(points), 256)
    linear = affine[:, :2]
    factor = np.hypot(*linear[:, 0])
    np.testing.assert_allclose(linear.T @ linear, factor**2 * np.eye(2), atol=1e-9 * factor**2)
    assert np.linalg.det(linear) > 0
    assert factor * scale == pytest.approx(FACE * 256, rel=1e-6)
    inside = apply(affine, points)
    assert inside.min() > 16
    assert inside.max() < 240
    assert inside[10, 1] < inside[152, 1]


def test_the_camera_is_the_one_that_took_the_picture() -> None:
    points = seen(30, 10, 200, (50, 60))
    np.testing.assert_allclose(CAMERA.project(CAMERA.fit(points)), points, atol=1e-9)


@pytest.mark.parametrize("degrees", [0, 20, 45, 90])
def test_turn_is_the_sine_of_the_angle(degrees: float) -> None:
    assert turn(CAMERA.fit(seen(degrees, 25, 300, (0, 0)))) == pytest.approx(
        np.sin(np.radians(degrees)), abs=1e-6
    )


def test_no_face_is_a_clear_error() -> None:
    with pytest.raises(ValueError, match="not finite"):
        CAMERA.fit(np.full((468, 2), np.nan))
    with pytest.raises(ValueError, match="extent"):
        CAMERA.fit(np.ones((468, 2)))
    with pytest.raises(ValueError, match="extent"):
        CAMERA.fit(np.repeat(FACE_MESH.vertices[:, :1], 2, axis=1))
