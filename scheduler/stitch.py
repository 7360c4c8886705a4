"""Join the tables of neighbouring chunks: the same face gets the same track over the whole film.

The stitch reads tables in film order and carries only the tracks that are still open, so its
memory does not grow with the film. It works frame by frame on the joined rows: where the chunks
were cut cannot be seen in its result.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from scheduler.tracks import FaceObservation, from_table, to_table

MIN_OVERLAP: Final = 0.3
"""Least intersection over union for a face to go on in the next frame."""


@dataclass(slots=True)
class _OpenTrack:
    number: int
    frame: int
    box: NDArray[np.float32]


class Stitcher:
    """Gives track numbers to the rows of chunk tables, fed in film order.

    Args:
        cuts: frame indices that begin a new scene; no track goes over a cut.
        patience: frames that a face may be missing before its track ends.
    """

    def __init__(self, *, cuts: Collection[int] = (), patience: int = 12) -> None:
        self._cuts = sorted(cuts)
        self._patience = patience
        self._open: list[_OpenTrack] = []
        self._last_frame = -1
        self.tracks = 0
        """How many tracks have been given so far."""

    def extend(self, table: pa.Table) -> pa.Table:
        """The next chunk's rows (frames rising) with their track numbers.

        Raises:
            ValueError: the table begins before the last one ended.
        """
        numbered: list[FaceObservation] = []
        frame: list[FaceObservation] = []
        for face in from_table(table):
            if face.frame < self._last_frame or (face.frame == self._last_frame and not frame):
                raise ValueError(f"frame {face.frame} after frame {self._last_frame}")
            if frame and frame[0].frame != face.frame:
                numbered += self._follow(frame)
                frame = []
            frame.append(face)
            self._last_frame = face.frame
        if frame:
            numbered += self._follow(frame)
        return to_table(numbered)

    def _follow(self, faces: Sequence[FaceObservation]) -> list[FaceObservation]:
        """Match one frame's faces to the open tracks, best overlap first."""
        now = faces[0].frame
        self._open = [
            t
            for t in self._open
            if now - t.frame <= self._patience and not self._cut_between(t.frame, now)
        ]
        pairs = sorted(
            (
                (-overlap(track.box, face.box), track.number, at)
                for track in self._open
                for at, face in enumerate(faces)
            ),
        )
        by_number = {t.number: t for t in self._open}
        given: dict[int, int] = {}
        for negative, number, at in pairs:
            if -negative < MIN_OVERLAP:
                break
            if at not in given and number in by_number:
                given[at] = number
                track = by_number.pop(number)
                track.frame, track.box = now, faces[at].box
        for at, face in enumerate(faces):
            if at not in given:
                given[at] = self.tracks
                self._open.append(_OpenTrack(self.tracks, now, face.box))
                self.tracks += 1
        return [replace(face, track=given[at]) for at, face in enumerate(faces)]

    def _cut_between(self, before: int, now: int) -> bool:
        return bisect_right(self._cuts, now) > bisect_right(self._cuts, before)


def overlap(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Intersection over union of two boxes [4] x0 y0 x1 y1."""
    w = min(float(a[2]), float(b[2])) - max(float(a[0]), float(b[0]))
    h = min(float(a[3]), float(b[3])) - max(float(a[1]), float(b[1]))
    if w <= 0 or h <= 0:
        return 0.0
    both = w * h
    area_a = float(a[2] - a[0]) * float(a[3] - a[1])
    area_b = float(b[2] - b[0]) * float(b[3] - b[1])
    return both / (area_a + area_b - both)
