"""Samples of what faces look like as Arrow tables: a few of each face, laid flat.

An analysis takes one of each face on every 6th frame of the film; the stitch keeps some of each
track, spread over it evenly. Which ones depends on the whole film and not on its chunks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

PERIOD: Final = 6
"""Frames of the film from one sample to the next."""
MOST: Final = 24
"""Samples of a track that are kept."""
SIDE: Final = 32
TEXELS: Final = SIDE * SIDE * 4

SCHEMA: Final = pa.schema(
    [
        pa.field("frame", pa.int64(), nullable=False),
        pa.field("place", pa.int32(), nullable=False),
        pa.field("texels", pa.binary(TEXELS), nullable=False),
    ]
)
"""frame, place: the row that was looked at, the place-th of its frame. texels: uint8 [32, 32, 4],
R'G'B' and 255 where the face is seen, in the canonical layout."""

STITCHED_SCHEMA: Final = pa.schema(
    [
        pa.field("track", pa.int32(), nullable=False),
        pa.field("frame", pa.int64(), nullable=False),
        pa.field("texels", pa.binary(TEXELS), nullable=False),
    ]
)
"""The samples that are kept, in film order."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FaceSample:
    """What one face looked like in one frame: a row of the table, unpacked."""

    frame: int
    place: int
    texels: NDArray[np.uint8]
    """[32, 32, 4]."""


def to_table(samples: Sequence[FaceSample]) -> pa.Table:
    """Rows in the order given, after ``SCHEMA``."""
    return pa.Table.from_arrays(
        [
            pa.array([each.frame for each in samples], pa.int64()),
            pa.array([each.place for each in samples], pa.int32()),
            pa.array([each.texels.tobytes() for each in samples], pa.binary(TEXELS)),
        ],
        schema=SCHEMA,
    )


def by_track(table: pa.Table) -> dict[int, list[NDArray[np.uint8]]]:
    """The samples [32, 32, 4] of each track in a table after ``STITCHED_SCHEMA``."""
    found: dict[int, list[NDArray[np.uint8]]] = {}
    tracks, texels = table.column("track").to_pylist(), table.column("texels").to_pylist()
    for track, bytes_ in zip(tracks, texels, strict=True):
        sample = np.frombuffer(bytes_, np.uint8).reshape(SIDE, SIDE, 4)
        found.setdefault(track, []).append(sample)
    return found


def spread_out(samples: Mapping[int, Sequence[int]]) -> list[tuple[int, int]]:
    """(sample, track) of those to keep, by sample: at most ``MOST`` of a track, evenly spread.

    Args:
        samples: of each track its samples' numbers, rising.
    """
    kept = []
    for track, numbers in samples.items():
        count = min(len(numbers), MOST)
        kept += [(numbers[at * len(numbers) // count], track) for at in range(count)]
    return sorted(kept)
