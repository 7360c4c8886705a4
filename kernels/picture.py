"""A decoded picture as it lies in memory: planes of samples and what the numbers mean.

Coordinates, everywhere in this program: x right, y down, the centre of the first pixel is (0, 0)
and pixel centres lie on whole numbers (OpenCV's convention). An affine is float64 [2, 3] and maps
column vectors (x, y, 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Matrix = Literal["bt601", "bt709", "bt2020", "rgb"]
Transfer = Literal["bt709", "srgb", "linear", "pq", "hlg"]
Plane = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFormat:
    """The shape and meaning of a planar picture.

    Planes are Y, U, V (or G, B, R when ``matrix`` is "rgb"; or Y alone when ``planes`` is 1).
    Chroma planes have ceil(size / 2**sub) samples. Samples of more than 8 bits are uint16 with
    ``depth`` significant low bits.
    """

    width: int
    height: int
    depth: int = 8
    planes: int = 3
    sub_x: int = 1
    """log2 of the horizontal chroma subsampling: 1 for 4:2:0 and 4:2:2, 0 for 4:4:4."""
    sub_y: int = 1
    matrix: Matrix = "bt709"
    transfer: Transfer = "bt709"
    full_range: bool = False
    chroma_left: bool = True
    """True: chroma samples sit on the left luma column (MPEG-2 and later); False: centred."""

    @property
    def dtype(self) -> np.dtype[np.uint8] | np.dtype[np.uint16]:
        return np.dtype(np.uint8) if self.depth <= 8 else np.dtype(np.uint16)

    def plane_shape(self, plane: int) -> tuple[int, int]:
        """(height, width) of one plane in samples."""
        if plane == 0:
            return self.height, self.width
        return -(-self.height >> self.sub_y), -(-self.width >> self.sub_x)

    @property
    def nbytes(self) -> int:
        """Bytes of all planes without padding."""
        return sum(
            h * w * self.dtype.itemsize for h, w in map(self.plane_shape, range(self.planes))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Planes that follow a format. The arrays are views: who holds a Picture may patch it."""

    format: PictureFormat
    planes: tuple[Plane, ...]
    """Each [h, w] of ``format.dtype``; rows may be padded (strided views are fine)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Roi:
    """A half-open box in frame pixels: columns [x0, x1), rows [y0, y1)."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def empty(self) -> bool:
        return self.x1 <= self.x0 or self.y1 <= self.y0
