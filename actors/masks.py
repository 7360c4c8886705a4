"""Recorded blend masks: where a render may have changed its frames, as proof and for editors."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from actors.segments import writing
from kernels.api import Patch

SCHEMA: Final = pa.schema(
    [
        pa.field("frame", pa.int64(), nullable=False),
        pa.field("x0", pa.int32(), nullable=False),
        pa.field("y0", pa.int32(), nullable=False),
        pa.field("x1", pa.int32(), nullable=False),
        pa.field("y1", pa.int32(), nullable=False),
        pa.field("touched", pa.binary(), nullable=False),
    ]
)
"""One row a patch that is not empty. frame: 0-based presentation index. x0..y1: the region in luma
pixels, half open. touched: the region's booleans row by row, eight to a byte (``numpy.packbits``),
zlib-compressed."""

_ROWS_AT_A_TIME = 64


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

    def add(self, frame_index: int, patches: Iterable[Patch]) -> None:
        """Record the patches of one frame."""
        for patch in patches:
            if not patch.roi.empty:
                roi = patch.roi
                bits = zlib.compress(np.packbits(patch.touched).tobytes())
                box = {"x0": roi.x0, "y0": roi.y0, "x1": roi.x1, "y1": roi.y1}
                self._rows.append({"frame": frame_index, **box, "touched": bits})
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
        self._rows: dict[int, list[dict[str, int | bytes]]] = {}
        table = pq.read_table(path, schema=SCHEMA)
        for row in table.to_pylist():
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
            x0, y0, x1, y1 = (int(row[name]) for name in ("x0", "y0", "x1", "y1"))
            rows, columns = y1 - y0, x1 - x0
            packed = np.frombuffer(zlib.decompress(bytes(row["touched"])), np.uint8)
            bits = np.unpackbits(packed, count=rows * columns)
            full[y0:y1, x0:x1] |= bits.reshape(rows, columns).astype(np.bool_)
        return full
