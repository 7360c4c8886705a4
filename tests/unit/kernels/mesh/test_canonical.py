"""The canonical mesh is a face: symmetrical, upright, mouth slightly open, well laid out."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.mesh import canonical
from kernels.mesh.canonical import CanonicalFace, canonical_face


@pytest.fixture(scope="module")
def face() -> CanonicalFace:
    return canonical_face()


def test_every_vertex_has_a_mirror_image(face: CanonicalFace) -> None:
    assert face.vertices.shape == (468, 3)
    np.testing.assert_array_equal(face.mirror[face.mirror], np.arange(468))
    np.testing.assert_allclose(
        face.vertices[face.mirror] * [-1, 1, 1], face.vertices, rtol=0, atol=2e-5
    )
    np.testing.assert_allclose(face.layout[face.mirror] * [-1, 1] + [1, 0], face.layout, atol=2e-5)


def test_units_are_face_heights(face: CanonicalFace) -> None:
    top, chin = face.vertices[10], face.vertices[152]
    np.testing.assert_allclose(chin - top, [0, 1, 0], atol=2e-5)


def test_the_nose_points_at_the_viewer_and_the_mouth_is_ajar(face: CanonicalFace) -> None:
    assert face.vertices[:, 2].argmin() in (1, 4)
    gap = face.vertices[14, 1] - face.vertices[13, 1]
    assert 0.02 < gap < 0.12


def test_the_layout_keeps_the_face_inside_its_outline(face: CanonicalFace) -> None:
    assert face.layout.min() == pytest.approx(canonical.MARGIN)
    assert face.layout.max() == pytest.approx(1 - canonical.MARGIN)
    outline = face.layout[list(canonical.OVAL)] - 0.5
    angles = np.unwrap(np.arctan2(outline[:, 1], outline[:, 0]))
    assert (np.diff(angles) > 0).all()
    radii = np.hypot(*outline.T)
    inner = np.setdiff1d(np.arange(468), canonical.OVAL)
    inside = face.layout[inner] - 0.5
    limit = np.interp(np.arctan2(inside[:, 1], inside[:, 0]), angles, radii, period=2 * np.pi)
    assert (np.hypot(*inside.T) < limit + 0.01).all()


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (canonical.LEFT_EYE, canonical.RIGHT_EYE),
        (canonical.LEFT_LIDS, canonical.RIGHT_LIDS),
        (canonical.LEFT_BROW, canonical.RIGHT_BROW),
        *[tuple(pair) for pair in (canonical.NOSTRILS, canonical.MOUTH_CORNERS)],
    ],
)
def test_paired_groups_are_mirror_images(
    face: CanonicalFace, left: tuple[int, ...], right: tuple[int, ...]
) -> None:
    assert {int(face.mirror[vertex]) for vertex in left} == set(right)
    assert (face.layout[list(left), 0] <= 0.5 + 1e-6).all()


@pytest.mark.parametrize(
    "group",
    [
        canonical.OVAL,
        canonical.OUTER_LIPS,
        canonical.INNER_LIPS,
        canonical.NOSE,
        canonical.FOREHEAD,
        canonical.STABLE,
    ],
)
def test_central_groups_are_their_own_mirror_images(
    face: CanonicalFace, group: tuple[int, ...]
) -> None:
    assert {int(face.mirror[vertex]) for vertex in group} == set(group)
