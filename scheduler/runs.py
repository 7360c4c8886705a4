"""Which faces of two neighbouring frames are surely the same one: by their boxes alone.

A *run* is a chain of such pairs, the longest stretch of a track about which there is no doubt. The
decision looks at two frames only, so whoever sees a part of the film finds parts of the same runs:
an analysis within its chunk, the stitch over the whole film.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scheduler.boxes import overlaps

SURE: Final = 0.5
"""Least intersection over union of the two boxes of a sure pair."""
AHEAD: Final = 0.25
"""How much more a sure pair overlaps than either of the two does with any other face."""
APART: Final = 0.3
"""Faces that overlap another one of their own frame by more are in doubt: one hides the other."""
BUCKET: Final = 12
"""Frames, counted from the film's first, of which a run keeps the best portrait only: two
neighbouring frames say the same about a face."""
PORTRAITS: Final = 4
"""Portraits by which a run, and later a track, is known."""


def sure_pairs(before: NDArray[np.floating], after: NDArray[np.floating]) -> dict[int, int]:
    """{row of ``after``: row of ``before``} for boxes [n, 4] and [m, 4] of neighbouring frames."""
    if not len(before):
        return {}
    table = overlaps(after, before)
    crowded_before, crowded_after = crowding(before) > APART, crowding(after) > APART
    pairs = {}
    for at, row in enumerate(table):
        best = int(np.argmax(row))
        if row[best] < SURE or crowded_before[best] or crowded_after[at]:
            continue
        others = [*row[:best], *row[best + 1 :], *table[:at, best], *table[at + 1 :, best]]
        if row[best] - max(others, default=0.0) >= AHEAD:
            pairs[at] = best
    return pairs


def crowding(boxes: NDArray[np.floating]) -> NDArray[np.float64]:
    """How much each of the boxes [n, 4] of one frame overlaps the other that it overlaps most."""
    if len(boxes) < 2:
        return np.zeros(len(boxes))
    table = overlaps(boxes, boxes)
    np.fill_diagonal(table, 0.0)
    most: NDArray[np.float64] = table.max(axis=1, initial=0.0)
    return most


def best_portraits(looks: Sequence[tuple[int, float]]) -> list[int]:
    """Places of the best portraits among (frame, quality) of one face, best first.

    The best of each ``BUCKET`` of frames, then the best ``PORTRAITS`` of those; of equals the
    earlier. What is best of all is also best of any part that holds it, so the best of the parts'
    best are the best of the whole, however it was cut.
    """
    order = sorted(range(len(looks)), key=lambda at: (-looks[at][1], looks[at][0]))
    buckets: set[int] = set()
    best = []
    for at in order:
        bucket = looks[at][0] // BUCKET
        if bucket not in buckets:
            buckets.add(bucket)
            best.append(at)
    return best[:PORTRAITS]


class RunCounter:
    """Numbers the runs of chunk tables, fed in film order. Carries one frame.

    Args:
        cuts: frame indices that begin a new scene; no run goes over a cut.
    """

    def __init__(self, cuts: Collection[int] = ()) -> None:
        self._cuts = frozenset(cuts)
        self._last: tuple[int, NDArray[np.float64], list[int]] = (-2, np.empty((0, 4)), [])
        self.firsts: list[tuple[int, int]] = []
        """Of each run, (frame, place) of its first face."""

    def follow(self, frame: int, boxes: NDArray[np.float64]) -> list[int]:
        """The runs of the faces of the next frame that has any; ``boxes`` [n, 4]."""
        before, last, runs = self._last
        fresh = before != frame - 1 or frame in self._cuts
        pairs = {} if fresh else sure_pairs(last, boxes)
        numbers = []
        for place in range(len(boxes)):
            if place in pairs:
                numbers.append(runs[pairs[place]])
            else:
                numbers.append(len(self.firsts))
                self.firsts.append((frame, place))
        self._last = (frame, boxes, numbers)
        return numbers
