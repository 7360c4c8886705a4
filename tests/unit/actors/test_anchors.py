"""Answers at anchors, without the networks that give them."""

import numpy as np
import pytest
from numpy.typing import NDArray

from actors.anchors import AnchorReader, Detection, anchor_grid


def read(
    values: NDArray[np.float64], scores: NDArray[np.float64], anchors: NDArray[np.float64]
) -> list[Detection]:
    reader = AnchorReader(anchors=anchors, min_score=0.5, max_overlap=0.3)
    logits = np.log(scores / (1 - scores))
    return reader.read(values.astype(np.float32), logits.astype(np.float32))


def at(x: float, points: float = 0.0) -> list[float]:
    """Offsets of a box of 10 x 10 whose middle is x, 5, and of two key points."""
    return [x, 5.0, 10.0, 10.0, points, points, 2 * points, 2 * points]


def test_anchors_are_the_middles_of_cells() -> None:
    faces, palms = anchor_grid(192, [(48, 1)]), anchor_grid(192, [(24, 2), (12, 6)])
    # The first cell covers pixels 0..3: its centre is 1.5 where pixel centres are whole numbers.
    assert faces[[0, 1, 48, -1]].tolist() == [[1.5, 1.5], [5.5, 1.5], [1.5, 5.5], [189.5, 189.5]]
    assert palms.shape == (24 * 24 * 2 + 12 * 12 * 6, 2)
    assert palms[[0, 1, 2]].tolist() == [[3.5, 3.5], [3.5, 3.5], [11.5, 3.5]]
    assert palms[24 * 24 * 2 + 5].tolist() == [7.5, 7.5]


def test_offsets_count_from_the_anchor() -> None:
    values = np.array([[3.0, -2, 20, 10, 1, 2, 0, 0], [0.0] * 8])
    one, other = read(values, np.array([0.9, 0.8]), np.array([[1.5, 1.5], [189.5, 189.5]]))
    assert one.box.tolist() == [1.5 + 3 - 10, 1.5 - 2 - 5, 1.5 + 3 + 10, 1.5 - 2 + 5]
    assert one.keypoints.tolist() == [[2.5, 3.5], [1.5, 1.5]]
    assert other.box.tolist() == [189.5] * 4


def test_what_overlaps_is_averaged_by_score_and_neighbours_stay_apart() -> None:
    values = np.array([at(5, 1), at(45, 2), at(7, 3)])
    left, right = read(values, np.array([0.6, 0.7, 0.9]), np.zeros((3, 2)))
    assert (left.score, right.score) == (pytest.approx(0.9), pytest.approx(0.7))
    assert left.box == pytest.approx([1.2, 0, 11.2, 10])
    assert left.keypoints == pytest.approx(np.array([[2.2, 2.2], [4.4, 4.4]]))
    assert right.box.tolist() == [40, 0, 50, 10]


def test_what_scores_too_little_is_nothing() -> None:
    assert read(np.array([at(5)]), np.array([0.49]), np.zeros((1, 2))) == []


def test_equal_scores_go_to_the_lower_anchor() -> None:
    found = read(np.array([at(5), at(45), at(85)]), np.full(3, 0.8), np.zeros((3, 2)))
    assert [each.box[0] for each in found] == [0, 40, 80]


def test_a_detection_moves_as_a_whole() -> None:
    found = Detection(
        box=np.array([0.0, 1, 2, 3]), keypoints=np.array([[1.0, 1], [2, 2]]), score=0.7
    ).moved(np.array([[2.0, 0, 10], [0, 2, -10]]))
    assert found.box.tolist() == [10, -8, 14, -4]
    assert found.keypoints.tolist() == [[12, -8], [14, -6]]
    assert found.score == 0.7
