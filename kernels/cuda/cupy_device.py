"""``kernels.cuda.device.Device`` on a real GPU, by CuPy. Nothing here has run on hardware yet.

CuPy is imported when a device is opened, so that this module can be imported anywhere.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kernels.cuda.device import TEXTURE_BASE, TEXTURE_PITCH, Texture
from kernels.cuda.launcher import ROW
from kernels.cuda.modules import machine_code
from kernels.cuda.signatures import SIGNATURES, Argument

TEXTURES: Final = 1024
"""Texture objects that are kept; far more than are in use at any time."""


class NoGpuError(RuntimeError):
    """CuPy is not installed, or it finds no GPU or no driver."""


class CupyDevice:
    """One GPU and one stream of its own.

    Args:
        cache_folder: for machine code of GPUs that none was shipped for.
        number: of the GPU among those that are visible.
    Raises:
        NoGpuError: no CuPy, no driver or no such GPU.
        NvrtcError: machine code must be made, and cannot.
    """

    def __init__(self, cache_folder: Path, number: int = 0) -> None:
        try:
            import cupy
        except (ImportError, OSError) as error:
            raise NoGpuError(
                f"CuPy cannot be imported: {error}. Next: install cupy-cuda13x or cupy-cuda12x, "
                "as the driver is new or old"
            ) from error
        self._cupy: Any = cupy
        try:
            self._device = cupy.cuda.Device(number)
            capability = int(self._device.compute_capability)
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise NoGpuError(
                f"GPU {number} cannot be used: {error}. Next: see what nvidia-smi says"
            ) from error
        with self._device:
            self._stream = cupy.cuda.Stream(non_blocking=True)
            self._module = cupy.cuda.function.Module()
            try:
                self._module.load(machine_code(capability, cache_folder))
            except cupy.cuda.driver.CUDADriverError:
                # A driver that is older than the compiler of what was shipped.
                self._module.load(machine_code(capability, cache_folder, shipped=None))
            self._functions = {name: self._module.get_function(name) for name in SIGNATURES}
        self._textures: dict[Texture, Any] = {}

    @property
    def stream(self) -> int:
        """The driver's handle of the stream."""
        return int(self._stream.ptr)

    @property
    def context(self) -> int:
        """The driver's handle of the GPU's primary context."""
        with self._device:
            return int(self._cupy.cuda.driver.ctxGetCurrent())

    def wait_for(self, stream: int) -> None:
        """What is asked from now on is done after what is in another stream by now.

        Args:
            stream: a handle; 1 and 2 are the legacy and the per-thread default stream.
        """
        cuda = self._cupy.cuda
        with self._device:
            event = cuda.Event(disable_timing=True)
            event.record(cuda.ExternalStream(stream, self._device.id))
            self._stream.wait_event(event)

    def reserve(self, nbytes: int) -> CupyMemory:
        with self._device, self._stream:
            # A texture's last row is as wide as the others to the driver.
            whole = -(-(nbytes + ROW) // TEXTURE_BASE) * TEXTURE_BASE
            return CupyMemory(self._cupy.cuda.alloc(whole), nbytes)

    def write(self, pointer: int, pitch: int, rows: NDArray[Any]) -> None:
        source = _with_whole_rows(rows)
        # From memory that is not pinned: what it takes, it has taken when the call returns.
        self._copy(pointer, pitch, source.ctypes.data, _stride(source), source, to_device=True)

    def read(self, pointer: int, pitch: int, rows: NDArray[Any]) -> None:
        self._copy(rows.ctypes.data, _stride(rows), pointer, pitch, rows, to_device=False)
        with self._device:
            self._stream.synchronize()

    def texture(self, texture: Texture) -> int:
        if texture.pointer % TEXTURE_BASE or texture.pitch % TEXTURE_PITCH:
            raise ValueError(
                f"texture at {texture.pointer:#x} with rows of {texture.pitch} bytes; wanted "
                f"multiples of {TEXTURE_BASE} and {TEXTURE_PITCH}"
            )
        if texture not in self._textures:
            if len(self._textures) >= TEXTURES:
                with self._device:
                    self._stream.synchronize()
                self._textures.clear()
            self._textures[texture] = self._make_texture(texture)
        return int(self._textures[texture].ptr)

    def launch(
        self,
        kernel: str,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        arguments: Sequence[Argument],
    ) -> None:
        places = (ctypes.c_void_p * len(arguments))(*map(ctypes.addressof, arguments))
        with self._device:
            self._cupy.cuda.driver.launchKernel(
                *(self._functions[kernel].ptr, *grid, *block),
                *(0, self._stream.ptr, ctypes.addressof(places), 0),
            )

    def mark(self) -> Any:
        """An event behind all that was asked so far."""
        with self._device:
            event = self._cupy.cuda.Event()
            event.record(self._stream)
        return event

    def between(self, one: Any, other: Any) -> float | None:
        """Milliseconds from a mark to a later one; None: the GPU has not come so far."""
        with self._device:
            if not other.done:
                return None
            return float(self._cupy.cuda.get_elapsed_time(one, other))

    def wait(self) -> None:
        """Until all that was asked is done."""
        with self._device:
            self._stream.synchronize()

    def _make_texture(self, texture: Texture) -> Any:
        with self._device:
            described = describe(self._cupy, texture, self._device.id)
            return self._cupy.cuda.texture.TextureObject(*described)

    def _copy(
        self, to: int, to_pitch: int, source: int, pitch: int, rows: NDArray[Any], to_device: bool
    ) -> None:
        runtime = self._cupy.cuda.runtime
        kind = runtime.memcpyHostToDevice if to_device else runtime.memcpyDeviceToHost
        row = rows[0].nbytes if len(rows) else 0
        if not row:
            return
        with self._device:
            if len(rows) == 1:
                # Pitches of a copy in two dimensions are limited; here they mean nothing.
                runtime.memcpyAsync(to, source, row, kind, self._stream.ptr)
            else:
                runtime.memcpy2DAsync(
                    to, to_pitch, source, pitch, row, len(rows), kind, self._stream.ptr
                )


class CupyMemory:
    """Memory of CuPy's pool, given back when nobody holds it any more."""

    def __init__(self, held: Any, nbytes: int) -> None:
        self._held = held
        self.nbytes = nbytes

    @property
    def pointer(self) -> int:
        return int(self._held.ptr)


def describe(cupy: Any, texture: Texture, number: int) -> tuple[Any, Any]:
    """CuPy's descriptions of a texture: what it is, and how it is read."""
    runtime, kinds = cupy.cuda.runtime, cupy.cuda.texture
    bits = 8 * np.dtype(texture.dtype).itemsize
    floats = texture.dtype == "float32"
    channel = kinds.ChannelFormatDescriptor(
        *(bits if place < texture.channels else 0 for place in range(4)),
        runtime.cudaChannelFormatKindFloat if floats else runtime.cudaChannelFormatKindUnsigned,
    )
    nbytes = texture.pitch * texture.height
    memory = cupy.cuda.UnownedMemory(texture.pointer, nbytes, None, number)
    array = cupy.ndarray(
        (texture.height, texture.pitch), "uint8", memptr=cupy.cuda.MemoryPointer(memory, 0)
    )
    resource = kinds.ResourceDescriptor(
        runtime.cudaResourceTypePitch2D,
        arr=array,
        chDesc=channel,
        width=texture.width,
        height=texture.height,
        pitchInBytes=texture.pitch,
    )
    beyond = runtime.cudaAddressModeBorder if texture.zero_beyond else runtime.cudaAddressModeClamp
    descriptor = kinds.TextureDescriptor(
        (beyond, beyond),
        runtime.cudaFilterModePoint,
        runtime.cudaReadModeElementType,
        borderColors=(0.0, 0.0, 0.0, 0.0),
        normalizedCoords=0,
    )
    return resource, descriptor


def _with_whole_rows(rows: NDArray[Any]) -> NDArray[Any]:
    """The same array if each of its rows lies in one piece, one after the other."""
    if len(rows) and rows[0].flags.c_contiguous and (len(rows) == 1 or rows.strides[0] > 0):
        return rows
    return np.ascontiguousarray(rows)


def _stride(rows: NDArray[Any]) -> int:
    row = rows[0].nbytes if len(rows) else 0
    return max(row, rows.strides[0])
