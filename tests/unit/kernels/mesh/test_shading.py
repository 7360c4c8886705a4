"""Light and detail."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.mesh.shading import log_light, reduction, rgb_of, smooth_skin


def test_light_and_back() -> None:
    rgb = np.random.default_rng(1).random((20, 30, 3), np.float32)
    np.testing.assert_allclose(rgb_of(log_light(rgb)), rgb, atol=1e-6)
    assert rgb_of(log_light(rgb) + 3).max() == 1
    assert log_light(np.full((1, 1, 3), -1, np.float32)).min() == pytest.approx(np.log(0.04))


def test_only_weighted_places_are_heard() -> None:
    light = np.zeros((64, 64, 3), np.float32)
    weight = np.ones((64, 64), np.float32)
    light[20:40, 20:40] = -5
    weight[20:40, 20:40] = 0
    assert np.abs(smooth_skin(light, weight, 6)).max() < 1e-6
    light[:] = 0.7
    np.testing.assert_allclose(smooth_skin(light, weight, 6), 0.7, rtol=1e-5)


def test_dark_strands_lose_their_voice_but_shade_does_not() -> None:
    light = np.zeros((96, 96, 3), np.float32)
    weight = np.ones((96, 96), np.float32)
    light[:, 40:44] = -2
    plain, robust = smooth_skin(light, weight, 8), smooth_skin(light, weight, 8, 0.25)
    assert plain[48, 42].max() < -0.2
    assert robust[48, 42].min() > -0.05
    shade = np.broadcast_to(np.linspace(-0.6, 0, 96, dtype=np.float32)[:, None], (96, 96, 3))
    shade = shade.transpose(1, 0, 2).copy()
    smooth = smooth_skin(shade, weight, 8, 0.25)
    np.testing.assert_allclose(smooth[:, 24:72], shade[:, 24:72], atol=0.03)


def test_nothing_weighted_still_gives_numbers() -> None:
    light = np.zeros((32, 32, 3), np.float32)
    assert np.isfinite(smooth_skin(light, np.zeros((32, 32), np.float32), 5, 0.25)).all()


@pytest.mark.parametrize(("sigma", "factor"), [(0.5, 1), (4.9, 1), (5, 2), (16, 4), (32, 8)])
def test_the_reduction_leaves_enough_pixels_to_a_sigma(sigma: float, factor: int) -> None:
    assert reduction(sigma) == factor
