"""The tables that a job left behind, read for its report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from scheduler.outcomes import Outcome, Pasted, Span, outcome_of, spans
from scheduler.records import JobRecord


@dataclass(slots=True)
class ReportTrack:
    """What is known of a track before pictures are looked at."""

    number: int
    letter: str
    rows: list[int] = field(default_factory=list)
    """Places in the table of faces."""
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    """By frame."""
    persons: dict[int, int] = field(default_factory=dict)
    """Who is put on it, by frame; -1: nobody."""
    spans: tuple[Span, ...] = ()
    distances: list[tuple[int, float]] = field(default_factory=list)
    """(frame, distance to the person that is put on) after the swap."""
    before: list[tuple[int, float]] = field(default_factory=list)
    looks: list[tuple[int, NDArray[np.float32]]] = field(default_factory=list)
    """(frame, embedding of the source's face)."""


class FaceColumns:
    """The table of faces (``scheduler.records.SCHEMA``) as columns."""

    def __init__(self, path: Path) -> None:
        table = pq.read_table(path).combine_chunks()
        self.frame: NDArray[np.int64] = table.column("frame").to_numpy()
        self.track: NDArray[np.int32] = table.column("track").to_numpy()
        self.person: NDArray[np.int32] = table.column("person").to_numpy()
        self.eyes: NDArray[np.float32] = table.column("eyes").to_numpy()
        self.jitter: NDArray[np.float32] = table.column("jitter").to_numpy()
        count = table.num_rows
        self.box = _flat(table, "box").reshape(count, 4)
        points = _flat(table, "points")
        self.points = points.reshape(count, points.size // max(2 * count, 1), 2)


def read_pasted(masks: Path) -> dict[tuple[int, int], Pasted]:
    """What the render did with each face, by frame and track (``actors.masks.SCHEMA``)."""
    names = ["frame", "track", "x0", "x1", "strength", "hidden"]
    columns = pq.read_table(masks, columns=names).to_pydict()
    rows = zip(*(columns[name] for name in names), strict=True)
    return {
        (frame, track): Pasted(touched=x1 > x0, strength=strength, hidden=hidden)
        for frame, track, x0, x1, strength, hidden in rows
    }


def read_tracks(
    record: JobRecord,
    faces: FaceColumns,
    pasted: Mapping[tuple[int, int], Pasted],
    size: tuple[int, int],
) -> dict[int, ReportTrack]:
    """The tracks of a film and what became of each of their faces, by number.

    Args:
        size: width and height of a picture.
    """
    tracks: dict[int, ReportTrack] = {}
    for row, (frame, number) in enumerate(
        zip(faces.frame.tolist(), faces.track.tolist(), strict=True)
    ):
        letter = record.letters.get(number, "")
        track = tracks.setdefault(number, ReportTrack(number, letter))
        track.rows.append(row)
        track.persons[frame] = int(faces.person[row])
        track.outcomes[frame] = outcome_of(
            pasted.get((frame, number)),
            int(faces.person[row]),
            letter,
            faces.box[row].tolist(),
            size,
            record,
        )
    for track in tracks.values():
        track.spans = spans(track.outcomes)
    return dict(sorted(tracks.items()))


def _flat(table: Any, name: str) -> NDArray[np.float32]:
    column = table.column(name).combine_chunks()
    return np.asarray(column.flatten().to_numpy(zero_copy_only=False), np.float32)
