"""Reads a constant out of an ONNX file without the ``onnx`` package.

An ONNX file is one protocol-buffer message: fields of (number, wire type, value), one after the
other. The two levels that lead to the constants are walked and everything else is stepped over, so
half a gigabyte of weights is never read.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scheduler.errors import ModelCorrupt

GRAPH: Final = 7
"""Field of the model that is its graph."""
INITIALIZER: Final = 5
"""Field of the graph that is a constant; comes once for each."""
DIMS, DATA_TYPE, FLOAT_DATA, RAW_DATA = 1, 2, 4, 9
"""Fields of a constant."""
DTYPES: Final = {1: "<f4", 10: "<f2"}
"""Numbers of the element types that are read."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types."""


def last_matrix(path: Path, rows: int, columns: int) -> NDArray[np.float32]:
    """The last constant of that shape in a network's file.

    Args:
        path: of the ``.onnx`` file, its weights inside it.
        rows, columns: what shape to look for.
    Returns: float32 [rows, columns].
    Raises ModelCorrupt: the file is missing, no ONNX file, or has no such constant.
    """
    found: NDArray[np.float32] | None = None
    why = "no such constant is in it"
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for number, start, stop in _fields(data, 0, len(data)):
                if number != GRAPH:
                    continue
                for inner, begin, end in _fields(data, start, stop):
                    if inner == INITIALIZER:
                        found = _matrix(data, begin, end, (rows, columns), found)
    except (OSError, ValueError, IndexError) as error:
        found, why = None, str(error)
    if found is None:
        raise ModelCorrupt(
            f"{path} does not give its embedding matrix ({why})",
            f"an ONNX network with a constant of {rows} x {columns} float numbers in it",
            "`farm models verify` finds damaged files, `farm models pull` fetches them anew",
        )
    return found


def _matrix(
    data: mmap.mmap,
    start: int,
    stop: int,
    shape: tuple[int, int],
    before: NDArray[np.float32] | None,
) -> NDArray[np.float32] | None:
    """The constant in data[start:stop] if it has that shape, else ``before``."""
    dims: list[int] = []
    kind, values = 0, (0, 0)
    for number, begin, end in _fields(data, start, stop):
        if number == DIMS:
            dims += _numbers(data, begin, end)
        elif number == DATA_TYPE:
            (kind,) = _numbers(data, begin, end)
        elif number in (FLOAT_DATA, RAW_DATA):
            values = begin, end
    if tuple(dims) != shape or kind not in DTYPES:
        return before
    numbers = np.frombuffer(data[slice(*values)], DTYPES[kind])
    return numbers.reshape(shape).astype(np.float32)


def _fields(data: mmap.mmap, at: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """(number, start, stop) of each field's value in data[at:stop]."""
    while at < stop:
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            _, end = _varint(data, at)
        elif wire == BYTES:
            length, at = _varint(data, at)
            end = at + length
        elif wire in (FIXED32, FIXED64):
            end = at + (4 if wire == FIXED32 else 8)
        else:
            raise ValueError(f"no ONNX file: wire type {wire} at byte {at}")
        if end > stop:
            raise ValueError(f"cut off: byte {end} of {stop}")
        yield number, at, end
        at = end


def _numbers(data: mmap.mmap, at: int, stop: int) -> list[int]:
    """The whole numbers that lie packed, or alone, in data[at:stop]."""
    numbers = []
    while at < stop:
        number, at = _varint(data, at)
        numbers.append(number)
    return numbers


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    """(value, where it ends)."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
