"""Faces over time as an Arrow table: one row for each face in each frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

SCHEMA: Final = pa.schema(
    [
        pa.field("frame", pa.int64(), nullable=False),
        pa.field("track", pa.int32(), nullable=False),
        pa.field("box", pa.list_(pa.float32(), 4), nullable=False),
        pa.field("landmarks", pa.list_(pa.float32()), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("visible", pa.float32(), nullable=False),
    ]
)
"""frame: 0-based presentation index. track: -1 before the stitch. box: x0 y0 x1 y1 and landmarks:
x y pairs of a ``scheduler.points.PointSet``, both in pixels of the coded picture (pixel centres on
whole numbers). score: the detector's, 0..1. visible: how sure the landmarker is of the face, 0..1.
"""

STITCHED_SCHEMA: Final = SCHEMA.append(pa.field("person", pa.int32(), nullable=False))
"""The joined table. person: which of the job's people is put on the face
(``SwapSettings.people``); -1: the face stays as it is."""

PORTRAITS_SCHEMA: Final = pa.schema(
    [
        pa.field("frame", pa.int64(), nullable=False),
        pa.field("place", pa.int32(), nullable=False),
        pa.field("quality", pa.float32(), nullable=False),
        pa.field("embedding", pa.list_(pa.float32()), nullable=False),
        pa.field("gender", pa.int8(), nullable=False),
        pa.field("age", pa.int8(), nullable=False),
        pa.field("race", pa.int8(), nullable=False),
    ]
)
"""The looks of faces at their best. frame, place: the row that was looked at, the place-th of its
frame. quality: 0..1, how well the face is seen. embedding: the recogniser's; the Euclidean distance
of two says how likely they show one person; empty where no recogniser was asked. gender, age, race:
the classifier's numbers (``scheduler.classes``); -1 where it was not asked."""

FRAMES_SCHEMA: Final = pa.schema(
    [
        pa.field("frame", pa.int64(), nullable=False),
        pa.field("change", pa.float32(), nullable=False),
    ]
)
"""change: how much the low-resolution luma differs from the frame before (``kernels.cuts``)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FaceObservation:
    """One face in one frame: a row of the table, unpacked."""

    frame: int
    track: int
    """Number over the whole film; -1 before the stitch."""
    box: NDArray[np.float32]
    """[4] x0 y0 x1 y1 in pixels of the coded picture."""
    landmarks: NDArray[np.float32]
    """[n, 2] x y in pixels of the coded picture, of a ``scheduler.points.PointSet``."""
    score: float
    visible: float
    person: int = 0
    """Which of the job's people is put on it; -1: none. Known after the stitch."""


def float_lists(rows: Sequence[NDArray[np.floating]]) -> pa.Array:
    """An Arrow array of one list of float32 a row."""
    ends = np.cumsum([row.size for row in rows], dtype=np.int32)
    flat = np.concatenate([row.ravel() for row in rows]) if rows else np.zeros(0)
    return pa.ListArray.from_arrays(
        pa.array(np.concatenate([[0], ends]), pa.int32()),
        pa.array(flat.astype(np.float32), pa.float32()),
    )


def read_lists(column: pa.ChunkedArray) -> list[NDArray[np.float32]]:
    """The rows of a column of lists of float32."""
    whole = column.combine_chunks()
    flat = np.asarray(whole.flatten().to_numpy(zero_copy_only=False), np.float32)
    ends = np.cumsum(whole.value_lengths().to_numpy(zero_copy_only=False))
    return np.split(flat, ends[:-1]) if len(whole) else []


def to_table(faces: Iterable[FaceObservation]) -> pa.Table:
    """Rows in the order given, after ``SCHEMA``; persons are not kept."""
    rows = list(faces)
    boxes = np.stack([f.box for f in rows]) if rows else np.zeros((0, 4))
    columns = [
        pa.array([f.frame for f in rows], pa.int64()),
        pa.array([f.track for f in rows], pa.int32()),
        pa.FixedSizeListArray.from_arrays(
            pa.array(boxes.astype(np.float32).ravel(), pa.float32()), 4
        ),
        float_lists([f.landmarks for f in rows]),
        pa.array([f.score for f in rows], pa.float32()),
        pa.array([f.visible for f in rows], pa.float32()),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def from_table(table: pa.Table) -> list[FaceObservation]:
    """The rows of a table after ``SCHEMA`` or ``STITCHED_SCHEMA``, in its order.

    Exact: float32 in, float32 out.
    """
    table = table.combine_chunks()
    count = table.num_rows

    joined = "person" in table.column_names
    people = table.column("person").to_pylist() if joined else [0] * count
    flat = table.column("box").combine_chunks().flatten()
    boxes = np.asarray(flat.to_numpy(zero_copy_only=False), np.float32).reshape(count, 4)
    landmarks = [points.reshape(-1, 2) for points in read_lists(table.column("landmarks"))]
    return [
        FaceObservation(
            frame=frame,
            track=track,
            box=box,
            landmarks=points,
            score=score,
            visible=visible,
            person=person,
        )
        for frame, track, box, points, score, visible, person in zip(
            table.column("frame").to_pylist(),
            table.column("track").to_pylist(),
            boxes,
            landmarks,
            table.column("score").to_pylist(),
            table.column("visible").to_pylist(),
            people,
            strict=True,
        )
    ]
