"""The second difference of motions whose own is known."""

from __future__ import annotations

import numpy as np
import pytest

from scheduler.jitter import JitterMeter, second_difference


def test_an_even_motion_has_none() -> None:
    start, step = np.random.default_rng(1).random((2, 9, 2))
    assert second_difference(start, start + step, start + 2 * step) == pytest.approx(0, abs=1e-12)


def test_a_sine_has_what_calculus_says() -> None:
    amplitude, omega = 3.0, 0.4
    points = [np.full((5, 2), (amplitude * np.sin(omega * t), 0.0)) for t in range(400)]
    meter = JitterMeter()
    found = dict(filter(None, (meter.add(t, t, 7, p) for t, p in enumerate(points))))
    assert sorted(found) == list(range(1, 399)), "each frame that has both neighbours"
    rms = np.sqrt(np.square(list(found.values())).mean())
    assert rms == pytest.approx(4 * amplitude * np.sin(omega / 2) ** 2 / np.sqrt(2), rel=0.01)


def test_noise_of_one_pixel_has_the_root_of_twelve() -> None:
    noise = np.random.default_rng(2).normal(0, 1, (3, 20_000, 2))
    assert second_difference(*noise) == pytest.approx(np.sqrt(12), rel=0.02)


def test_gaps_and_other_tracks_do_not_mix() -> None:
    meter = JitterMeter()
    still, moved = np.zeros((4, 2)), np.full((4, 2), 50.0)
    rows = [
        (0, 0, 1, still), (1, 0, 2, moved), (2, 1, 1, still), (3, 2, 1, still), (4, 2, 2, moved),
        (5, 3, 2, moved), (6, 4, 1, moved), (7, 4, 2, still), (8, 5, 1, moved),
    ]  # fmt: skip
    found = [meter.add(*row) for row in rows]
    assert found == [None] * 3 + [(2, 0.0), None, None, None, (5, pytest.approx(50 * 2**0.5)), None]
