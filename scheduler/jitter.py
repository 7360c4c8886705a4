"""How much landmarks tremble: their second difference from frame to frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.floating]


def second_difference(before: Points, now: Points, after: Points) -> float:
    """Root mean square length of ``before - 2 now + after``, points [n, 2] of three frames.

    An even motion has none; white noise of s pixels on both axes has sqrt(12) s.
    """
    bend = before.astype(np.float64) - 2.0 * now + after
    return float(np.sqrt(np.square(bend).sum(axis=1).mean()))


@dataclass(slots=True)
class _Seen:
    frame: int
    row: int
    points: Points
    before: Points | None
    """Of the frame before, if the track was in it."""


class JitterMeter:
    """Measures tracks whose rows come in film order. Carries two frames of each open track."""

    def __init__(self) -> None:
        self._last: dict[int, _Seen] = {}
        self._frame = -1

    def add(self, row: int, frame: int, track: int, points: Points) -> tuple[int, float] | None:
        """Take the next row.

        Args:
            row: any number to know the row by.
            points: [n, 2] in square pixels.
        Returns: (the track's row of the frame before, its `second_difference`) once this frame and
            the two before are known.
        """
        if frame != self._frame:
            self._last = {t: seen for t, seen in self._last.items() if seen.frame >= frame - 1}
            self._frame = frame
        seen = self._last.get(track)
        if seen is not None and seen.frame != frame - 1:
            seen = None
        before = seen.points if seen else None
        self._last[track] = _Seen(frame, row, points, before)
        if seen is None or seen.before is None:
            return None
        return seen.row, second_difference(seen.before, seen.points, points)
