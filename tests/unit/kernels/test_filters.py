"""The temporal filters' parts, each on a case whose answer is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from kernels.colour import TransferTables
from kernels.filters import (
    SURE,
    TAU,
    TOLERANCE,
    agreement,
    amount,
    apply_colour,
    carry,
    colour_transfer,
    luma,
    seam_band,
    settle_colour,
    shrunk,
    trust,
)

Floats = NDArray[np.float32]
SIZE = 64
TABLES = TransferTables("bt709")


def picture(seed: int = 1) -> Floats:
    field = np.random.default_rng(seed).random((SIZE, SIZE, 3)).astype(np.float32)
    soft = cv2.GaussianBlur(field, (0, 0), 3)
    return (0.25 + 2 * (soft - 0.4)).clip(0.05, 0.95).astype(np.float32)


def disc(radius: float = 20) -> Floats:
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    return np.clip(radius - np.hypot(x, y), 0, 1).astype(np.float32)


def test_luma_of_white_red_and_out_of_range() -> None:
    rgb = np.array([[[1, 1, 1, 9], [1, 0, 0, 9], [2, 2, 2, 9]]], np.float32)
    np.testing.assert_array_equal(luma(rgb), [[255, 54, 255]])


def test_carry_moves_content_along_the_flow() -> None:
    before = np.dstack([picture(), disc()]).astype(np.float32)
    flow = np.zeros((SIZE, SIZE, 2), np.float32)
    flow[..., 0], flow[..., 1] = 3, -2
    carried = carry(before, flow)
    np.testing.assert_allclose(carried[10:50, 10:50], before[8:48, 13:53], atol=1e-6)
    assert (carried[:, -2:] == 0).all(), "nothing comes from beyond the border"


def test_shrunk_is_the_mean_of_four() -> None:
    np.testing.assert_allclose(
        shrunk(picture()), picture().reshape(32, 2, 32, 2, 3).mean((1, 3)), atol=1e-6
    )


def test_jitter_agrees_and_a_change_does_not() -> None:
    difference = np.zeros((32, 32, 4), np.float32)
    difference[:, 16:, 1] = 3 * TOLERANCE
    difference[..., 3] = 1  # the mask does not count
    found = agreement(amount(difference))
    assert (found[:, :13] == 1).all()
    assert (found[:, 19:] < TAU).all()
    small = agreement(amount(np.full((8, 8, 3), TOLERANCE / 4, np.float32)))
    assert (trust(small) == 1).all()


def test_trust_rises_between_its_two_thresholds() -> None:
    found = trust(np.array([-1, TAU, (TAU + SURE) / 2, SURE, 1], np.float32))
    np.testing.assert_allclose(found, [0, 0, 0.5, 1, 1], atol=1e-6)


def test_the_seam_band_lies_along_the_edge() -> None:
    band = seam_band(disc(20), 12)
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    away = np.abs(np.hypot(x, y) - 19.5)
    assert (band[away < 4] == 1).all()
    assert (band[away > 8] == 0).all()
    assert not seam_band(np.zeros((SIZE, SIZE), np.float32), 12).any()


@pytest.mark.parametrize(("gain", "bias"), [(0.8, 0.0), (1.25, -0.02), (1.0, 0.03)])
def test_colour_transfer_undoes_a_cast_in_light(gain: float, bias: float) -> None:
    original, mask = picture(), disc()
    light = TABLES.to_linear(original)
    swapped = TABLES.from_linear(np.clip(light * np.float32(gain) + np.float32(bias), 0, 1))
    found = colour_transfer(original, swapped, mask, TABLES)
    settled = settle_colour([found], 0.1)
    assert (settled * 256 == np.rint(settled * 256)).all()
    repaired = np.dstack([swapped, mask])
    apply_colour(repaired, mask, settled, TABLES)
    inside = mask == 1
    error = np.abs(repaired[..., :3] - original)[inside].mean()
    assert error < 0.01
    assert error < 0.4 * np.abs(swapped - original)[inside].mean()
    np.testing.assert_array_equal(repaired[mask == 0][:, :3], swapped[mask == 0])


def test_no_mask_no_transfer() -> None:
    found = colour_transfer(picture(1), picture(2), np.zeros((SIZE, SIZE), np.float32), TABLES)
    np.testing.assert_array_equal(found, [[1, 1, 1], [0, 0, 0]])
    swapped = picture()
    apply_colour(swapped, disc(), found, TABLES)
    np.testing.assert_array_equal(swapped, picture())


def test_colour_settles_slowly() -> None:
    calm = np.array([[1.0] * 3, [0.0] * 3])
    jump = np.array([[1.5] * 3, [0.25] * 3])
    settled = settle_colour([calm] * 15 + [jump], 0.1)
    assert 1.0 < settled[0, 0] < 1.08
    np.testing.assert_array_equal(settle_colour([jump] * 16, 0.1), jump)
