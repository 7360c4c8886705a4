from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.cuts import find_cuts, luma_change, small_luma, starts_shot
from kernels.picture import Picture, PictureFormat


def picture(plane: np.ndarray, depth: int = 8) -> Picture:
    rows, columns = plane.shape
    fmt = PictureFormat(width=columns, height=rows, planes=1, depth=depth)
    return Picture(format=fmt, planes=(plane,))


def changes(*values: float) -> np.ndarray:
    return np.array([0, *values], np.float32)


@pytest.mark.parametrize(
    ("size", "small"),
    [
        ((360, 640), (51, 91)),
        ((720, 1280), (55, 98)),
        ((1080, 1920), (54, 96)),
        ((1920, 1080), (174, 98)),
        ((47, 61), (47, 61)),
        ((1, 5000), (1, 5000)),
        ((1, 1), (1, 1)),
    ],
)
def test_small_luma_is_the_mean_of_whole_squares(
    size: tuple[int, int], small: tuple[int, int]
) -> None:
    plane = np.random.default_rng(1).integers(0, 256, size).astype(np.uint8)
    luma = small_luma(picture(plane))
    assert luma.dtype == np.uint8
    assert luma.shape == small
    side = size[0] // small[0]
    squares = plane[: small[0] * side, : small[1] * side].reshape(small[0], side, small[1], side)
    assert np.abs(luma - squares.mean((1, 3))).max() <= 0.5 + 1e-9


def test_deep_pictures_keep_their_highest_bits_and_padding_does_not_count() -> None:
    shallow = np.random.default_rng(2).integers(0, 256, (540, 960)).astype(np.uint8)
    memory = np.full((540, 1024), 1023, np.uint16)
    memory[:, :960] = shallow.astype(np.uint16) << 2
    deep = small_luma(picture(memory[:, :960], depth=10)).astype(int)
    assert np.abs(deep - small_luma(picture(shallow))).max() <= 1


def test_luma_change_is_the_mean_difference() -> None:
    noise = np.random.default_rng(3)
    one, two = (noise.integers(0, 256, (54, 96)).astype(np.uint8) for _ in range(2))
    assert luma_change(one, one) == 0
    assert luma_change(one, two) == luma_change(two, one)
    assert luma_change(one, two) == pytest.approx(np.abs(one.astype(int) - two).mean())


def test_a_change_that_stands_alone_is_a_cut() -> None:
    assert find_cuts(changes(1, 1, 60, 1, 1)) == [3]
    assert find_cuts(changes(1, 1, 60)) == [3]
    assert find_cuts(changes(60, 1, 1)) == [1]
    assert find_cuts(changes(0, 0, 9.9, 0, 0)) == []
    assert find_cuts(changes()) == []


def test_a_flash_is_none_and_of_two_cuts_in_a_row_the_greater_counts() -> None:
    assert find_cuts(changes(1, 1, 60, 62, 1, 1)) == []
    assert find_cuts(changes(1, 1, 125, 87, 1, 1)) == [3]


def test_motion_shake_and_fades_are_none() -> None:
    assert find_cuts(changes(*[30, 35] * 8)) == []
    assert find_cuts(changes(*range(1, 40), *range(40, 0, -1))) == []


def test_cuts_in_a_moving_film() -> None:
    noise = np.random.default_rng(4)
    level = noise.uniform(2, 9, 300).astype(np.float32)
    level[0] = 0
    cuts = list(range(20, 300, 20))
    level[cuts] = noise.uniform(30, 120, len(cuts))
    assert find_cuts(level) == cuts


@settings(deadline=None)
@given(
    values=st.lists(st.floats(0, 255, width=32), min_size=1, max_size=60),
    at=st.integers(0, 59),
    other=st.floats(0, 255, width=32),
)
def test_a_frame_is_decided_by_two_neighbours_on_each_side(
    values: list[float], at: int, other: float
) -> None:
    at = min(at, len(values) - 1)
    before = np.array(values, np.float32)
    after = before.copy()
    after[at] = other
    near = set(range(at - 2, at + 3))
    assert set(find_cuts(before)) - near == set(find_cuts(after)) - near


@settings(deadline=None)
@given(values=st.lists(st.sampled_from([0.0, 5.0, 12.0, 16.9, 60.0, 84.0]), max_size=12))
def test_one_frame_is_decided_as_in_the_whole_film(values: list[float]) -> None:
    cuts = find_cuts(np.array(values, np.float32))
    padded = [0.0, 0.0, *values, 0.0, 0.0]
    one_by_one = [at for at in range(len(values)) if starts_shot(padded[at : at + 5])]
    assert one_by_one == cuts
