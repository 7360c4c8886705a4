import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import reference
from kernels.pyramid import ALIGN, REACH, blend, mask_levels


def _noise(height, width, seed=0):
    return np.random.default_rng(seed).normal(size=(height, width)).astype(np.float32)


def _blend(difference, mask):
    channels = np.repeat(difference[..., None], 3, axis=2)
    found = blend(channels, mask_levels(mask))
    assert found == pytest.approx(np.repeat(found[..., :1], 3, axis=2), abs=1e-6)
    return found[..., 0]


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    seed=st.integers(0, 99),
    density=st.floats(0.5, 1.0),
    soft=st.booleans(),
)
def test_zero_wherever_the_mask_is(height, width, seed, density, soft):
    rng = np.random.default_rng(seed)
    holes = rng.random((-(-height // 9), -(-width // 9))) < density
    mask = np.kron(holes, np.ones((9, 9)))[:height, :width].astype(np.float32)
    if soft:
        mask *= rng.random((height, width)).astype(np.float32)
    assert not _blend(_noise(height, width, seed), mask)[mask == 0].any()


@pytest.mark.parametrize(("height", "width"), [(64, 64), (63, 49), (33, 7), (5, 3), (2, 1)])
def test_equals_the_oracle(scene, height, width):
    difference = _noise(height, width)
    mask = np.pad(scene.mask(130), 9)[: 2 * height : 2, : 2 * width : 2]
    wanted = reference.blend(difference.astype(float)[..., None], mask.astype(float))[..., 0]
    assert _blend(difference, mask) == pytest.approx(wanted, abs=2e-6)


def test_one_pyramid_of_the_difference_equals_two(scene):
    """The textbook way: blend the two pictures' pyramids; linear, so the same."""
    first, second = _noise(48, 48, 1), _noise(48, 48, 2)
    mask = scene.mask(48)
    both = _blend(first, mask) + second - _blend(second, mask)
    assert _blend(first - second, mask) + second == pytest.approx(both, abs=2e-6)


def test_a_full_mask_brings_all():
    difference = _noise(40, 56)
    assert _blend(difference, np.ones((40, 56), np.float32)) == pytest.approx(difference, abs=2e-6)


def test_broad_tone_fades_more_gently_than_detail(scene):
    """Across a hard edge a constant difference ends in a slope, not in a step."""
    mask = np.zeros((96, 96), np.float32)
    mask[16:80, 16:80] = 1
    profile = _blend(np.ones((96, 96), np.float32), mask)[48]
    assert profile[48] == pytest.approx(1, abs=1e-3)
    assert profile[16] < 0.3
    assert (np.diff(profile[16:40]) > -1e-6).all()
    assert np.diff(profile[16:40]).max() < 0.4


def test_a_part_with_its_reach_equals_the_whole(scene):
    size = 96
    mask = np.zeros((size, size), np.float32)
    mask[28:61, 37:70] = scene.mask(33, feather=0.3, radius=0.5)
    difference = _noise(size, size)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    y0 = (rows[0] - REACH) // ALIGN * ALIGN
    x0 = (columns[0] - REACH) // ALIGN * ALIGN
    y1 = -(-(rows[-1] + 1 + REACH) // ALIGN) * ALIGN
    x1 = -(-(columns[-1] + 1 + REACH) // ALIGN) * ALIGN
    part = _blend(difference[y0:y1, x0:x1], mask[y0:y1, x0:x1])
    whole = _blend(difference, mask)
    assert part == pytest.approx(whole[y0:y1, x0:x1], abs=1e-6)


def test_a_difference_that_is_not_the_masks_is_refused():
    levels = mask_levels(np.ones((8, 8), np.float32))
    for shape in ((8, 8), (8, 8, 1), (8, 7, 3)):
        with pytest.raises(ValueError, match=r"wanted \(8, 8, 3\)"):
            blend(np.zeros(shape, np.float32), levels)
