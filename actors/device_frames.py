"""A frame whose pixels lie in a GPU's memory: what `Frame` is, with pointers for arrays.

What the CPU decides with (how many faces, where, whose) stays in host memory, as in `Frame`; the
planes and the crops lie on the device. Planes are those of the picture's format, or NV12 and P010,
which are all that NVDEC gives and NVENC takes through PyAV.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from actors.formats import pix_fmt_of
from actors.frames import ALIGNMENT, FrameHandle, SlotNotes
from actors.transport.cuda_driver import CudaDriver
from kernels.cuda.device import TEXTURE_BASE, TEXTURE_PITCH, DevicePicture, DevicePlane
from kernels.picture import PictureFormat

PITCH: Final = 256
"""Rows of planes begin on a multiple of this many bytes: what NVDEC, NVENC and textures like."""
assert PITCH % TEXTURE_PITCH == 0
assert TEXTURE_BASE == 2 * PITCH, "an even number of rows ends where a texture may begin"


def _up(nbytes: int, step: int) -> int:
    return -(-nbytes // step) * step


def has_semi_planar(fmt: PictureFormat) -> bool:
    """Whether a format can lie as NV12 or P010: 4:2:0 of 8 or 10 bits with even sides."""
    return (
        (fmt.planes, fmt.sub_x, fmt.sub_y) == (3, 1, 1)
        and fmt.depth in (8, 10)
        and fmt.matrix != "rgb"
        and fmt.width % 2 == fmt.height % 2 == 0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLayout:
    """Where things lie in a slot of ``nbytes`` bytes of device memory.

    All planes have one pitch. In NV12 and P010 chroma follows luma at once, for NVENC is told where
    luma is and finds chroma by itself. Every plane begins where a texture may.

    Raises:
        ValueError: ``semi_planar`` is asked for a format that has no such form.
    """

    format: PictureFormat
    faces: int
    """How many swapped crops fit; the most faces that any frame of the task has."""
    crop_size: int
    semi_planar: bool
    """NV12 or P010, else the planes of ``format``."""

    def __post_init__(self) -> None:
        if self.semi_planar and not has_semi_planar(self.format):
            raise ValueError(f"{self.format} has no form as NV12 or P010")

    @property
    def pitch(self) -> int:
        return _up(self.format.width * self.format.dtype.itemsize, PITCH)

    @property
    def planes(self) -> int:
        return 2 if self.semi_planar else self.format.planes

    def rows(self, plane: int) -> tuple[int, int]:
        """(rows, bytes of a row that count) of a plane."""
        height, width = self.format.plane_shape(plane)
        pairs = 2 if self.semi_planar and plane else 1
        return height, width * pairs * self.format.dtype.itemsize

    def plane_offset(self, plane: int) -> int:
        return sum(_up(self.rows(before)[0] * self.pitch, TEXTURE_BASE) for before in range(plane))

    @property
    def crops_offset(self) -> int:
        return self.plane_offset(self.planes)

    @property
    def originals_offset(self) -> int:
        return self.crops_offset + _up(self.faces * self.crop_size**2 * 4 * 4, TEXTURE_BASE)

    @property
    def nbytes(self) -> int:
        return self.originals_offset + _up(self.faces * self.crop_size**2 * 3 * 4, TEXTURE_BASE)

    @property
    def notes_nbytes(self) -> int:
        """Bytes of a slot's part in host memory."""
        return self.tracks_offset + _up(self.faces * 8, ALIGNMENT)

    @property
    def tracks_offset(self) -> int:
        return ALIGNMENT + _up(self.faces * 6 * 8, ALIGNMENT)

    @property
    def spans(self) -> tuple[tuple[int, int, int], ...]:
        """(offset, bytes of a row, rows) of the copies that move a whole picture: NV12 and P010 are
        one, since chroma follows luma and its rows are as long."""
        parts = [(self.plane_offset(each), *self.rows(each)) for each in range(self.planes)]
        if self.semi_planar:
            return ((0, parts[0][2], parts[0][1] + parts[1][1]),)
        return tuple((offset, row, rows) for offset, rows, row in parts)

    @property
    def pix_fmt(self) -> str:
        """FFmpeg's name of what the planes are."""
        if self.semi_planar:
            return "nv12" if self.format.depth == 8 else "p010le"
        return pix_fmt_of(self.format)

    def picture(self, pointer: int) -> DevicePicture:
        """The planes of a slot that begins at ``pointer``."""
        fmt = self.format
        if self.semi_planar:
            return DevicePicture.semi_planar(
                fmt, pointer, pointer + self.plane_offset(1), self.pitch
            )
        planes = []
        for number in range(self.planes):
            height, width = fmt.plane_shape(number)
            planes.append(
                DevicePlane(
                    pointer=pointer + self.plane_offset(number),
                    pitch=self.pitch,
                    width=width,
                    height=height,
                    dtype=fmt.dtype.name,
                )
            )
        return DevicePicture(format=fmt, planes=tuple(planes))


class DeviceFrame(SlotNotes):
    """One slot in device memory. Valid until the frame's credit goes back to the ring.

    A stage works on it in a stream of its own, and what it asks for is done later. So each stage,
    in whatever process, keeps this order:

    - the first: `await_free`, fill it, `mark_filled`, pass it on;
    - the others: `await_filled`, work on it, `mark_filled`, pass it on;
    - the last, which gives the slot back: `await_filled`, read it, `mark_free`.
    """

    __slots__ = ("_driver", "_filled", "_free", "crops", "layout", "originals", "picture")

    def __init__(
        self,
        handle: FrameHandle,
        layout: DeviceLayout,
        notes: memoryview,
        pointer: int,
        driver: CudaDriver,
        filled: int,
        free: int,
    ) -> None:
        super().__init__(
            handle,
            notes,
            faces=layout.faces,
            count_offset=0,
            affines_offset=ALIGNMENT,
            tracks_offset=layout.tracks_offset,
        )
        self._driver, self._filled, self._free = driver, filled, free
        self.layout = layout
        self.picture = layout.picture(pointer)
        self.crops = pointer + layout.crops_offset
        """Of float32 [faces, size, size, 4] on the device: as `Frame.crops`."""
        self.originals = pointer + layout.originals_offset
        """Of float32 [faces, size, size, 3] on the device: as `Frame.originals`."""

    def await_free(self, stream: int) -> None:
        """What is asked of ``stream`` from now on waits for the slot's last reader."""
        self._driver.wait(self._free, stream)

    def mark_filled(self, stream: int) -> None:
        """What was asked of ``stream`` until now belongs to the frame."""
        self._driver.record(self._filled, stream)

    def await_filled(self, stream: int) -> None:
        """What is asked of ``stream`` from now on waits for what belongs to the frame."""
        self._driver.wait(self._filled, stream)

    def mark_free(self, stream: int) -> None:
        """Once what was asked of ``stream`` until now is done, the slot may be filled anew."""
        self._driver.record(self._free, stream)
