"""Join the tables of neighbouring chunks: the same face gets the same track over the whole film.

The stitch reads tables in film order and carries only the tracks that are still open, so its
memory does not grow with the film. It works frame by frame on the joined rows: where the chunks
were cut cannot be seen in its result.

Faces that are surely the same in two neighbouring frames (`scheduler.runs`) go on. Where there is
doubt (faces meet, one is hidden for a while, a detection is missing), a face goes on where its
track would be by its own motion and where its looks fit, if they are known.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from scheduler.boxes import overlap
from scheduler.identities import SPACES, EmbeddingSpace
from scheduler.runs import sure_pairs
from scheduler.tracks import SCHEMA

Box = NDArray[np.float64]
"""[4] x0 y0 x1 y1."""
Embedding = NDArray[np.float64]

MIN_FIT: Final = 0.3
"""Least fit of a face with a track's predicted place: about the overlap of the two boxes."""
LOOKS: Final = 0.9
"""What looks weigh against place: half the distance at which two pictures may be of one person
makes up for 0.45 of overlap."""
MEMORY: Final = 5
"""Frames over which a track's velocity is taken."""


@dataclass(slots=True)
class _OpenTrack:
    number: int
    frame: int
    place: int
    """Row in its last frame."""
    last: list[tuple[int, Box]] = field(default_factory=list)
    """(frame, box) of the latest frames, oldest first."""
    looks: list[Embedding] = field(default_factory=list)
    """Of each of its runs that has one; the latest few."""

    def step(self, frame: int, place: int, box: Box, looks: Embedding | None = None) -> None:
        self.frame, self.place = frame, place
        self.last = [*self.last, (frame, box)][-MEMORY:]
        if looks is not None:
            self.looks = [*self.looks, looks][-MEMORY:]

    def predict(self, frame: int) -> Box:
        """Where its box would be: its last size, gone on at its latest velocity."""
        (then, first), (now, box) = self.last[0], self.last[-1]
        if now == then:
            return box
        velocity = (_centre(box) - _centre(first)) / (now - then)
        return box + np.tile(velocity * (frame - now), 2)


class Stitcher:
    """Gives track numbers to the rows of chunk tables, fed in film order.

    Args:
        cuts: frame indices that begin a new scene; no track goes over a cut.
        patience: frames that a face may be missing before its track ends.
        looks: embeddings of runs, by frame and place of the run's first face.
        space: of the embeddings.
    """

    def __init__(
        self,
        *,
        cuts: Collection[int] = (),
        patience: int = 12,
        looks: Mapping[tuple[int, int], Embedding] | None = None,
        space: EmbeddingSpace = SPACES["dlib"],
    ) -> None:
        self._cuts = sorted(cuts)
        self._patience = patience
        self._looks = looks or {}
        self._space = space
        self._open: list[_OpenTrack] = []
        self._last_frame = -1
        self.tracks = 0
        """How many tracks have been given so far."""

    def extend(self, table: pa.Table) -> pa.Table:
        """The next chunk's rows (frames rising) with their track numbers.

        Raises:
            ValueError: the table begins before the last one ended.
        """
        numbers = self.number(table)
        at = SCHEMA.get_field_index("track")
        return table.set_column(at, SCHEMA.field(at), pa.array(numbers, pa.int32()))

    def number(self, table: pa.Table) -> NDArray[np.int32]:
        """The track of each row; only the columns frame and box are looked at.

        Raises:
            ValueError: the table begins before the last one ended.
        """
        frames, boxes = places(table)
        numbers = np.empty(len(frames), np.int32)
        starts = np.flatnonzero(np.diff(frames, prepend=-1)).tolist()
        for start, stop in pairwise([*starts, len(frames)]):
            frame = int(frames[start])
            if frame <= self._last_frame:
                raise ValueError(f"frame {frame} after frame {self._last_frame}")
            numbers[start:stop] = self._follow(frame, boxes[start:stop])
            self._last_frame = frame
        return numbers

    def _follow(self, now: int, boxes: NDArray[np.float64]) -> list[int]:
        """The tracks of one frame's faces."""
        self._open = [
            t
            for t in self._open
            if now - t.frame <= self._patience and not self._cut_between(t.frame, now)
        ]
        given: dict[int, int] = {}
        before = {t.place: t for t in self._open if t.frame == now - 1}
        places = sorted(before)
        last = np.array([before[place].last[-1][1] for place in places]).reshape(-1, 4)
        taken = set()
        for at, row in sure_pairs(last, boxes).items():
            track = before[places[row]]
            track.step(now, at, boxes[at])
            given[at] = track.number
            taken.add(track.number)
        left = [at for at in range(len(boxes)) if at not in given]
        waiting = [t for t in self._open if t.number not in taken]
        self._match(now, boxes, left, waiting, given)
        for at in left:
            if at not in given:
                track = _OpenTrack(self.tracks, now, at)
                track.step(now, at, boxes[at], self._looks.get((now, at)))
                self._open.append(track)
                given[at] = self.tracks
                self.tracks += 1
        return [given[at] for at in range(len(boxes))]

    def _match(
        self,
        now: int,
        boxes: NDArray[np.float64],
        left: Sequence[int],
        waiting: Sequence[_OpenTrack],
        given: dict[int, int],
    ) -> None:
        """Fit the faces that are left to the tracks that wait, the best fit first."""
        fits = []
        for track in waiting:
            for at in left:
                fit = self._fit(track, now, boxes[at], self._looks.get((now, at)))
                if fit is not None:
                    fits.append((-fit, track.number, at))
        by_number = {t.number: t for t in waiting}
        for _, number, at in sorted(fits):
            if at not in given and number in by_number:
                by_number.pop(number).step(now, at, boxes[at], self._looks.get((now, at)))
                given[at] = number

    def _fit(self, track: _OpenTrack, now: int, box: Box, looks: Embedding | None) -> float | None:
        """How well a face goes on a track; None: not at all."""
        predicted = track.predict(now)
        fit = max(overlap(predicted, box), overlap(track.last[-1][1], box))
        # A short gap may hide a turn of the way, and the longer it is the less is known.
        size = max(_side(predicted), _side(box))
        away = float(np.hypot(*(_centre(predicted) - _centre(box)))) / max(size, 1e-6)
        reach = 0.4 + 0.08 * (now - track.frame)
        alike = min(_side(predicted), _side(box)) / max(size, 1e-6) > 0.6
        if fit < MIN_FIT and not (alike and away < reach):
            return None
        if looks is not None and track.looks:
            distance = float(np.linalg.norm(self._space.mean(np.array(track.looks)) - looks))
            if distance > self._space.stranger:
                return None
            fit += LOOKS * (1.0 - distance / self._space.same)
        return fit

    def _cut_between(self, before: int, now: int) -> bool:
        return bisect_right(self._cuts, now) > bisect_right(self._cuts, before)


def places(table: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(frame [n], box [n, 4]) of a table's rows."""
    boxes = np.asarray(table.column("box").combine_chunks().flatten(), np.float64)
    return np.asarray(table.column("frame"), np.int64), boxes.reshape(-1, 4)


def _centre(box: Box) -> NDArray[np.float64]:
    middle: NDArray[np.float64] = (box[:2] + box[2:]) / 2
    return middle


def _side(box: Box) -> float:
    return float(np.sqrt(max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)))
