import numpy as np
import pytest

from kernels.dither import bayer
from kernels.picture import Roi
from kernels.sampling import add_sampled

BASE = 1000


def round_change(change, x0, y0):
    """What a plane gains where a change is added from (x0, y0) on."""
    height, width = change.shape
    plane = np.full((y0 + height, x0 + width), BASE, np.uint16)
    to_change = np.array([[1.0, 0.0, -x0], [0.0, 1.0, -y0]])
    part = Roi(x0=x0, y0=y0, x1=x0 + width, y1=y0 + height)
    add_sampled(plane, 4095, change, to_change, part, np.ones(change.shape, np.bool_))
    return plane[y0:, x0:].astype(int) - BASE


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
