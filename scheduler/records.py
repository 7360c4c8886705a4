"""What a job leaves behind for ``farm report``: facts, and a few numbers of each face.

The job's folder goes when the job ends; this stays for the last jobs, so that a result can be
looked into without having asked before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from scheduler.jitter import JitterMeter
from scheduler.jobs import FaceChoice, JobSpec
from scheduler.points import point_set
from scheduler.timing import Spent
from scheduler.tracks import from_table

VERSION: Final = 1
SCHEMA: Final = pa.schema(
    [
        pa.field("frame", pa.int64(), nullable=False),
        pa.field("track", pa.int32(), nullable=False),
        pa.field("person", pa.int32(), nullable=False),
        pa.field("box", pa.list_(pa.float32(), 4), nullable=False),
        pa.field("points", pa.list_(pa.float32()), nullable=False),
        pa.field("eyes", pa.float32(), nullable=False),
        pa.field("jitter", pa.float32(), nullable=False),
    ]
)
"""One row a face in a frame, in the order of the stitched table. frame, track, person, box: as
there. points: x y of the vertices that the recogniser goes by. eyes: distance of the outer eye
corners in square pixels. jitter: `scheduler.jitter.second_difference` of all landmarks around this
frame, in square pixels; NaN where the track lacks the frame before or after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileMark:
    """A file as it was when the job ended."""

    path: str
    """Absolute."""
    fingerprint: str
    """``actors.fingerprint.file_fingerprint``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """The facts of a finished job."""

    job_id: str
    program: str
    finished: str
    """UTC, ISO 8601."""
    media: FileMark
    output: FileMark
    people: tuple[tuple[FileMark, ...], ...]
    """Pictures of each person that was put on, by the number in the table."""
    source_face: int | None
    """Which face of a picture with several, from the left, 1-based."""
    roles: tuple[str, ...]
    """Letter of the identity that each person was put on, where the job names them."""
    choice: FaceChoice
    swapper: str
    codec: str
    crop_size: int
    chunk_seconds: float
    frames: int
    borders: tuple[int, ...]
    """First frames of the rendered chunks but the first."""
    cuts: tuple[int, ...]
    """Frames that start a shot."""
    letters: Mapping[int, str]
    """Letter of each track that belongs to somebody, where the job asked who is who."""
    retries: int
    seconds: float
    passed: tuple[tuple[int, int], ...] = ()
    """Frames [start, stop) that could not be worked on and stayed as they were."""
    times: Mapping[str, Spent] = field(default_factory=dict)
    """``JobSummary.times``."""

    def to_json(self) -> dict[str, Any]:
        return {"version": VERSION, **asdict(self)}


def from_json(facts: Mapping[str, Any]) -> JobRecord:
    """The record that `JobRecord.to_json` wrote.

    Raises:
        ValueError: it is none, or one of another version of the program.
    """
    try:
        if facts["version"] != VERSION:
            raise ValueError(f"a record of version {facts['version']}")
        later = ("passed", "times")  # not in the first records of this version
        names = [name for name in JobRecord.__dataclass_fields__ if name not in later]
        given = {name: facts[name] for name in names}
        given["passed"] = tuple((start, stop) for start, stop in facts.get("passed", ()))
        times = facts.get("times", {})
        given["times"] = {part: Spent(**spent) for part, spent in times.items()}
        given["media"], given["output"] = FileMark(**given["media"]), FileMark(**given["output"])
        given["people"] = tuple(tuple(FileMark(**m) for m in marks) for marks in given["people"])
        choice = dict(given["choice"])
        choice["references"] = tuple(choice["references"])
        given["choice"] = FaceChoice(**choice)
        given["letters"] = {int(track): letter for track, letter in given["letters"].items()}
        for name in ("roles", "borders", "cuts"):
            given[name] = tuple(given[name])
        return JobRecord(**given)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no record of a job ({error!r})") from error


def roles_of(job: JobSpec) -> tuple[str, ...]:
    """Letters of the job's roles, by person; empty where it names none."""
    return tuple(role.identity for role in job.swap.cast)


def digest(
    tables: Iterable[pa.Table], points: Mapping[int, Sequence[int]], aspect: float = 1.0
) -> pa.Table:
    """The numbers of each face that a report needs, after ``SCHEMA``.

    Memory grows by about a hundred bytes a face; landmarks are held of two frames only.

    Args:
        tables: parts of the stitched table (``scheduler.tracks.STITCHED_SCHEMA``), in order.
        points: landmarks to keep, by how many a face has.
        aspect: width of a sample over its height.
    """
    meter = JitterMeter()
    columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
    kept: list[NDArray[np.float32]] = []
    boxes: list[NDArray[np.float32]] = []
    square = np.array((aspect, 1.0))
    for table in tables:
        for face in from_table(table):
            row = len(boxes)
            marks = face.landmarks * square
            columns["frame"].append(face.frame)
            columns["track"].append(face.track)
            columns["person"].append(face.person)
            right, left = marks[list(point_set(len(marks)).eye_corners)]
            columns["eyes"].append(float(np.hypot(*(right - left))))
            columns["jitter"].append(np.nan)
            boxes.append(face.box.copy())
            kept.append(face.landmarks[list(points[len(marks)])].ravel())
            found = meter.add(row, face.frame, face.track, marks)
            if found is not None:
                columns["jitter"][found[0]] = found[1]
    columns["box"], columns["points"] = boxes, kept
    arrays = [pa.array(columns[field.name], field.type) for field in SCHEMA]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)
