"""Faces over time as an Arrow table: one row for each face in each frame."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

LANDMARKS: Final = 468
"""Vertices of the face mesh (MediaPipe's canonical order)."""

SCHEMA: Final = pa.schema(
    [
        pa.field("frame", pa.int64(), nullable=False),
        pa.field("track", pa.int32(), nullable=False),
        pa.field("box", pa.list_(pa.float32(), 4), nullable=False),
        pa.field("landmarks", pa.list_(pa.float32(), LANDMARKS * 2), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("visible", pa.float32(), nullable=False),
    ]
)
"""frame: 0-based presentation index. track: -1 before the stitch. box: x0 y0 x1 y1 and landmarks:
x y pairs, both in pixels of the coded picture (pixel centres on whole numbers). score: the
detector's, 0..1. visible: the mesh's face presence, 0..1."""

STITCHED_SCHEMA: Final = SCHEMA.append(pa.field("person", pa.int32(), nullable=False))
"""The joined table. person: which of the job's people is put on the face
(``SwapSettings.people``); -1: the face stays as it is."""

EMBEDDING: Final = 128
"""Numbers of an embedding."""

PORTRAITS_SCHEMA: Final = pa.schema(
    [
        pa.field("frame", pa.int64(), nullable=False),
        pa.field("place", pa.int32(), nullable=False),
        pa.field("quality", pa.float32(), nullable=False),
        pa.field("embedding", pa.list_(pa.float32(), EMBEDDING), nullable=False),
    ]
)
"""The looks of faces at their best. frame, place: the row that was looked at, the place-th of its
frame. quality: 0..1, how well the face is seen. embedding: the recogniser's; the Euclidean distance
of two says how likely they show one person."""

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
    """[468, 2] x y in pixels of the coded picture."""
    score: float
    visible: float
    person: int = 0
    """Which of the job's people is put on it; -1: none. Known after the stitch."""


def to_table(faces: Iterable[FaceObservation]) -> pa.Table:
    """Rows in the order given, after ``SCHEMA``; persons are not kept."""
    rows = list(faces)
    flat = {
        "box": np.stack([f.box for f in rows]) if rows else np.zeros((0, 4)),
        "landmarks": np.stack([f.landmarks for f in rows]) if rows else np.zeros((0, LANDMARKS, 2)),
    }
    columns = [
        pa.array([f.frame for f in rows], pa.int64()),
        pa.array([f.track for f in rows], pa.int32()),
        pa.FixedSizeListArray.from_arrays(
            pa.array(flat["box"].astype(np.float32).ravel(), pa.float32()), 4
        ),
        pa.FixedSizeListArray.from_arrays(
            pa.array(flat["landmarks"].astype(np.float32).ravel(), pa.float32()), LANDMARKS * 2
        ),
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

    def floats(name: str) -> NDArray[np.float32]:
        column = table.column(name).combine_chunks()
        return np.asarray(column.flatten().to_numpy(zero_copy_only=False), np.float32)

    joined = "person" in table.column_names
    people = table.column("person").to_pylist() if joined else [0] * count
    boxes = floats("box").reshape(count, 4)
    landmarks = floats("landmarks").reshape(count, LANDMARKS, 2)
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
