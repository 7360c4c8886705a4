import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.picture import Roi
from kernels.sampling import box_factors, box_level, cubic_weights, sample_cubic

BOX = Roi(x0=0, y0=0, x1=20, y1=16)


def test_weights_add_up_and_meet_the_samples():
    weights = cubic_weights(np.linspace(0, 1, 101))
    assert weights.sum(1) == pytest.approx(np.ones(101))
    assert weights[0].tolist() == [0, 1, 0, 0]
    assert weights[-1] == pytest.approx([0, 0, 1, 0])
    assert weights[50] == pytest.approx([-0.0625, 0.5625, 0.5625, -0.0625])


def test_a_parabola_comes_back_exactly():
    """Catmull-Rom reproduces polynomials up to degree 2; OpenCV's cubic not even a ramp."""
    y, x = np.mgrid[:40, :48].astype(np.float64)
    source = (0.01 * x * x + 0.02 * y * y - 0.1 * x * y + 3 * x + 7).astype(np.float32)
    to_source = np.array([[0.9, 0.3, 10.3], [-0.2, 0.8, 12.7]])
    found = sample_cubic(source, to_source, BOX)
    py, px = np.mgrid[:16, :20].astype(np.float64)
    at_x, at_y = (a * px + b * py + c for a, b, c in to_source)
    wanted = 0.01 * at_x**2 + 0.02 * at_y**2 - 0.1 * at_x * at_y + 3 * at_x + 7
    # 1/8192 of a sample times the steepest slope.
    assert np.abs(found - wanted).max() < 1e-3


def test_whole_positions_give_the_samples_themselves():
    source = np.random.default_rng(0).integers(0, 256, (30, 30)).astype(np.uint8)
    found = sample_cubic(source, np.array([[1.0, 0, 4], [0, 1.0, 6]]), BOX)
    assert np.array_equal(found, source[6:22, 4:24])


@settings(max_examples=40, deadline=None)
@given(
    x=st.integers(0, 19),
    y=st.integers(0, 15),
    width=st.integers(1, 20),
    height=st.integers(1, 16),
    scale=st.sampled_from([0.3, 1.0, 2.0, 5.0]),
    shift=st.floats(-60, 60),
)
def test_a_value_does_not_depend_on_the_box(x, y, width, height, scale, shift):
    source = np.random.default_rng(1).random((33, 41)).astype(np.float32)
    to_source = np.array([[0.9 * scale, 0.3, shift], [-0.3, 0.9 * scale, 5.0]])
    part = Roi(x0=x, y0=y, x1=min(x + width, 20), y1=min(y + height, 16))
    whole = sample_cubic(source, to_source, BOX)
    found = sample_cubic(source, to_source, part)
    assert np.array_equal(found, whole[part.y0 : part.y1, part.x0 : part.x1])


@pytest.mark.parametrize("shift", [-1000.0, 1000.0])
def test_far_outside_is_the_edge_or_zero(shift):
    source = np.full((8, 8), 200, np.uint8)
    to_source = np.array([[1.0, 0, shift], [0, 1.0, shift]])
    assert sample_cubic(source, to_source, BOX) == pytest.approx(200, rel=1e-6)
    assert not sample_cubic(source, to_source, BOX, outside_zero=True).any()


def test_shrinking_does_not_alias():
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 64))
    box = Roi(x0=0, y0=0, x1=8, y1=8)
    found = sample_cubic(stripes, np.array([[3.0, 0, 20.3], [0, 3.0, 8]]), box)
    assert found == pytest.approx(127.5, rel=1e-5)
    noise = np.random.default_rng(0).random((200, 200)).astype(np.float32)
    small = sample_cubic(noise, np.array([[4.0, 4.0, 20], [-4.0, 4.0, 80]]), box)
    assert small.std() < 0.4 * noise.std()


def test_when_a_box_filter_comes_first():
    assert box_factors(np.array([[1.49, 0, 0], [0, 3.1, 0]])) == (1, 3)
    assert box_factors(np.array([[0.2, 0, 0], [0, 1.5, 0]])) == (1, 1)


@pytest.mark.parametrize("border", [cv2.BORDER_REPLICATE, cv2.BORDER_CONSTANT])
@pytest.mark.parametrize(
    "cells",
    [
        Roi(x0=0, y0=0, x1=4, y1=3),
        Roi(x0=-2, y0=-3, x1=7, y1=6),
        Roi(x0=9, y0=1, x1=12, y1=2),
        Roi(x0=-9, y0=-5, x1=-6, y1=-4),
        Roi(x0=1, y0=1, x1=2, y1=2),
    ],
)
@pytest.mark.parametrize(("kx", "ky"), [(1, 1), (3, 2)])
def test_box_levels_beyond_the_edges(border, cells, kx, ky):
    source = np.random.default_rng(2).integers(0, 256, (5, 11)).astype(np.uint8)
    found = box_level(source, kx, ky, cells, border)
    mode = "edge" if border == cv2.BORDER_REPLICATE else "constant"
    padded = np.pad(source.astype(float), [(0, -5 % ky), (0, -11 % kx)], mode=mode)
    level = padded.reshape(len(padded) // ky, ky, -1, kx).mean((1, 3))
    wide = np.pad(level, 20, mode=mode)
    wanted = wide[cells.y0 + 20 : cells.y1 + 20, cells.x0 + 20 : cells.x1 + 20]
    assert found == pytest.approx(wanted, abs=1e-4)
