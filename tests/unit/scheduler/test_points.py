from __future__ import annotations

import numpy as np
import pytest

from kernels.mesh.canonical import canonical_face
from kernels.templates import IBUG_OF_MESH
from scheduler.errors import LandmarksUnfit
from scheduler.points import IBUG, MESH, PointSet, point_set


def canonical_points(points: PointSet) -> np.ndarray:
    vertices = canonical_face().vertices[:, :2]
    return vertices if points is MESH else vertices[list(IBUG_OF_MESH)]


@pytest.mark.parametrize("points", [MESH, IBUG], ids=lambda points: points.name)
def test_groups_are_of_the_set_and_apart(points: PointSet) -> None:
    assert point_set(points.count) is points
    groups = (points.lips, points.chin, points.right_eye, points.left_eye)
    flat = [index for group in groups for index in group]
    assert len(set(flat)) == len(flat)
    everything = {*flat, *points.bones, *points.eye_corners}
    assert everything <= set(range(points.count))
    assert points.eye_corners[0] in points.right_eye
    assert points.eye_corners[1] in points.left_eye


@pytest.mark.parametrize("points", [MESH, IBUG], ids=lambda points: points.name)
def test_bones_lie_where_they_do_on_the_canonical_face(points: PointSet) -> None:
    face = canonical_points(points)
    right, left = face[list(points.eye_corners)]
    places = np.array(list(points.bones.values()))
    found = (face[list(points.bones)] - (right + left) / 2) / np.linalg.norm(left - right)
    assert np.abs(found - places).max() < 0.12
    lips = face[list(points.lips)].mean(axis=0)
    chin = face[list(points.chin)].mean(axis=0)
    assert right[0] < lips[0] < left[0], "the person's right is the viewer's left"
    assert right[1] < lips[1] < chin[1]


def test_another_number_of_points_is_refused() -> None:
    with pytest.raises(LandmarksUnfit, match="478"):
        point_set(478)
