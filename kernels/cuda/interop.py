"""Device memory as other libraries see it, and theirs as we see it: no copies.

The CUDA Array Interface, version 3: CuPy (``cupy.asarray``), torch (``torch.as_tensor``), CV-CUDA
(``cvcuda.as_tensor``) and Numba take objects that have it, and their arrays have it. Nothing is
imported here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

from kernels.cuda.device import DevicePlane

LEGACY: Final = 1
"""The stream that the interface calls 1: CUDA's legacy default stream. 2 is the per-thread one."""
VERSION: Final = 3


class Waits(Protocol):
    """A device's stream that can wait for another one (``CupyDevice``)."""

    @property
    def stream(self) -> int: ...

    def wait_for(self, stream: int) -> None:
        """What is asked of the device from now on is done after what is in that stream by now."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DeviceArray:
    """An array in device memory, with or without gaps."""

    pointer: int
    shape: tuple[int, ...]
    dtype: str
    strides: tuple[int, ...] | None = None
    """Bytes along each axis; None: no gaps, the last axis the fastest."""
    stream: int | None = None
    """Whoever takes it waits for this stream first; None: nothing needs to be waited for. Never 0,
    which could mean either default stream."""
    read_only: bool = False
    holder: object = None
    """Is kept alive, and with it the memory."""

    def __post_init__(self) -> None:
        if self.stream == 0:
            raise ValueError("stream 0; wanted None, 1, 2 or a stream's handle")
        if self.strides is not None and len(self.strides) != len(self.shape):
            raise ValueError(f"strides {self.strides} of {self.shape}; wanted one for each axis")

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        interface: dict[str, Any] = {
            "shape": self.shape,
            "typestr": np.dtype(self.dtype).str,
            "data": (self.pointer if math.prod(self.shape) else 0, self.read_only),
            "version": VERSION,
            "strides": self.strides,
            "stream": self.stream,
        }
        return interface

    def plane(self) -> DevicePlane:
        """[h, w] or [h, w, 2] for our kernels.

        Raises ValueError: another shape, or gaps between the samples of a row.
        """
        channels = self.shape[2] if len(self.shape) == 3 else 1
        itemsize = np.dtype(self.dtype).itemsize
        packed = [channels * itemsize, itemsize][: len(self.shape) - 1]
        steps = self.strides or _packed(self.shape, itemsize)
        if len(self.shape) not in (2, 3) or channels not in (1, 2) or list(steps[1:]) != packed:
            raise ValueError(
                f"an array {self.shape} with strides {steps}; wanted [h, w] or [h, w, 2] whose "
                "rows have no gaps"
            )
        return DevicePlane(
            pointer=self.pointer,
            pitch=steps[0],
            width=self.shape[1],
            height=self.shape[0],
            dtype=self.dtype,
            channels=channels,
        )


def offered(plane: DevicePlane, stream: int, holder: object) -> DeviceArray:
    """A plane for another library, [h, w] or [h, w, 2]; it waits for our stream.

    Args:
        stream: of the device that writes the plane.
        holder: of the memory.
    """
    pairs = (2,) if plane.channels == 2 else ()
    steps = (plane.pitch, plane.channels * plane.itemsize, *((plane.itemsize,) if pairs else ()))
    shape = (plane.height, plane.width, *pairs)
    return DeviceArray(
        pointer=plane.pointer,
        shape=shape,
        dtype=plane.dtype,
        strides=None if steps == _packed(shape, plane.itemsize) else steps,
        stream=stream,
        holder=holder,
    )


def taken(foreign: object, device: Waits) -> DeviceArray:
    """Another library's array; our device waits for the stream that it names.

    One of version 2 or earlier names none: then for the legacy default stream.

    Raises ValueError: not an array in device memory, or one with a mask.
    """
    interface = getattr(foreign, "__cuda_array_interface__", None)
    if interface is None:
        raise ValueError(
            f"{type(foreign).__name__} has no __cuda_array_interface__; wanted an array in device "
            "memory"
        )
    if interface.get("mask") is not None:
        raise ValueError("an array with a mask; wanted one without")
    stream = interface.get("stream") if interface["version"] >= VERSION else LEGACY
    strides, (pointer, read_only) = interface.get("strides"), interface["data"]
    array = DeviceArray(
        pointer=int(pointer or 0),
        shape=tuple(map(int, interface["shape"])),
        dtype=np.dtype(interface["typestr"]).name,
        strides=None if strides is None else tuple(map(int, strides)),
        stream=stream,
        read_only=bool(read_only),
        holder=foreign,
    )
    if stream is not None and stream != device.stream:
        device.wait_for(int(stream))
    return array


def _packed(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    return tuple(itemsize * math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
