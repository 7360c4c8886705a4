"""Pixel boost: how a crop is laid out and put together again."""

from __future__ import annotations

import numpy as np
import pytest

from actors.pixel_boost import check_boost, gather, spread
from scheduler.errors import SettingInvalid


@pytest.mark.parametrize("sides", [1, 2, 3, 4])
def test_small_pictures_interleave(sides: int) -> None:
    small = 16
    crop = np.random.default_rng(3).random((3, small * sides, small * sides), np.float32)
    rows = np.empty((sides**2, 3, small, small), np.float32)
    spread(crop, sides, rows)
    # The layout that others know: split both axes, bring the inner ones to the front.
    split = crop.transpose(1, 2, 0).reshape(small, sides, small, sides, 3)
    known = split.transpose(1, 3, 0, 2, 4).reshape(sides**2, small, small, 3)
    np.testing.assert_array_equal(rows, known.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(gather(rows, sides), crop)


@pytest.mark.parametrize(
    ("boost", "size", "sides"), [(0, 256, 1), (256, 256, 1), (512, 256, 2), (1024, 128, 8)]
)
def test_sides(boost: int, size: int, sides: int) -> None:
    assert check_boost(boost, size) == sides


@pytest.mark.parametrize(("boost", "size"), [(300, 256), (128, 256), (2048, 256), (-256, 256)])
def test_what_does_not_fit_is_refused_with_what_does(boost: int, size: int) -> None:
    with pytest.raises(SettingInvalid, match=r"256, 512, 768, 1024"):
        check_boost(boost, size)
