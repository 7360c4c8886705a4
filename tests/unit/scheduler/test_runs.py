from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scheduler.runs import BUCKET, PORTRAITS, RunCounter, best_portraits, sure_pairs


def boxes(*xs: float, side: float = 40.0) -> np.ndarray:
    return np.array([[x, 0, x + side, side] for x in xs], np.float64).reshape(-1, 4)


def test_faces_apart_are_sure_and_faces_upon_each_other_are_not() -> None:
    assert sure_pairs(boxes(0, 100), boxes(102, 3)) == {0: 1, 1: 0}
    assert sure_pairs(boxes(0, 10), boxes(5)) == {}, "it may be either"
    assert sure_pairs(boxes(0), boxes(3, 12)) == {}, "either may be it"
    assert sure_pairs(boxes(0), boxes(30)) == {}, "too far"
    assert sure_pairs(boxes(), boxes(3)) == sure_pairs(boxes(3), boxes()) == {}


def test_a_run_ends_at_a_cut_a_gap_and_a_doubt() -> None:
    counter = RunCounter(cuts=[2])
    assert counter.follow(0, boxes(0, 100)) == [0, 1]
    assert counter.follow(1, boxes(1, 101)) == [0, 1]
    assert counter.follow(2, boxes(2)) == [2]
    assert counter.follow(4, boxes(2)) == [3]
    assert counter.follow(5, boxes(2, 8)) == [4, 5]
    assert counter.firsts == [(0, 0), (0, 1), (2, 0), (4, 0), (5, 0), (5, 1)]


looks = st.lists(
    st.tuples(st.integers(0, 90), st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.8])),
    unique_by=lambda x: x[0],
)


@given(looks, st.integers(0, 90))
def test_the_best_of_the_parts_best_are_the_best_of_the_whole(
    seen: list[tuple[int, float]], border: int
) -> None:
    seen = sorted(seen)
    parts = [[x for x in seen if x[0] < border], [x for x in seen if x[0] >= border]]
    kept = [part[at] for part in parts for at in best_portraits(part)]
    whole = [seen[at] for at in best_portraits(seen)]
    assert [kept[at] for at in best_portraits(kept)] == whole
    assert len(whole) <= PORTRAITS
    assert len({frame // BUCKET for frame, _ in whole}) == len(whole)
