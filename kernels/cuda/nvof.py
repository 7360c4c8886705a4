"""Dense flow by the engine that NVIDIA's chips have for it (Turing and later, without a copy).

NVIDIA's Optical Flow interface, version 2.0, through the driver's ``libnvidia-opticalflow.so.1``.
**Nothing here has run on hardware yet**, so nothing uses it by itself: who wants it, gives an
`EngineFlow` where a ``DeviceFlow`` is taken. Names and order of fields are those of the published
headers (nvOpticalFlowCommon.h, nvOpticalFlowCuda.h): nothing in them is padded.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import c_int, c_uint32, c_uint64, c_void_p
from types import TracebackType
from typing import Any, Final, Literal, Self

from kernels.cuda.dense_flow import check_pair
from kernels.cuda.device import DevicePlane
from kernels.cuda.launcher import Launcher
from kernels.cuda.steps import SmallPicture

LIBRARY: Final = "libnvidia-opticalflow.so.1"
VERSION: Final = 2 << 4
"""2.0: the major number in the upper bits, the minor one in the lower four."""
FIXED: Final = 32
"""Vectors are in so many parts of a pixel (S10.5)."""
GRIDS: Final = (1, 2, 4)
"""Pixels, along each axis, that a vector is for."""
SIDE: Final = 64
"""Sessions are of multiples of this many pixels, so that a few of them serve all faces."""
SESSIONS: Final = 4

Grid = Literal[1, 2, 4]
Level = Literal["slow", "medium", "fast"]

_FLOW_MODE: Final = 1
_LEVELS: Final = {"slow": 5, "medium": 10, "fast": 20}
_INPUT, _OUTPUT, _COST = 1, 2, 4
_GRAY8, _SHORT2, _UINT8 = 1, 5, 7
_CUDEVICEPTR: Final = 2
_MESSAGE: Final = 80
_STATUSES: Final = (
    *("success", "no optical flow engine", "device not supported", "device is gone"),
    *("invalid pointer", "invalid parameter", "invalid call", "invalid version"),
    *("out of memory", "not initialized", "unsupported feature", "generic error"),
)
_CAPS: Final = {"grids": 0, "least_width": 4, "least_height": 5, "most_width": 6, "most_height": 7}


class OpticalFlowError(RuntimeError):
    """No library, no engine, or one of its calls failed."""


class FlowVector(ctypes.Structure):
    """NV_OF_FLOW_VECTOR."""

    _fields_ = (("flowx", ctypes.c_int16), ("flowy", ctypes.c_int16))


class InitParams(ctypes.Structure):
    """NV_OF_INIT_PARAMS."""

    _fields_ = (
        *((name, c_uint32) for name in ("width", "height", "outGridSize", "hintGridSize", "mode")),
        *((name, c_uint32) for name in ("perfLevel", "enableExternalHints", "enableOutputCost")),
        ("hPrivData", c_void_p),
        ("disparityRange", c_uint32),
        ("enableRoi", c_uint32),
    )


class BufferDescriptor(ctypes.Structure):
    """NV_OF_BUFFER_DESCRIPTOR."""

    _fields_ = tuple(
        (name, c_uint32) for name in ("width", "height", "bufferUsage", "bufferFormat")
    )


class ExecuteInput(ctypes.Structure):
    """NV_OF_EXECUTE_INPUT_PARAMS."""

    _fields_ = (
        *((name, c_void_p) for name in ("inputFrame", "referenceFrame", "externalHints")),
        ("disableTemporalHints", c_uint32),
        ("padding", c_uint32),
        ("hPrivData", c_void_p),
        ("padding2", c_uint32),
        ("numRois", c_uint32),
        ("roiData", c_void_p),
    )


class ExecuteOutput(ctypes.Structure):
    """NV_OF_EXECUTE_OUTPUT_PARAMS."""

    _fields_ = tuple((name, c_void_p) for name in ("outputBuffer", "outputCostBuffer", "hPrivData"))


class Stride(ctypes.Structure):
    """NV_OF_BUFFER_STRIDE."""

    _fields_ = (("strideXInBytes", c_uint32), ("strideYInBytes", c_uint32))


class StrideInfo(ctypes.Structure):
    """NV_OF_CUDA_BUFFER_STRIDE_INFO."""

    _fields_ = (("strideInfo", Stride * 3), ("numPlanes", c_uint32))


_FUNCTIONS: Final[dict[str, tuple[Any, ...]]] = {
    "nvCreateOpticalFlowCuda": (c_int, c_void_p, ctypes.POINTER(c_void_p)),
    "nvOFInit": (c_int, c_void_p, ctypes.POINTER(InitParams)),
    "nvOFCreateGPUBufferCuda": (
        *(c_int, c_void_p, ctypes.POINTER(BufferDescriptor), c_int, ctypes.POINTER(c_void_p)),
    ),
    "nvOFGPUBufferGetCUarray": (c_void_p, c_void_p),
    "nvOFGPUBufferGetCUdeviceptr": (c_uint64, c_void_p),
    "nvOFGPUBufferGetStrideInfo": (c_int, c_void_p, ctypes.POINTER(StrideInfo)),
    "nvOFSetIOCudaStreams": (c_int, c_void_p, c_void_p, c_void_p),
    "nvOFExecute": (
        *(c_int, c_void_p, ctypes.POINTER(ExecuteInput), ctypes.POINTER(ExecuteOutput)),
    ),
    "nvOFDestroyGPUBufferCuda": (c_int, c_void_p),
    "nvOFDestroy": (c_int, c_void_p),
    "nvOFGetLastError": (c_int, c_void_p, ctypes.c_char_p, ctypes.POINTER(c_uint32)),
    "nvOFGetCaps": (*(c_int, c_void_p, c_int, ctypes.POINTER(c_uint32), ctypes.POINTER(c_uint32)),),
}
"""Of each function, in the order of NV_OF_CUDA_API_FUNCTION_LIST: what it gives and takes."""


class FunctionList(ctypes.Structure):
    """NV_OF_CUDA_API_FUNCTION_LIST."""

    _fields_ = tuple((name, c_void_p) for name in _FUNCTIONS)


class Engine:
    """The library's functions; each status is looked at.

    Args:
        library: name or path.
    Raises OpticalFlowError: it is not there, is older than 2.0, or gives no functions.
    """

    def __init__(self, library: str = LIBRARY) -> None:
        try:
            self._library = ctypes.CDLL(library)
            newest, create = (
                getattr(self._library, name)
                for name in ("NvOFGetMaxSupportedApiVersion", "NvOFAPICreateInstanceCuda")
            )
        except (OSError, AttributeError) as error:
            raise OpticalFlowError(
                f"{library} cannot be used: {error}. Next: install the NVIDIA driver with its "
                "optical flow library, in a container with NVIDIA_DRIVER_CAPABILITIES=all; or "
                "use the CUDA kernels' flow"
            ) from error
        version, functions = c_uint32(), FunctionList()
        _checked("NvOFGetMaxSupportedApiVersion", newest(ctypes.byref(version)))
        if version.value < VERSION:
            raise OpticalFlowError(
                f"{library} knows version {version.value >> 4}.{version.value & 15} at most; "
                f"wanted {VERSION >> 4}.{VERSION & 15}. Next: install a newer NVIDIA driver"
            )
        _checked("NvOFAPICreateInstanceCuda", create(c_uint32(VERSION), ctypes.byref(functions)))
        self._calls: dict[str, Callable[..., Any]] = {}
        for name, kinds in _FUNCTIONS.items():
            address = getattr(functions, name)
            if not address:
                raise OpticalFlowError(f"{library} gives no {name}. Next: another NVIDIA driver")
            self._calls[name] = ctypes.CFUNCTYPE(*kinds)(address)

    def value(self, name: str, *arguments: Any) -> int:
        """What a function gives that gives no status.

        Raises OpticalFlowError: nothing.
        """
        found = self._calls[name](*arguments)
        if not found:
            raise OpticalFlowError(f"{name} gave nothing")
        return int(found)

    def call(self, session: c_void_p | None, name: str, *arguments: Any) -> None:
        """Call a function of a session, or of none.

        Raises OpticalFlowError: its status is not success.
        """
        status = int(self._calls[name](*arguments))
        said = ""
        if status and session is not None:
            text, length = ctypes.create_string_buffer(_MESSAGE), c_uint32(_MESSAGE)
            if self._calls["nvOFGetLastError"](session, text, ctypes.byref(length)) == 0:
                said = text.value.decode(errors="replace")
        _checked(name, status, said)


class _Session:
    """The engine for pictures of one size.

    What was made is given back when a later step fails.
    """

    def __init__(
        self,
        engine: Engine,
        size: tuple[int, int],
        grid: int,
        level: Level,
        context: int,
        stream: int,
        cost: bool,
    ) -> None:
        self._engine, self.size, self.grid = engine, size, grid
        self._handle = c_void_p()
        engine.call(
            None, "nvCreateOpticalFlowCuda", c_void_p(context or None), ctypes.byref(self._handle)
        )
        self._buffers: list[c_void_p] = []
        try:
            self._check_size()
            width, height = size
            params = InitParams(
                width=width,
                height=height,
                outGridSize=grid,
                mode=_FLOW_MODE,
                perfLevel=_LEVELS[level],
                enableOutputCost=int(cost),
            )
            self._call("nvOFInit", ctypes.byref(params))
            self._call("nvOFSetIOCudaStreams", c_void_p(stream), c_void_p(stream))
            cells = width // grid, height // grid
            self.now = self._buffer(size, _INPUT, _GRAY8)
            self.before = self._buffer(size, _INPUT, _GRAY8)
            self.out = self._buffer(cells, _OUTPUT, _SHORT2)
            self.cost = self._buffer(cells, _COST, _UINT8) if cost else None
        except BaseException:
            self.close()
            raise

    def run(self) -> None:
        """From what lies in ``now`` and ``before`` to ``out`` and ``cost``, on the stream."""
        # Without hints from calls before: a flow depends on its two pictures only.
        given = ExecuteInput(
            inputFrame=self._buffers[0], referenceFrame=self._buffers[1], disableTemporalHints=1
        )
        wanted = ExecuteOutput(
            outputBuffer=self._buffers[2],
            outputCostBuffer=self._buffers[3] if self.cost is not None else None,
        )
        self._call("nvOFExecute", ctypes.byref(given), ctypes.byref(wanted))

    def close(self) -> None:
        """Give all back; what fails is told when the rest has been given back."""
        failed: OpticalFlowError | None = None
        while self._buffers:
            try:
                self._engine.call(None, "nvOFDestroyGPUBufferCuda", self._buffers.pop())
            except OpticalFlowError as error:
                failed = error
        if self._handle:
            handle, self._handle = self._handle, c_void_p()
            self._engine.call(None, "nvOFDestroy", handle)
        if failed is not None:
            raise failed

    def caps(self, what: str) -> list[int]:
        """What the engine can, by a name of ``_CAPS``."""
        count = c_uint32()
        self._call("nvOFGetCaps", _CAPS[what], None, ctypes.byref(count))
        values = (c_uint32 * max(1, count.value))()
        self._call("nvOFGetCaps", _CAPS[what], values, ctypes.byref(count))
        return list(values[: count.value])

    def _check_size(self) -> None:
        grids = self.caps("grids")
        if self.grid not in grids:
            raise OpticalFlowError(
                f"this engine has no vectors for {self.grid} x {self.grid} pixels; it has "
                f"{', '.join(map(str, grids))}. Next: choose one of these"
            )
        for side, name in zip(self.size, ("width", "height"), strict=True):
            (least,), (most,) = self.caps(f"least_{name}"), self.caps(f"most_{name}")
            if not least <= side <= most:
                raise OpticalFlowError(
                    f"pictures of {self.size[0]} x {self.size[1]}; this engine wants a {name} of "
                    f"{least} to {most}. Next: use the CUDA kernels' flow"
                )

    def _buffer(self, size: tuple[int, int], usage: int, kind: int) -> DevicePlane:
        described = BufferDescriptor(
            width=size[0], height=size[1], bufferUsage=usage, bufferFormat=kind
        )
        buffer, strides = c_void_p(), StrideInfo()
        self._call(
            "nvOFCreateGPUBufferCuda", ctypes.byref(described), _CUDEVICEPTR, ctypes.byref(buffer)
        )
        self._buffers.append(buffer)
        self._engine.call(self._handle, "nvOFGPUBufferGetStrideInfo", buffer, ctypes.byref(strides))
        pitch = int(strides.strideInfo[0].strideXInBytes)
        itemsize = ctypes.sizeof(FlowVector) if kind == _SHORT2 else 1
        if strides.numPlanes < 1 or pitch < size[0] * itemsize or pitch % itemsize:
            raise OpticalFlowError(f"a buffer of {size} in rows of {pitch} bytes: too few")
        return DevicePlane(
            pointer=self._engine.value("nvOFGPUBufferGetCUdeviceptr", buffer),
            pitch=pitch,
            width=size[0],
            height=size[1],
            dtype="int16" if kind == _SHORT2 else "uint8",
            channels=2 if kind == _SHORT2 else 1,
        )

    def _call(self, name: str, *arguments: Any) -> None:
        self._engine.call(self._handle, name, self._handle, *arguments)


class EngineFlow:
    """``kernels.cuda.dense_flow.DeviceFlow`` by the optical flow engine.

    Pictures are copied, on the device, into the engine's own; beyond their right and lower edges
    they are repeated, to whole sessions. Use as a context manager.

    Args:
        launcher: whose device holds the pictures.
        context, stream: the device's, as the driver's handles; 0: the current context, the default
            stream.
        grid: pixels for a vector; must divide both sides.
        level: "slow" is the best.
        cost: whether the engine also says how badly each vector fits (``cost``).
        library: name or path.
    Raises OpticalFlowError: no library or no engine. What the engine cannot is told by the first
        ``flow``.
    """

    def __init__(
        self,
        launcher: Launcher,
        *,
        context: int = 0,
        stream: int = 0,
        grid: Grid = 4,
        level: Level = "slow",
        cost: bool = False,
        library: str = LIBRARY,
    ) -> None:
        if grid not in GRIDS:
            raise ValueError(f"vectors for {grid} x {grid} pixels; wanted 1, 2 or 4")
        self._launcher, self._engine = launcher, Engine(library)
        self._given = (grid, level, context, stream, cost)
        self._sessions: dict[tuple[int, int], _Session] = {}
        self.cost: DevicePlane | None = None
        """Bytes of the last call's vectors, higher for worse ones; its rows are its own."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self.cost = None
        while self._sessions:
            self._sessions.popitem()[1].close()

    def flow(self, now: DevicePlane, before: DevicePlane) -> SmallPicture:
        check_pair(now, before)
        grid = self._given[0]
        if now.width % grid or now.height % grid:
            raise ValueError(f"pictures of {now.width} x {now.height}; wanted multiples of {grid}")
        session = self._session(now.width, now.height)
        for plane, held in ((now, session.now), (before, session.before)):
            self._launcher.run(
                "move_bytes",
                *(held.width, held.height),
                *(plane.pointer, plane.pitch, plane.width, plane.height),
                *(held.pointer, held.pitch, held.width, held.height),
            )
        session.run()
        width, height = now.width // grid, now.height // grid
        out = self._launcher.memory("engine flow", 8 * width * height)
        row = session.out.pitch // ctypes.sizeof(FlowVector)
        self._launcher.run(
            "short_flow",
            *(width, height),
            *(session.out.pointer, row, 1.0 / (FIXED * grid), out, width, height),
        )
        self.cost = session.cost
        return SmallPicture(pointer=out, width=width, height=height)

    def _session(self, width: int, height: int) -> _Session:
        size = (-(-width // SIDE) * SIDE, -(-height // SIDE) * SIDE)
        session = self._sessions.pop(size, None)
        if session is None:
            if len(self._sessions) >= SESSIONS:
                # The one that has not been used for the longest.
                self._sessions.pop(next(iter(self._sessions))).close()
            session = _Session(self._engine, size, *self._given)
        self._sessions[size] = session
        return session


def _checked(name: str, status: int, said: str = "") -> None:
    if status:
        known = _STATUSES[status] if 0 < status < len(_STATUSES) else "unknown status"
        raise OpticalFlowError(f"{name}: {known} ({status}){f', {said}' if said else ''}")
