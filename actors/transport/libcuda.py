"""``CudaDriver`` on a real GPU: the driver's own library, by ctypes. Not yet run on hardware.

The driver's library is wherever a driver is, and the same for CUDA 12 and 13. CuPy, TensorRT and
FFmpeg meet it in the device's primary context, so its pointers, streams and events are theirs.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from ctypes import POINTER, c_char_p, c_int, c_size_t, c_uint, c_uint64, c_void_p
from typing import Any, Final
from uuid import UUID

from actors.transport.cuda_driver import HANDLE_NBYTES, Direction
from scheduler.errors import GpuFailed, GpuUnavailable, LaneOutOfMemory

LIBRARY: Final = "libcuda.so.1"

_OUT_OF_MEMORY: Final = 2
_BLOCKING_SYNC: Final = 0x4
_NON_BLOCKING: Final = 0x1
_UNTIMED_INTERPROCESS: Final = 0x2 | 0x4
_LAZY_PEER_ACCESS: Final = 0x1
_HOST, _DEVICE = 1, 2


class IpcHandle(ctypes.Structure):
    """CUipcMemHandle and CUipcEventHandle; passed by value."""

    _fields_ = (("reserved", ctypes.c_ubyte * HANDLE_NBYTES),)


class Copy2D(ctypes.Structure):
    """CUDA_MEMCPY2D."""

    _fields_ = (
        ("src_x", c_size_t),
        ("src_y", c_size_t),
        ("src_type", c_uint),
        ("src_host", c_void_p),
        ("src_device", c_uint64),
        ("src_array", c_void_p),
        ("src_pitch", c_size_t),
        ("dst_x", c_size_t),
        ("dst_y", c_size_t),
        ("dst_type", c_uint),
        ("dst_host", c_void_p),
        ("dst_device", c_uint64),
        ("dst_array", c_void_p),
        ("dst_pitch", c_size_t),
        ("width", c_size_t),
        ("height", c_size_t),
    )


FUNCTIONS: Final[dict[str, tuple[Any, ...]]] = {
    "cuInit": (c_uint,),
    "cuGetErrorName": (c_int, POINTER(c_char_p)),
    "cuDeviceGetCount": (POINTER(c_int),),
    "cuDeviceGet": (POINTER(c_int), c_int),
    "cuDeviceGetUuid_v2": (c_void_p, c_int),
    "cuDevicePrimaryCtxSetFlags_v2": (c_int, c_uint),
    "cuDevicePrimaryCtxRetain": (POINTER(c_void_p), c_int),
    "cuCtxSetCurrent": (c_void_p,),
    "cuCtxSynchronize": (),
    "cuMemAlloc_v2": (POINTER(c_uint64), c_size_t),
    "cuMemFree_v2": (c_uint64,),
    "cuMemGetAddressRange_v2": (POINTER(c_uint64), POINTER(c_size_t), c_uint64),
    "cuMemHostAlloc": (POINTER(c_void_p), c_size_t, c_uint),
    "cuMemFreeHost": (c_void_p,),
    "cuMemcpy2DAsync_v2": (POINTER(Copy2D), c_void_p),
    "cuIpcGetMemHandle": (POINTER(IpcHandle), c_uint64),
    "cuIpcOpenMemHandle_v2": (POINTER(c_uint64), IpcHandle, c_uint),
    "cuIpcCloseMemHandle": (c_uint64,),
    "cuIpcGetEventHandle": (POINTER(IpcHandle), c_void_p),
    "cuIpcOpenEventHandle": (POINTER(c_void_p), IpcHandle),
    "cuEventCreate": (POINTER(c_void_p), c_uint),
    "cuEventRecord": (c_void_p, c_void_p),
    "cuEventDestroy_v2": (c_void_p,),
    "cuStreamWaitEvent": (c_void_p, c_void_p, c_uint),
    "cuStreamCreate": (POINTER(c_void_p), c_uint),
    "cuStreamSynchronize": (c_void_p,),
}
"""What is called, and with what; each gives a CUresult."""


class LibCuda:
    """``CudaDriver`` of one GPU.

    Make it before anything else in the process touches the GPU: FFmpeg decodes into the primary
    context only if that was made with blocking synchronisation, and nobody else asks for this.

    Args:
        device: the GPU's UUID, as ``nvidia-smi -L`` names it (or a MIG slice's), or its number
            among those that this process sees.
        library: the driver's.

    Raises:
        GpuUnavailable: no driver, no GPU, or none of that UUID that this process sees.
    """

    def __init__(self, device: str | int = 0, library: str = LIBRARY) -> None:
        try:
            cuda = ctypes.CDLL(library)
        except OSError as error:
            raise _unavailable(f"there is no NVIDIA driver on this machine ({error})") from error
        self._functions = {name: getattr(cuda, name) for name in FUNCTIONS}
        for name, kinds in FUNCTIONS.items():
            self._functions[name].argtypes, self._functions[name].restype = kinds, c_int
        self._current = threading.local()
        status = self._functions["cuInit"](0)
        if status:
            raise _unavailable(f"the NVIDIA driver does not start ({self._name(status)})")
        self._context: int | None = None
        self._number, handle, self.uuid = self._find(device)
        self._ask("cuDevicePrimaryCtxSetFlags_v2", handle, _BLOCKING_SYNC)
        context = c_void_p()
        self._ask("cuDevicePrimaryCtxRetain", ctypes.byref(context), handle)
        self._context = context.value

    @property
    def dlpack_device(self) -> tuple[int, int]:
        return 2, self._number

    @property
    def context(self) -> int:
        return self._context or 0

    def malloc(self, nbytes: int) -> int:
        pointer = c_uint64()
        self._ask("cuMemAlloc_v2", ctypes.byref(pointer), nbytes)
        return pointer.value

    def free(self, pointer: int) -> None:
        self._ask("cuMemFree_v2", pointer)

    def mem_handle(self, pointer: int) -> bytes:
        base, nbytes = c_uint64(), c_size_t()
        self._ask("cuMemGetAddressRange_v2", ctypes.byref(base), ctypes.byref(nbytes), pointer)
        if base.value != pointer:
            # The other process would get the base, not this.
            raise GpuFailed(
                f"a handle is asked for memory at {pointer:#x} in an allocation at {base.value:#x}",
                "where an allocation begins",
                "report this",
            )
        handle = IpcHandle()
        self._ask("cuIpcGetMemHandle", ctypes.byref(handle), pointer)
        return bytes(handle.reserved)

    def open_mem_handle(self, handle: bytes) -> int:
        pointer = c_uint64()
        opened = IpcHandle.from_buffer_copy(handle)
        self._ask("cuIpcOpenMemHandle_v2", ctypes.byref(pointer), opened, _LAZY_PEER_ACCESS)
        return pointer.value

    def close_mem_handle(self, pointer: int) -> None:
        self._ask("cuIpcCloseMemHandle", pointer)

    def create_event(self) -> int:
        event = c_void_p()
        self._ask("cuEventCreate", ctypes.byref(event), _UNTIMED_INTERPROCESS)
        return event.value or 0

    def event_handle(self, event: int) -> bytes:
        handle = IpcHandle()
        self._ask("cuIpcGetEventHandle", ctypes.byref(handle), event)
        return bytes(handle.reserved)

    def open_event(self, handle: bytes) -> int:
        event = c_void_p()
        opened = IpcHandle.from_buffer_copy(handle)
        self._ask("cuIpcOpenEventHandle", ctypes.byref(event), opened)
        return event.value or 0

    def destroy_event(self, event: int) -> None:
        self._ask("cuEventDestroy_v2", event)

    def record(self, event: int, stream: int) -> None:
        self._ask("cuEventRecord", event, stream)

    def wait(self, event: int, stream: int) -> None:
        self._ask("cuStreamWaitEvent", stream, event, 0)

    def create_stream(self) -> int:
        stream = c_void_p()
        self._ask("cuStreamCreate", ctypes.byref(stream), _NON_BLOCKING)
        return stream.value or 0

    def synchronize(self, stream: int | None = None) -> None:
        if stream is None:
            self._ask("cuCtxSynchronize")
        else:
            self._ask("cuStreamSynchronize", stream)

    def host_memory(self, nbytes: int) -> memoryview:
        place = c_void_p()
        self._ask("cuMemHostAlloc", ctypes.byref(place), nbytes, 0)
        assert place.value is not None
        array = (ctypes.c_ubyte * nbytes).from_address(place.value)
        weakref.finalize(array, self._functions["cuMemFreeHost"], place.value).atexit = False
        return memoryview(array).cast("B")

    def copy(
        self,
        to: int,
        to_pitch: int,
        source: int,
        pitch: int,
        row: int,
        rows: int,
        direction: Direction,
        stream: int,
    ) -> None:
        what = Copy2D(src_pitch=pitch, dst_pitch=to_pitch, width=row, height=rows)
        if direction == "up":
            what.src_type, what.src_host = _HOST, source
        else:
            what.src_type, what.src_device = _DEVICE, source
        if direction == "down":
            what.dst_type, what.dst_host = _HOST, to
        else:
            what.dst_type, what.dst_device = _DEVICE, to
        self._ask("cuMemcpy2DAsync_v2", ctypes.byref(what), stream)

    def _ask(self, name: str, *values: Any) -> None:
        if self._context is not None and not getattr(self._current, "set", False):
            # FFmpeg and CuPy leave a thread's context as they found it, so once is enough.
            self._current.set = True
            self._ask("cuCtxSetCurrent", self._context)
        status = self._functions[name](*values)
        if status == _OUT_OF_MEMORY:
            raise LaneOutOfMemory(
                f"{name}: the memory of GPU {self.uuid} ran out",
                "memory for what the lane holds",
                "use fewer lanes a GPU or fewer slots a lane; nvidia-smi says who else is there",
            )
        if status:
            raise GpuFailed(
                f"{name} gave {self._name(status)}",
                "CUDA_SUCCESS",
                "it is tried again; if it comes back, look at nvidia-smi and dmesg",
            )

    def _find(self, device: str | int) -> tuple[int, int, str]:
        """(number, handle, UUID) of the GPU."""
        count = c_int()
        self._ask("cuDeviceGetCount", ctypes.byref(count))
        seen: list[tuple[int, int, str]] = []
        for number in range(count.value):
            handle, raw = c_int(), (ctypes.c_ubyte * 16)()
            self._ask("cuDeviceGet", ctypes.byref(handle), number)
            self._ask("cuDeviceGetUuid_v2", ctypes.byref(raw), handle.value)
            seen.append((number, handle.value, str(UUID(bytes=bytes(raw)))))
        wanted = plain_uuid(device) if isinstance(device, str) else device
        for found in seen:
            if wanted in (found[0], found[2]):
                return found
        names = ", ".join(uuid for _, _, uuid in seen)
        raise _unavailable(f"GPU {device} is not among those that are seen ({names or 'none'})")

    def _name(self, status: int) -> str:
        text = c_char_p()
        self._functions["cuGetErrorName"](status, ctypes.byref(text))
        return text.value.decode() if text.value else f"CUresult {status}"


def plain_uuid(uuid: str) -> str:
    """A device's UUID without what it begins with: nvidia-smi says "GPU-" or "MIG-"."""
    return uuid.removeprefix("GPU-").removeprefix("MIG-").lower()


def _unavailable(found: str) -> GpuUnavailable:
    return GpuUnavailable(
        found,
        "an NVIDIA GPU that this process sees, and its driver",
        "see what nvidia-smi -L says, or work on the CPU",
    )
