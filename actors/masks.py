"""Recorded blend masks: where a render may have changed its frames, as proof and for editors."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from actors.segments import writing
from kernels.api import Patch
from kernels.picture import Roi

SCHEMA: Final = pa.schema(
    [
        pa.field("frame", pa.int64(), nullable=False),
        pa.field("x0", pa.int32(), nullable=False),
        pa.field("y0", pa.int32(), nullable=False),
        pa.field("x1", pa.int32(), nullable=False),
        pa.field("y1", pa.int32(), nullable=False),
        pa.field("touched", pa.binary(), nullable=False),
        pa.field("track", pa.int32(), nullable=False),
        pa.field("strength", pa.float32(), nullable=False),
        pa.field("hidden", pa.float32(), nullable=False),
    ]
)
"""One row a face that was pasted, frames rising. frame: 0-based presentation index. x0..y1: the
region in luma pixels, half open; empty where no pixel was touched. touched: the region's booleans
row by row, eight to a byte (``numpy.packbits``), zlib-compressed. track: the face's. strength:
0..1, the largest value of the blend mask that the swapper gave it: less than 1 where it fades the
new face. hidden: 0..1, the share of that mask that was taken away for what is before the face."""

_ROWS_AT_A_TIME = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PastedFace:
    """What became of one face in one frame: a row of the table, unpacked."""

    frame: int
    track: int
    patch: Patch
    strength: float
    hidden: float


class MaskWriter:
    """Writes the masks of a chunk; the file appears whole at the end or not at all.

    Use as a context manager: leaving it by an exception leaves no file.

    Args:
        path: of the Parquet file. Its folder exists.
    Raises DiskFull, StorageUnwritable: from any call.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.with_name(f".{path.name}.tmp")
        self._rows: list[dict[str, object]] = []

    def __enter__(self) -> Self:
        with writing(self._path):
            self._file = self._temporary.open("wb")
            self._table = pq.ParquetWriter(self._file, SCHEMA, compression="none")
        return self

    def add(self, faces: Iterable[PastedFace]) -> None:
        """Record the faces of one frame."""
        for face in faces:
            roi = face.patch.roi
            self._rows.append(
                {
                    "frame": face.frame,
                    "x0": roi.x0,
                    "y0": roi.y0,
                    "x1": roi.x1,
                    "y1": roi.y1,
                    "touched": zlib.compress(np.packbits(face.patch.touched).tobytes()),
                    "track": face.track,
                    "strength": face.strength,
                    "hidden": face.hidden,
                }
            )
        if len(self._rows) >= _ROWS_AT_A_TIME:
            self._flush()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            with writing(self._path), self._file:
                if kind is None:
                    self._flush()
                self._table.close()
                self._file.flush()
                os.fsync(self._file.fileno())
            if kind is None:
                with writing(self._path):
                    self._temporary.replace(self._path)
        finally:
            self._temporary.unlink(missing_ok=True)

    def _flush(self) -> None:
        if self._rows:
            with writing(self._path):
                self._table.write_table(pa.Table.from_pylist(self._rows, SCHEMA))
            self._rows = []


class RecordedMasks:
    """Reads what a ``MaskWriter`` wrote; holds the compressed masks of one chunk.

    Args:
        path: of the Parquet file.
    Raises OSError, pyarrow.ArrowInvalid: the file is missing or no such table.
    """

    def __init__(self, path: str | Path) -> None:
        self._rows: dict[int, list[dict[str, Any]]] = {}
        for row in _rows(path):
            if not _roi(row).empty:
                self._rows.setdefault(row["frame"], []).append(row)

    @property
    def frames(self) -> tuple[int, ...]:
        """Rising indices of the frames that have a patch."""
        return tuple(sorted(self._rows))

    def mask(self, frame_index: int, width: int, height: int) -> NDArray[np.bool_]:
        """Where a frame may have been changed.

        Args:
            frame_index: 0-based presentation order.
            width, height: of the frame in luma pixels.
        Returns: bool [height, width]; False everywhere for a frame without patches. For other
            planes see ``kernels.api.plane_touched``.
        """
        full = np.zeros((height, width), np.bool_)
        for row in self._rows.get(frame_index, ()):
            patch = _patch(row)
            full[patch.roi.y0 : patch.roi.y1, patch.roi.x0 : patch.roi.x1] |= patch.touched
        return full


def pasted_faces(path: str | Path) -> Iterator[PastedFace]:
    """The rows that a ``MaskWriter`` wrote, in order, a few in memory at a time.

    Raises OSError, pyarrow.ArrowInvalid: the file is missing or no such table.
    """
    for row in _rows(path):
        yield PastedFace(
            frame=row["frame"],
            track=row["track"],
            patch=_patch(row),
            strength=row["strength"],
            hidden=row["hidden"],
        )


def _rows(path: str | Path) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_ROWS_AT_A_TIME, use_threads=False):
            yield from batch.to_pylist()


def _roi(row: dict[str, Any]) -> Roi:
    return Roi(x0=row["x0"], y0=row["y0"], x1=row["x1"], y1=row["y1"])


def _patch(row: dict[str, Any]) -> Patch:
    roi = _roi(row)
    rows, columns = roi.y1 - roi.y0, roi.x1 - roi.x0
    packed = np.frombuffer(zlib.decompress(row["touched"]), np.uint8)
    bits = np.unpackbits(packed, count=rows * columns)
    return Patch(roi=roi, touched=bits.reshape(rows, columns).astype(np.bool_))
