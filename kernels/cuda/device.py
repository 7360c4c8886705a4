"""What the launcher needs of a GPU: a few verbs, and the pictures that lie in its memory.

``kernels.cuda.cupy_device`` is a real one. The tests have another that runs the same kernels on the
CPU under a sanitizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from kernels.cuda.signatures import Argument
from kernels.picture import PictureFormat, Roi

Rows = NDArray[Any]
TEXTURE_BASE = 512
"""A texture begins on a multiple of this many bytes."""
TEXTURE_PITCH = 32
"""Its rows lie a multiple of this many bytes apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Texture:
    """Texels in device memory, read one at a time and by whole coordinates."""

    pointer: int
    pitch: int
    """Bytes from row to row."""
    width: int
    """In texels."""
    height: int
    dtype: str
    """Of a channel: "uint8", "uint16" or "float32"; read as it is."""
    channels: int = 1
    zero_beyond: bool = False
    """Beyond its edges: zero; else the edge texel."""


class Memory(Protocol):
    """Device memory that lives as long as this object."""

    @property
    def pointer(self) -> int: ...

    @property
    def nbytes(self) -> int: ...


class Device(Protocol):
    """One GPU, one stream: what is asked is done in the order in which it was asked."""

    def reserve(self, nbytes: int) -> Memory:
        """Memory on a multiple of ``TEXTURE_BASE``; what is in it is not defined."""
        ...

    def write(self, pointer: int, pitch: int, rows: Rows) -> None:
        """Copy a host array [rows, ...] to the device, its rows ``pitch`` bytes apart."""
        ...

    def read(self, pointer: int, pitch: int, rows: Rows) -> None:
        """Copy from the device into a host array whose rows are contiguous; waits for it."""
        ...

    def texture(self, texture: Texture) -> int:
        """A handle by which kernels read it; the same for the same texture."""
        ...

    def launch(
        self,
        kernel: str,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        arguments: Sequence[Argument],
    ) -> None:
        """Start a kernel; its arguments are checked by the caller."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePlane:
    """A plane, or the part of one that is needed, in device memory."""

    pointer: int
    """Of the first sample that is held."""
    pitch: int
    """Bytes from row to row."""
    width: int
    """Samples (pairs where ``channels`` is 2) that are held."""
    height: int
    dtype: str
    channels: int = 1
    """2: both chroma samples of a place next to each other (NV12, P010)."""
    x0: int = 0
    """Where in the plane the first held sample lies."""
    y0: int = 0

    def texture(self, *, zero_beyond: bool = False) -> Texture:
        return Texture(
            pointer=self.pointer,
            pitch=self.pitch,
            width=self.width,
            height=self.height,
            dtype=self.dtype,
            channels=self.channels,
            zero_beyond=zero_beyond,
        )

    @property
    def itemsize(self) -> int:
        return np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePicture:
    """A picture whose planes lie in device memory.

    Planes are those of ``kernels.picture.PictureFormat``, or luma and one plane of chroma pairs.
    Where only parts are held, they must reach as far as is read; ``Roi`` s are still counted in the
    whole picture.
    """

    format: PictureFormat
    planes: tuple[DevicePlane, ...]
    shift: int = 0
    """Bits below a code in its sample: 6 of P010, else 0."""

    @classmethod
    def semi_planar(cls, fmt: PictureFormat, pointer: int, chroma: int, pitch: int) -> Self:
        """NV12 (8 bits) or P010 (10 bits in the high end of 16) as decoders and encoders have it.

        Args:
            fmt: 4:2:0 of 8 or 10 bits.
            pointer, chroma: of the first byte of luma and of chroma.
            pitch: bytes from row to row in both.
        """
        if (fmt.planes, fmt.sub_x, fmt.sub_y) != (3, 1, 1) or fmt.depth not in (8, 10):
            raise ValueError(f"{fmt} has no semi-planar form; wanted 4:2:0 of 8 or 10 bits")
        dtype = fmt.dtype.name
        height, width = fmt.plane_shape(1)
        return cls(
            format=fmt,
            planes=(
                DevicePlane(
                    pointer=pointer,
                    pitch=pitch,
                    width=fmt.width,
                    height=fmt.height,
                    dtype=dtype,
                ),
                DevicePlane(
                    pointer=chroma,
                    pitch=pitch,
                    width=width,
                    height=height,
                    dtype=dtype,
                    channels=2,
                ),
            ),
            shift=6 if fmt.depth == 10 else 0,
        )

    @property
    def interleaved(self) -> bool:
        return len(self.planes) == 2


def sides(box: Roi) -> tuple[int, int]:
    """(width, height) of a box."""
    return box.x1 - box.x0, box.y1 - box.y0
