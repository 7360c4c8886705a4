"""What the measures say about pictures whose likeness is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from kernels.metrics import (
    known_motion,
    luma_flicker,
    seam_ratio,
    similarity_map,
    unsteadiness,
    warping_error,
    weighted_mean,
)

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


def test_motion_is_known_where_there_and_back_lead_home() -> None:
    forth = np.zeros((40, 60, 2), np.float32)
    forth[..., 0] = 2
    back = -forth
    back[:, 30:, 0] = 2
    known = known_motion(forth, back)
    assert known[5:-5, 5:25].all()
    assert not known[5:-5, 35:55].any()


def test_a_picture_that_only_moves_is_steady() -> None:
    moved = np.roll(PICTURE, 3, axis=1)
    motion = np.zeros((*PICTURE.shape, 2), np.float32)
    motion[..., 0] = -3
    weight = np.zeros(PICTURE.shape, np.float32)
    weight[10:-10, 10:-10] = 1
    assert unsteadiness(moved, PICTURE, motion, weight) == pytest.approx((0, 0), abs=1e-3)
    brighter = np.clip(moved.astype(int) + 4, 0, 255).astype(np.uint8)
    still = np.zeros_like(motion)
    warp, flicker = unsteadiness(brighter, PICTURE, motion, weight)
    assert warp == pytest.approx(4, abs=0.3)
    assert flicker == pytest.approx(4, abs=0.3)
    assert unsteadiness(moved, PICTURE, still, weight)[0] > 10, "without the motion it is not"


def test_a_planted_seam_is_found() -> None:
    errors = np.random.default_rng(4).uniform(0.9, 1.1, 200)
    borders = np.zeros(200, np.bool_)
    borders[25::25] = True
    assert seam_ratio(errors, borders) == pytest.approx(1, abs=0.1)
    errors[borders] *= 3
    assert seam_ratio(errors, borders) == pytest.approx(3, abs=0.3)
    assert seam_ratio(errors, np.zeros_like(borders)) is None
    assert seam_ratio(errors, np.ones_like(borders)) is None
