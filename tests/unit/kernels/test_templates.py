"""Five points of a face, and the crops that templates ask for."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels.geometry import apply
from kernels.mesh.canonical import canonical_face
from kernels.templates import (
    IBUG_OF_MESH,
    TEMPLATES,
    five_points,
    ibug_points,
    template_affine,
    template_points,
)


def least_squares(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """x' = a x - b y + c, y' = b x + a y + d: the four numbers by a linear system."""
    rows = [[x, -y, 1, 0] for x, y in source] + [[y, x, 0, 1] for x, y in source]
    (a, b, c, d), *_ = np.linalg.lstsq(np.array(rows), target.T.ravel(), rcond=None)
    return np.array([[a, -b, c], [b, a, d]])


def turned(points: NDArray[np.float64]) -> NDArray[np.float64]:
    turn = np.deg2rad(23)
    matrix = 3.1 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return points @ matrix.T + [40, -7]


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_is_met_by_least_squares(template: str) -> None:
    noise = np.random.default_rng(1).normal(0, 2, (5, 2))
    points = turned(template_points(template, 100)) + noise
    affine = template_affine(points, template, 256)
    np.testing.assert_allclose(affine, least_squares(points, template_points(template, 256)))


def test_a_point_of_a_template_is_its_share_of_the_side() -> None:
    # Published in pixels of 112 and 512, pixel centres on whole numbers.
    expected = [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655]]
    np.testing.assert_allclose(template_points("arcface_112_v2", 112)[:4], expected, atol=1e-4)
    expected = [[192.98138, 239.94708], [318.90277, 240.1936], [256.63416, 314.01935]]
    np.testing.assert_allclose(template_points("ffhq_512", 512)[:3], expected, atol=1e-4)
    for template, points in TEMPLATES.items():
        eye, other, nose, corner, end = np.array(points)
        assert eye[0] < nose[0] < other[0], template
        assert corner[0] < nose[0] < end[0], template
        assert max(eye[1], other[1]) < nose[1] < min(corner[1], end[1]), template


def test_five_points_of_sixty_eight() -> None:
    points = np.random.default_rng(2).uniform(0, 200, (68, 2)).astype(np.float32)
    five = five_points(points)
    np.testing.assert_allclose(five[0], points[36:42].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(five[1], points[42:48].mean(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(five[2:], points[[30, 48, 54]])
    np.testing.assert_array_equal(five_points(five), five)
    np.testing.assert_array_equal(ibug_points(points), points)


def test_five_points_of_the_mesh_fit_the_templates() -> None:
    mesh = canonical_face().vertices[:, :2]
    for template in TEMPLATES:
        affine = template_affine(mesh, template, 1)
        off = apply(affine, five_points(mesh)) - TEMPLATES[template]
        # In parts of the crop; faces differ more among each other.
        assert np.hypot(*off.T).max() < 0.045, template


def test_the_mesh_as_sixty_eight_points_is_a_face() -> None:
    assert len(set(IBUG_OF_MESH)) == 68
    points = ibug_points(canonical_face().vertices[:, :2])
    centre = points[27:31, 0].mean()
    mirror = {0: 16, 3: 13, 7: 9, 17: 26, 21: 22, 31: 35, 36: 45, 39: 42, 37: 44, 48: 54, 60: 64}
    width = np.ptp(points[:, 0])
    for left, right in mirror.items():
        assert points[left, 0] - centre == pytest.approx(centre - points[right, 0], abs=width / 50)
        assert points[left, 1] == pytest.approx(points[right, 1], abs=width / 50)
    # Down the face: brows, upper lids, lower lids, nose, lips, chin.
    rows = [points[list(part), 1].mean() for part in ((19, 24), (37, 44), (41, 46), (33,))]
    rows += [points[part, 1] for part in (51, 62, 66, 57, 8)]
    assert rows == sorted(rows)


@pytest.mark.parametrize("shape", [(4, 2), (67, 2), (468, 3), (0, 2)])
def test_other_points_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="landmarks"):
        five_points(np.zeros(shape))
