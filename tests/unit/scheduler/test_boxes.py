"""Intersection over union."""

import numpy as np
import pytest

from scheduler.boxes import overlap, overlaps


def test_overlaps_of_each_with_each() -> None:
    one = np.array([[0.0, 0.0, 2.0, 2.0], [1, 0, 3, 2]])
    others = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [2, 0, 4, 2], [1, 1, 1, 1], [5, 5, 6, 6]])
    table = overlaps(one, others)
    assert table[0] == pytest.approx([1.0, 1 / 3, 0.0, 0.0, 0.0])
    assert table[1] == pytest.approx([1 / 3, 1.0, 1 / 3, 0.0, 0.0])
    assert overlaps(one, others[:0]).shape == (2, 0)


def test_overlap_of_half_shifted_boxes_is_a_third() -> None:
    a, b = np.array([0, 0, 10, 10], np.float32), np.array([5, 0, 15, 10], np.float32)
    assert overlap(a, b) == pytest.approx(1 / 3)
    assert overlap(a, a + 20) == 0.0


def test_boxes_without_extent_share_nothing() -> None:
    point = np.array([1.0, 1, 1, 1])
    assert overlap(point, point) == 0.0
