"""Dense flow finds known motion, whatever the number of threads."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from kernels.dense_flow import DisFlow


def texture(shift: tuple[float, float], noise: float = 1.5) -> NDArray[np.uint8]:
    rng = np.random.default_rng(5)
    field = cv2.GaussianBlur(rng.random((192, 224)).astype(np.float32), (0, 0), 4)
    field = (field - field.min()) / np.ptp(field) * 120 + 60
    move = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float64)
    moved = cv2.warpAffine(field, move, (224, 192), flags=cv2.INTER_CUBIC)[32:160, 32:192]
    grain = np.random.default_rng(int(abs(shift[0]) * 100)).normal(0, noise, moved.shape)
    return np.clip(np.rint(moved + grain), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("step", [(0.0, 0.0), (0.3, -0.4), (1.7, 0.6), (-5.0, 3.0)])
def test_a_pixel_is_found_where_it_was(step: tuple[float, float]) -> None:
    # ``before`` is the picture moved by ``step``: what is at x now was at x + step.
    flow = DisFlow().flow(texture((0.0, 0.0)), texture(step))
    error = flow[16:-16, 16:-16] - np.array(step)
    assert np.sqrt(np.square(error).sum(-1).mean()) < 0.15


def test_threads_and_calls_before_do_not_change_a_byte() -> None:
    now, before = texture((0.0, 0.0)), texture((1.2, 0.8))
    provider = DisFlow()
    first = provider.flow(now, before)
    provider.flow(before, texture((-4.0, 2.0)))
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(4)
        again = provider.flow(now, before)
    finally:
        cv2.setNumThreads(threads)
    np.testing.assert_array_equal(first, again)
