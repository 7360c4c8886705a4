"""What the measures say about pictures whose likeness is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from kernels.metrics import luma_flicker, similarity_map, warping_error, weighted_mean

RNG = np.random.default_rng(3)
PICTURE = np.clip(
    cv2.GaussianBlur(RNG.random((96, 128)).astype(np.float32), (0, 0), 3) * 900 - 330, 0, 255
).astype(np.uint8)


def exact_ssim(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """SSIM by its definition over one window."""
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    cov = ((a - a.mean()) * (b - b.mean())).mean()
    return float(
        (2 * a.mean() * b.mean() + c1)
        * (2 * cov + c2)
        / ((a.mean() ** 2 + b.mean() ** 2 + c1) * (a.var() + b.var() + c2))
    )


def test_similarity_is_ssim_of_the_halved_pictures() -> None:
    other = np.clip(PICTURE.astype(int) + RNG.integers(-20, 20, PICTURE.shape), 0, 255)
    other = other.astype(np.uint8)
    found = similarity_map(PICTURE, other)
    a, b = (
        np.rint(p.astype(float).reshape(48, 2, 64, 2).mean((1, 3)) + 1e-6) for p in (PICTURE, other)
    )
    for y, x in ((10, 12), (24, 40), (40, 50)):
        window = np.s_[y - 3 : y + 4, x - 3 : x + 4]
        assert found[y, x] == pytest.approx(exact_ssim(a[window], b[window]), abs=0.02)
    np.testing.assert_allclose(similarity_map(PICTURE, PICTURE), 1, atol=1e-4)
    assert similarity_map(PICTURE, 255 - PICTURE).mean() < 0


def test_similarity_wants_two_pictures_of_one_even_size() -> None:
    for a, b in ((PICTURE, PICTURE[:-2]), (PICTURE[:-1], PICTURE[:-1])):
        with pytest.raises(ValueError, match="one even"):
            similarity_map(a, b)


def test_weight_decides_what_counts() -> None:
    values = np.array([[1.0, 5.0]], np.float32)
    assert weighted_mean(values, np.array([[3.0, 1.0]], np.float32)) == pytest.approx(2.0)
    assert weighted_mean(values, np.zeros((1, 2), np.float32)) == 0.0


def test_flicker_is_the_broad_part_of_the_warping_error() -> None:
    still = np.full((64, 64), 100, np.float32)
    weight = np.ones_like(still)
    noisy = still + RNG.normal(0, 4, still.shape).astype(np.float32)
    brighter = still + 3
    assert warping_error(brighter, still, weight) == pytest.approx(3)
    assert luma_flicker(brighter, still, weight) == pytest.approx(3)
    assert warping_error(noisy, still, weight) > 3
    assert luma_flicker(noisy, still, weight) < 0.5
    weight[:, :32] = 0
    half = still.copy()
    half[:, :32] += 50
    assert warping_error(half, still, weight) == luma_flicker(half, still, weight) == 0
