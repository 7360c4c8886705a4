import numpy as np
import pytest

from kernels.dither import bayer, round_change


def test_thresholds_are_even():
    found = bayer()
    assert sorted(found.ravel().tolist()) == pytest.approx((np.arange(64) + 0.5) / 64)
    assert bayer(2).tolist() == [[0.125, 0.625], [0.875, 0.375]]


def test_whole_numbers_stay():
    for value in (-3.0, 0.0, 2.0):
        assert (round_change(np.full((9, 9), value, np.float32), 3, 5) == value).all()


@pytest.mark.parametrize("value", [0.25, 0.5, -0.125, 1.75])
def test_areas_keep_their_mean(value):
    found = round_change(np.full((16, 24), value, np.float32), 1, 7)
    assert found.mean() == pytest.approx(value)
    assert np.ptp(found) == 1


def test_the_pattern_hangs_on_the_picture():
    change = np.random.default_rng(0).normal(size=(40, 40)).astype(np.float32)
    whole = round_change(change, 0, 0)
    part = round_change(change[13:31, 5:30], 5, 13)
    assert np.array_equal(part, whole[13:31, 5:30])
