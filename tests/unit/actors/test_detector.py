"""The detector's arithmetic, without its network."""

import numpy as np
import pytest

from actors.detector import _decode, _merge, letterbox, overlap
from kernels.geometry import apply, display_affine
from kernels.picture import PictureFormat


@pytest.mark.parametrize(
    ("size", "aspect", "rotation"),
    [
        ((640, 360), 1.0, 0),
        ((360, 640), 1.0, 0),
        ((640, 360), 1.0, 90),
        ((720, 576), 16 / 15, 270),
        ((1, 1), 1.0, 180),
    ],
)
def test_letterbox_fits_the_longer_side(
    size: tuple[int, int], aspect: float, rotation: int
) -> None:
    fmt = PictureFormat(width=size[0], height=size[1])
    display = display_affine(*size, aspect, rotation)
    affine = letterbox(fmt, display)
    edges = np.array([[-0.5, -0.5], [size[0] - 0.5, size[1] - 0.5]])
    corners = apply(affine, apply(display, edges))
    low, high = corners.min(axis=0), corners.max(axis=0)
    assert (high - low).max() == pytest.approx(192)
    assert (low + high) / 2 == pytest.approx([95.5, 95.5])
    assert affine[0, 0] == affine[1, 1]


def test_decoding_counts_from_the_cell() -> None:
    values = np.zeros((2, 16))
    values[0, :4] = [3.0, -2.0, 20.0, 10.0]
    values[0, 4:6] = [1.0, 2.0]
    boxes, keypoints = _decode(values, np.array([0, 48 * 47 + 47]))
    # The first cell covers pixels 0..3: its centre is 1.5 where pixel centres are whole numbers.
    assert boxes[0].tolist() == [1.5 + 3 - 10, 1.5 - 2 - 5, 1.5 + 3 + 10, 1.5 - 2 + 5]
    assert keypoints[0, 0].tolist() == [2.5, 3.5]
    assert keypoints[0, 1].tolist() == [1.5, 1.5]
    assert boxes[1].tolist() == [189.5] * 4


def test_overlap() -> None:
    box = np.array([0.0, 0.0, 2.0, 2.0])
    others = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [2, 0, 4, 2], [1, 1, 1, 1], [5, 5, 6, 6]])
    assert overlap(box, others) == pytest.approx([1.0, 1 / 3, 0.0, 0.0, 0.0])
    assert overlap(box, others[:0]).shape == (0,)
    assert overlap(others[3].astype(float), others[3:4])[0] == 0.0


def test_merging_averages_by_score_and_keeps_neighbours_apart() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [40, 0, 50, 10], [2, 0, 12, 10]])
    keypoints = np.arange(36.0).reshape(3, 6, 2)
    left, right = _merge(boxes, keypoints, np.array([0.6, 0.7, 0.9]), 0.3)
    assert (left.score, right.score) == (0.9, 0.7)
    assert left.box == pytest.approx([1.2, 0, 11.2, 10])
    assert left.keypoints == pytest.approx(0.4 * keypoints[0] + 0.6 * keypoints[2])
    assert right.box.tolist() == [40, 0, 50, 10]


def test_merging_nothing() -> None:
    assert _merge(np.zeros((0, 4)), np.zeros((0, 6, 2)), np.zeros(0), 0.3) == []


def test_equal_scores_go_to_the_lower_cell() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [40, 0, 50, 10], [80, 0, 90, 10]])
    found = _merge(boxes, np.zeros((3, 6, 2)), np.full(3, 0.8), 0.3)
    assert [face.box[0] for face in found] == [0, 40, 80]
