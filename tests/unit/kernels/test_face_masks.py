"""Blend masks by geometry, against masks made another way."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels.face_masks import AREAS, area_mask, box_mask, hull_mask, soft_inside
from kernels.mesh.canonical import canonical_face
from kernels.templates import ibug_points


def gauss(mask: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Convolved with a Gaussian out to 4 sigma; zero around."""
    reach = round(sigma * 4)
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    taps /= taps.sum()
    for axis in (0, 1):
        mask = np.apply_along_axis(lambda line: np.convolve(line, taps, "same"), axis, mask)
    return mask


@pytest.mark.parametrize(
    ("blur", "padding"),
    [(0.3, (0, 0, 0, 0)), (0.3, (10, 20, 30, 40)), (0.8, (0, 0, 0, 0)), (0.5, (45, 0, 0, 0))],
)
def test_a_box_is_ones_with_a_soft_border(blur: float, padding: tuple[int, int, int, int]) -> None:
    size = 128
    mask = box_mask(size, blur, padding)
    width = int(size / 2 * blur)
    cut = [max(width // 2, size * percent // 100) for percent in padding]
    hard = np.zeros((size, size))
    hard[cut[0] : size - cut[2], cut[3] : size - cut[1]] = 1
    soft = gauss(hard, width / 4)
    assert np.abs(mask - soft).max() <= 0.051  # where it would be faint it has ended
    np.testing.assert_allclose(mask, np.clip((soft - 0.05) / 0.95, 0, 1), atol=2e-3)
    assert mask.dtype == np.float32
    assert mask[size // 2 + (cut[0] - cut[2]) // 2, size // 2 + (cut[3] - cut[1]) // 2] > 0.99


@pytest.mark.parametrize("size", [128, 256, 512])
@pytest.mark.parametrize("blur", [0.0, 0.02, 0.05, 0.1, 0.3, 1.0])
def test_a_box_has_ended_at_the_crops_edge(size: int, blur: float) -> None:
    mask = box_mask(size, blur)
    for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1]):
        assert not edge.any()
    assert 0.2 < mask.mean() < 1
    assert mask.max() <= 1
    np.testing.assert_allclose(mask, mask.T, atol=1e-5)
    np.testing.assert_allclose(mask, mask[::-1], atol=1e-5)


def test_a_box_without_blur_is_hard() -> None:
    mask = box_mask(64, 0.0, (25, 0, 0, 0))
    assert set(np.unique(mask).tolist()) == {0.0, 1.0}
    assert not mask[:16].any()
    assert mask[16:63, 1:63].all()


def face(size: int) -> NDArray[np.float64]:
    mesh = canonical_face().vertices[:, :2]
    low, high = mesh.min(axis=0), mesh.max(axis=0)
    return (mesh - (low + high) / 2) * 0.7 * size / (high - low).max() + size / 2


def inside(size: int, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance in pixels to the convex hull's edge, positive inside, by half planes."""
    rows, columns = np.mgrid[:size, :size].astype(np.float64)
    best = np.full((size, size), np.inf)
    for a in points:
        for b in points:
            along = b - a
            if np.hypot(*along) < 1e-9:
                continue
            normal = np.array([-along[1], along[0]]) / np.hypot(*along)
            if ((points - a) @ normal >= -1e-9).all():
                best = np.minimum(best, (columns - a[0]) * normal[0] + (rows - a[1]) * normal[1])
    return best


@pytest.mark.parametrize("area", AREAS)
def test_an_area_is_the_hull_of_its_points(area: str) -> None:
    size = 192
    points = ibug_points(face(size))
    mask = area_mask(size, points, [area])
    depth = inside(size, points[list(AREAS[area])])
    assert not mask[depth < -2].any()
    assert mask[depth > 13].min(initial=1) > 0.95
    if area != "mouth":  # which is not 26 pixels high
        assert (depth > 13).any()
    np.testing.assert_array_equal(area_mask(size, face(size), [area]), mask)


def test_areas_add_up_and_none_is_nothing() -> None:
    points = face(192)
    upper, lower = (area_mask(192, points, [area]) for area in ("upper-face", "lower-face"))
    both = area_mask(192, points, ["upper-face", "lower-face"])
    assert (both >= np.maximum(upper, lower) - 1e-6).all()
    assert upper[60].any()
    assert not upper[150].any()
    assert lower[150].any()
    assert not lower[60].any()
    assert not area_mask(192, points, []).any()


def test_a_hull_holds_all_points_and_lies_anywhere() -> None:
    points = face(192)
    mask = hull_mask(192, points)
    depth = inside(192, points[::3])
    assert mask[depth > 20].min() > 0.99
    assert not mask[:20].any()
    assert not hull_mask(192, points + 5000).any()
    assert hull_mask(192, (points - 96) * 100 + 96).min() == 1


def test_an_edge_is_softened_inwards_only() -> None:
    step = np.zeros((64, 64), np.float32)
    step[:, 32:] = 1
    soft = soft_inside(step.copy())
    assert not soft[:, :32].any()
    assert (np.diff(soft[20]) >= 0).all()
    assert soft[20, 60] > 0.999
    wanted = np.clip((gauss(np.pad(step.astype(np.float64), 40, "edge"), 5) - 0.5) * 2, 0, 1)
    np.testing.assert_allclose(soft[20:40], wanted[40:-40, 40:-40][20:40], atol=2e-3)
