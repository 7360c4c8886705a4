"""Hands near faces as an Arrow table: one row for each hand in each frame."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

JOINTS: Final = 21
"""Points of a hand: the wrist, then four of each finger from the thumb, root to tip."""

SCHEMA: Final = pa.schema(
    [
        pa.field("frame", pa.int64(), nullable=False),
        pa.field("landmarks", pa.list_(pa.float32(), JOINTS * 2), nullable=False),
        pa.field("presence", pa.float32(), nullable=False),
    ]
)
"""frame: 0-based presentation index. landmarks: x y pairs in pixels of the coded picture (pixel
centres on whole numbers). presence: the hand network's, 0..1."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HandObservation:
    """One hand in one frame: a row of the table, unpacked."""

    frame: int
    landmarks: NDArray[np.float32]
    """[21, 2] x y in pixels of the coded picture."""
    presence: float


def to_table(hands: Iterable[HandObservation]) -> pa.Table:
    """Rows in the order given, after ``SCHEMA``."""
    rows = list(hands)
    points = np.array([hand.landmarks for hand in rows], np.float32).ravel()
    columns = [
        pa.array([hand.frame for hand in rows], pa.int64()),
        pa.FixedSizeListArray.from_arrays(pa.array(points, pa.float32()), JOINTS * 2),
        pa.array([hand.presence for hand in rows], pa.float32()),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def from_table(table: pa.Table) -> list[HandObservation]:
    """The rows of a table after ``SCHEMA``, in its order. Exact: float32 in, float32 out."""
    table = table.combine_chunks()
    points = table.column("landmarks").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return [
        HandObservation(frame=frame, landmarks=landmarks, presence=presence)
        for frame, landmarks, presence in zip(
            table.column("frame").to_pylist(),
            np.asarray(points, np.float32).reshape(-1, JOINTS, 2),
            table.column("presence").to_pylist(),
            strict=True,
        )
    ]
