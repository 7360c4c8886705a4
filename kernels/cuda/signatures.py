"""What each kernel takes, in order. Tests hold it against the compiled kernels' parameters."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from kernels.geometry import Affine

if TYPE_CHECKING:
    Argument = ctypes.Structure | ctypes._SimpleCData[Any]

FARTHEST: Final = 1 << 20
"""Texels. Farther out a place counts as here: beyond every edge, and still a whole float32."""


class Map(ctypes.Structure):
    """``struct Map`` of sampling.cuh."""

    _fields_ = (
        *((name, ctypes.c_float) for name in ("xx", "xy", "x", "yx", "yy", "y")),
        *((name, ctypes.c_int) for name in ("origin_x", "origin_y", "base_x", "base_y")),
    )

    @classmethod
    def of(cls, affine: Affine, origin: tuple[int, int]) -> Self:
        """
        Args:
            affine: float64 [2, 3] output pixels -> texels.
            origin: an output pixel near the middle of what is wanted. It must depend on the affine
                only, or a value would depend on the box that it is computed in.
        """
        (a, b, c), (d, e, f) = affine.tolist()
        x, y = (p * origin[0] + q * origin[1] + r for p, q, r in ((a, b, c), (d, e, f)))
        base_x, base_y = (_texel(value) for value in (x, y))
        part_x = min(max(x - base_x, -1.0), 1.0)
        part_y = min(max(y - base_y, -1.0), 1.0)
        return cls(a, b, part_x, d, e, part_y, *origin, base_x, base_y)


class Matrix(ctypes.Structure):
    """``struct Matrix`` of warp.cu: [3, 4]."""

    _fields_ = (("rows", ctypes.c_float * 12),)

    @classmethod
    def of(cls, values: NDArray[np.floating]) -> Self:
        return cls((ctypes.c_float * 12)(*np.asarray(values, np.float32).ravel().tolist()))


def _texel(value: float) -> int:
    return math.floor(min(max(value, -FARTHEST), FARTHEST))


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """How a kernel is launched."""

    arguments: tuple[type[Argument], ...]
    block: tuple[int, int, int] = (16, 16, 1)


P, I, F = ctypes.c_uint64, ctypes.c_int, ctypes.c_float
_CROP = Signature(arguments=(P, P, P, Map, Map, Matrix, I, I, I, I, I, P, I))
_CELLS = Signature(arguments=(P, I, I, I, I, F, I, I, I, I, P, I))
_CELL_PAIRS = Signature(arguments=(P, I, I, I, I, F, I, I, I, I, P, P, I))

SOURCES: Final[Mapping[str, Mapping[str, Signature]]] = {
    "cells.cu": {
        "cells8": _CELLS,
        "cells16": _CELLS,
        "cells_float": _CELLS,
        "cell_pairs8": _CELL_PAIRS,
        "cell_pairs16": _CELL_PAIRS,
    },
    "warp.cu": {
        "crop_planar8": _CROP,
        "crop_planar16": _CROP,
        "crop_cells": _CROP,
        "crop_nv12": _CROP,
        "crop_p010": _CROP,
    },
}
"""Kernels by the file that they are in."""
SIGNATURES: Final = {name: each for file in SOURCES.values() for name, each in file.items()}
