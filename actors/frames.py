"""A frame's place in a ring and the views that the stages of a lane share.

A slot holds one decoded picture and room for the swapped crops of its faces. The decoder writes
the planes, the swapper the crops, the compositor patches the planes in place and the encoder
reads them: there is no full-frame copy in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from kernels.picture import Picture, PictureFormat, Plane

ALIGNMENT = 64


def _aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameHandle:
    """A picklable name of a frame in a ring elsewhere; a few bytes, never pixels."""

    slot: int
    generation: int
    """Counts how often the slot was filled: a handle with an old generation is stale."""
    frame_index: int
    """0-based presentation order in the film."""
    pts: int
    """In units of the film's time base."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotLayout:
    """Where things lie in a slot of ``nbytes`` bytes."""

    format: PictureFormat
    faces: int
    """How many swapped crops fit; the most faces that any frame of the task has."""
    crop_size: int

    def plane_offset(self, plane: int) -> int:
        offset = 0
        for before in range(plane):
            h, w = self.format.plane_shape(before)
            offset += _aligned(h * w * self.format.dtype.itemsize)
        return offset

    @property
    def count_offset(self) -> int:
        return self.plane_offset(self.format.planes)

    @property
    def affines_offset(self) -> int:
        return self.count_offset + ALIGNMENT

    @property
    def tracks_offset(self) -> int:
        return self.affines_offset + _aligned(self.faces * 6 * 8)

    @property
    def crops_offset(self) -> int:
        return self.tracks_offset + _aligned(self.faces * 8)

    @property
    def originals_offset(self) -> int:
        return self.crops_offset + _aligned(self.faces * self.crop_size**2 * 4 * 4)

    @property
    def nbytes(self) -> int:
        return self.originals_offset + _aligned(self.faces * self.crop_size**2 * 3 * 4)


class SlotNotes:
    """What is known of the faces in a slot: a few numbers in host memory that all processes of the
    lane share, wherever its pixels lie."""

    __slots__ = ("_count", "affines", "handle", "tracks")

    def __init__(
        self,
        handle: FrameHandle,
        memory: memoryview,
        *,
        faces: int,
        count_offset: int,
        affines_offset: int,
        tracks_offset: int,
    ) -> None:
        self.handle = handle
        self._count = np.frombuffer(memory, np.int64, 1, count_offset)
        self.affines: NDArray[np.float64] = np.frombuffer(
            memory, np.float64, faces * 6, affines_offset
        ).reshape(faces, 2, 3)
        """[faces, 2, 3] frame -> crop of each swapped face; the first ``faces`` rows count."""
        self.tracks: NDArray[np.int64] = np.frombuffer(memory, np.int64, faces, tracks_offset)
        """[faces] number over the film of each swapped face's track; the first ``faces`` count."""

    @property
    def faces(self) -> int:
        """How many swapped faces the slot holds now."""
        return int(self._count[0])

    @faces.setter
    def faces(self, count: int) -> None:
        if not 0 <= count <= len(self.affines):
            raise ValueError(f"{count} faces for a slot with room for {len(self.affines)}")
        self._count[0] = count


class Frame(SlotNotes):
    """Views into one slot. Valid until the frame's credit goes back to the ring."""

    __slots__ = ("crops", "originals", "picture")

    def __init__(self, handle: FrameHandle, layout: SlotLayout, memory: memoryview) -> None:
        super().__init__(
            handle,
            memory,
            faces=layout.faces,
            count_offset=layout.count_offset,
            affines_offset=layout.affines_offset,
            tracks_offset=layout.tracks_offset,
        )
        fmt = layout.format
        planes: list[Plane] = []
        for plane in range(fmt.planes):
            h, w = fmt.plane_shape(plane)
            samples = np.frombuffer(memory, fmt.dtype, h * w, layout.plane_offset(plane))
            planes.append(cast(Plane, samples.reshape(h, w)))
        self.picture = Picture(format=fmt, planes=tuple(planes))
        size = layout.crop_size
        self.crops: NDArray[np.float32] = np.frombuffer(
            memory, np.float32, layout.faces * size * size * 4, layout.crops_offset
        ).reshape(layout.faces, size, size, 4)
        """[faces, size, size, 4] swapped R'G'B' in 0..1 (the stream's transfer) and the mask."""
        self.originals: NDArray[np.float32] = np.frombuffer(
            memory, np.float32, layout.faces * size * size * 3, layout.originals_offset
        ).reshape(layout.faces, size, size, 3)
        """[faces, size, size, 3] R'G'B' as ``Kernels.crop`` cut it for the swapper: nobody after it
        samples the planes again for the same picture."""
