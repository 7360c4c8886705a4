"""What each kernel takes, in order. Tests hold it against the compiled kernels' parameters."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from kernels.geometry import Affine

if TYPE_CHECKING:
    Argument = ctypes.Structure | ctypes._SimpleCData[Any]
else:
    Argument = object

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


def nearest(value: float) -> int:
    """The whole number next to a coordinate; one that is farther off than all counts as that."""
    return _texel(value + 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """How a kernel is launched."""

    arguments: tuple[type[Argument], ...]
    block: tuple[int, int, int] = (16, 16, 1)


class Channels(ctypes.Structure):
    """``struct Channels`` of tensor.cu: of each channel written the scale, the bias and where it is
    read."""

    _fields_ = (
        ("scale", ctypes.c_float * 3),
        ("bias", ctypes.c_float * 3),
        ("source", ctypes.c_int * 3),
    )


class Target(ctypes.Structure):
    """``struct Target`` of planes.cuh: a plane that is written."""

    _fields_ = (
        ("base", ctypes.c_uint64),
        ("pitch", ctypes.c_int64),
        ("step", ctypes.c_int),
        ("shift", ctypes.c_int),
    )


class Blocks(ctypes.Structure):
    """``struct Blocks`` of yuv.cu."""

    _fields_ = tuple(
        (name, ctypes.c_int) for name in ("sub_x", "sub_y", "left", "planes", "top", "dither")
    )


class Part(ctypes.Structure):
    """``struct Part`` of paste.cu."""

    _fields_ = (
        *((name, ctypes.c_int) for name in ("x0", "y0", "width", "height")),
        ("touched", ctypes.c_uint64),
        *((name, ctypes.c_int) for name in ("row", "touched_width", "touched_height")),
        *((name, ctypes.c_int) for name in ("sub_x", "sub_y")),
    )


class Grade(ctypes.Structure):
    """``struct Grade`` of colour.cu: gains and biases."""

    _fields_ = (("gain", ctypes.c_float * 3), ("bias", ctypes.c_float * 3))


class Small(ctypes.Structure):
    """``struct Small`` of motion.cuh: a picture that is enlarged where it is read."""

    _fields_ = (
        ("base", ctypes.c_uint64),
        ("width", ctypes.c_int),
        ("height", ctypes.c_int),
        *((name, ctypes.c_float) for name in ("across", "down", "wide", "high")),
    )

    @classmethod
    def of(cls, pointer: int, width: int, height: int, to: tuple[int, int]) -> Self:
        return cls(
            pointer, width, height, width / to[0], height / to[1], to[0] / width, to[1] / height
        )


class Hold(ctypes.Structure):
    """``struct Hold`` of likeness.cu."""

    _fields_ = (
        *((name, ctypes.c_float) for name in ("held", "alike", "anomaly", "tau", "trust_slope")),
        *((name, ctypes.c_float) for name in ("unseen", "worth_slope", "sharpness")),
        *((name, ctypes.c_int) for name in ("flow", "snap", "out_of_line")),
    )


P, N, L, F = ctypes.c_uint64, ctypes.c_int, ctypes.c_int64, ctypes.c_float
"""Pointers and textures, whole numbers, long ones, real ones."""
_DECODE = Signature(arguments=(P, P, P, Map, Matrix, N, N, N, P, N, N, N, N, P, N))
_ENCODE = Signature(arguments=(P, N, P, Matrix, Blocks, Target, Target, Target, N, N, N, N))
_ADD = Signature(arguments=(Part, Map, P, P, Target, Target, N, N))
_PACK = Signature(arguments=(P, L, N, N, P, N, N, Channels))
_LINE = Signature(arguments=(P, P, N, N, P, N, N), block=(128, 1, 1))
_CROP = Signature(arguments=(P, P, P, Map, Map, Matrix, N, N, N, N, N, P, N))
_CELLS = Signature(arguments=(P, N, N, N, N, F, N, N, N, N, P, N))
_CELL_PAIRS = Signature(arguments=(P, N, N, N, N, F, N, N, N, N, P, P, N))

SOURCES: Final[Mapping[str, Mapping[str, Signature]]] = {
    "blur.cu": {"blur_rows": _LINE, "blur_columns": replace(_LINE, block=(32, 8, 1))},
    "cells.cu": {
        "cells8": _CELLS,
        "cells16": _CELLS,
        "cells_float": _CELLS,
        "cell_pairs8": _CELL_PAIRS,
        "cell_pairs16": _CELL_PAIRS,
    },
    "colour.cu": {"grade": Signature(arguments=(P, Grade, P, P, N, N))},
    "dense.cu": {
        "halve_bytes": Signature(arguments=(P, P, N, N, N, N, P, P, N, N)),
        "halve_floats": Signature(arguments=(P, P, N, N, P, P, N, N)),
        "follow": Signature(arguments=(P, P, Small, F, P, N, N)),
        "short_flow": Signature(arguments=(P, N, F, P, N, N)),
        "move_bytes": Signature(arguments=(P, N, N, N, P, N, N, N)),
    },
    "flow.cu": {
        "flow_blend": Signature(arguments=(P, Small, Small, Small, P, P, P, P, N, N, N)),
        "flow_amounts": Signature(arguments=(P, Small, P, N, N, F, P, N, N)),
    },
    "likeness.cu": {
        "likeness": Signature(arguments=(P, P, P, P, N, Small, P, P, N, N)),
        "tally": Signature(arguments=(P, P, P, P, N, N)),
        "hold": Signature(arguments=(P, P, P, P, Hold, P, P, N, N)),
    },
    "look.cu": {
        "look": Signature(arguments=(P, N, N, N, F, P, N, P, N, N)),
        "lift": Signature(arguments=(P, P, P, P, P, N, N)),
        "cut": Signature(arguments=(P, N, P, N, N, N)),
        "colour_moments": Signature(arguments=(P, N, N, P, N, P, P, N, N)),
    },
    "mask.cu": {
        "merge_masks": Signature(arguments=(P, P, P, P, N, F, F, N, N, P, N, N, N, N)),
        "seam_band": Signature(arguments=(P, P, N, P, N, N)),
    },
    "paste.cu": {
        "touch": Signature(arguments=(P, N, N, N, N, N, Map, N, N, P, N, N, N)),
        "add_change8": _ADD,
        "add_change16": _ADD,
    },
    "pyramid.cu": {
        "pyramid_base": Signature(arguments=(P, N, P, N, N, P, N, N, P, P, N, N)),
        "pyramid_down": Signature(arguments=(P, N, N, P, N, N)),
        "blend_up": Signature(arguments=(P, P, N, N, P, P, N, N)),
        "blend_codes": Signature(arguments=(P, P, N, N, P, P, N, P, P, Matrix, N, P, N, L, N, N)),
    },
    "tensor.cu": {
        "pack_floats": _PACK,
        "pack_bytes": _PACK,
        "unpack_floats": Signature(arguments=(P, P, L, N, N, N, N, Channels, P)),
    },
    "thumbnail.cu": {
        "thumbnail": Signature(arguments=(P, P, P, Map, Map, N, N, Matrix, N, Map, N, N, P, N, N)),
    },
    "warp.cu": {
        "crop_planar8": _CROP,
        "crop_planar16": _CROP,
        "crop_cells": _CROP,
        "crop_nv12": _CROP,
        "crop_p010": _CROP,
    },
    "yuv.cu": {
        "decode_planar8": _DECODE,
        "decode_planar16": _DECODE,
        "decode_nv12": _DECODE,
        "decode_p010": _DECODE,
        "encode8": _ENCODE,
        "encode16": _ENCODE,
    },
}
"""Kernels by the file that they are in."""
SIGNATURES: Final = {name: each for file in SOURCES.values() for name, each in file.items()}
