"""TensorRT without a GPU, behind ``actors.inference.engines`` only: numbers by ONNX Runtime, rules
by TensorRT's documents. Device memory is host memory whose borders are known."""

from __future__ import annotations

import ctypes
import json
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from actors.inference.engines import (
    BuildFlags,
    EngineRefused,
    Platform,
    Shape,
    Shapes,
    Tensor,
)
from actors.inference.onnx import DTYPES
from actors.inference.ort import onnxruntime

MAGIC: Final = b"engine of the fake\n"
ALIGNED: Final = 256
HERE: Final = Platform(tensorrt="11.4", cuda="13020", gpu="Fake GPU", capability="9.0")


class Fault(AssertionError):
    """What on a GPU is memory that somebody else's numbers are in."""


class FakeMemory:
    """Memory of a fake device; fresh memory is NaN, freed memory belongs to nobody."""

    def __init__(self, device: FakeStreamDevice, nbytes: int) -> None:
        self.nbytes = nbytes
        buffer = np.full(nbytes + ALIGNED, 0xFF, np.uint8)
        self.pointer = -(-buffer.ctypes.data // ALIGNED) * ALIGNED
        device.regions[self.pointer] = (nbytes, buffer)
        weakref.finalize(self, device.regions.pop, self.pointer)


class FakeStreamDevice:
    """Args:
    memory: bytes that there are.
    """

    def __init__(self, memory: int = 1 << 40, stream: int = 77) -> None:
        self.regions: dict[int, tuple[int, NDArray[Any]]] = {}
        self.stream = stream
        self._memory = memory
        self.copies = 0
        """Between host and device."""

    def reserve(self, nbytes: int) -> FakeMemory:
        if sum(size for size, _ in self.regions.values()) + nbytes > self._memory:
            raise MemoryError(f"{nbytes} bytes")
        return FakeMemory(self, nbytes)

    def write(self, pointer: int, pitch: int, rows: NDArray[Any]) -> None:
        self.copies += 1
        assert pitch == rows[0].nbytes
        ctypes.memmove(self.at(pointer, rows.nbytes), rows.ctypes.data, rows.nbytes)

    def read(self, pointer: int, pitch: int, rows: NDArray[Any]) -> None:
        self.copies += 1
        assert pitch == rows[0].nbytes
        ctypes.memmove(rows.ctypes.data, self.at(pointer, rows.nbytes), rows.nbytes)

    def at(self, pointer: int, nbytes: int) -> int:
        """The same pointer, if all of that is one living piece of memory."""
        for start, (size, _) in self.regions.items():
            if start <= pointer and pointer + nbytes <= start + size:
                return pointer
        raise Fault(f"{nbytes} bytes at {pointer:#x} are nobody's")

    def array(self, pointer: int, shape: Shape, dtype: str) -> NDArray[Any]:
        """A view of device memory."""
        nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        kind = ctypes.c_uint8 * nbytes
        flat = np.frombuffer(kind.from_address(self.at(pointer, nbytes)), np.uint8)
        return flat.view(dtype).reshape(shape)


class FakeTensorRt:
    """``TensorRtApi``.

    Args:
        device: where addresses must lie.
        platform: what plans are good for.
        refused: names of the calls of contexts that answer false.
        buildable: rows for which a build has memory enough.
        runnable: rows for which a run has memory enough; may be changed.
        recordable: whether graphs can be recorded.
        slow: called during each build.
    """

    def __init__(
        self,
        device: FakeStreamDevice,
        *,
        platform: Platform = HERE,
        refused: set[str] | None = None,
        buildable: int = 1 << 20,
        runnable: int = 1 << 20,
        recordable: bool = True,
        slow: Callable[[], None] = lambda: None,
    ) -> None:
        self.device = device
        self.platform = platform
        self.refused = refused or set()
        self.buildable, self.runnable, self.recordable = buildable, runnable, recordable
        self.slow = slow
        self.builds: list[tuple[list[Shapes], BuildFlags, bytes]] = []
        self.runs: list[int] = []
        """Batches, in order."""
        self.replays = 0
        self.addresses = 0
        """Calls that set one."""

    def read(self, network: Path) -> FakeDraft:
        return FakeDraft(self, network)

    def load(self, plan: bytes) -> FakeEngine | None:
        if not plan.startswith(MAGIC):
            return None
        head, network = plan[len(MAGIC) :].split(b"\n", 1)
        facts = json.loads(head)
        if facts["platform"] != str(self.platform):
            return None
        profiles = [{k: tuple(v) for k, v in each.items()} for each in facts["profiles"]]
        return FakeEngine(self, profiles, network)


def _session(network: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base class
        raise EngineRefused(str(error)) from error


def _tensors(session: Any) -> tuple[Tensor, ...]:
    return tuple(
        Tensor(
            name=each.name,
            dtype=DTYPES[each.type],
            shape=tuple(size if isinstance(size, int) else -1 for size in each.shape),
            is_input=is_input,
        )
        for those, is_input in ((session.get_inputs(), True), (session.get_outputs(), False))
        for each in those
    )


class FakeDraft:
    def __init__(self, api: FakeTensorRt, network: Path) -> None:
        self._api, self._network = api, network.read_bytes()
        self.inputs = tuple(each for each in _tensors(_session(self._network)) if each.is_input)

    def build(
        self, profiles: Sequence[Shapes], flags: BuildFlags, timing: bytes
    ) -> tuple[bytes, bytes]:
        api = self._api
        api.builds.append((list(profiles), flags, timing))
        api.slow()
        for shapes in profiles:
            for each in self.inputs:
                shape = shapes[each.name]
                pairs = list(zip(shape, each.shape, strict=True))
                if any(size < 0 or known not in (-1, size) for size, known in pairs):
                    raise EngineRefused(f"{each.name}: {shape} is none of {each.shape}")
                if each.shape and each.shape[0] < 0 and shape[0] > api.buildable:
                    raise MemoryError(f"{shape[0]} rows")
        head = {"platform": str(api.platform), "profiles": [dict(each) for each in profiles]}
        return MAGIC + json.dumps(head).encode() + b"\n" + self._network, timing + b"measured;"


class FakeEngine:
    def __init__(self, api: FakeTensorRt, shapes: list[dict[str, Shape]], network: bytes) -> None:
        self.api, self.shapes = api, shapes
        self.session = _session(network)
        self.tensors = _tensors(self.session)
        self.profiles = len(shapes)

    def workspace(self, profile: int) -> int:
        return 1000 * max(shape[0] for shape in self.shapes[profile].values() if shape)

    def context(self) -> FakeContext:
        return FakeContext(self)


class FakeContext:
    """``Context``: refuses what TensorRT refuses, runs what TensorRT would run."""

    def __init__(self, engine: FakeEngine) -> None:
        self._engine, self._api = engine, engine.api
        self._profile = 0
        self._memory = (0, 0)
        self._shapes: dict[str, Shape] = {}
        self._addresses: dict[str, int] = {}
        self._warm = False
        self.complaint = ""

    def _no(self, verb: str, why: str = "") -> bool:
        """Whether a call is refused."""
        if verb in self._api.refused:
            why = "it was told to refuse"
        self.complaint = why or self.complaint
        return bool(why)

    def use_profile(self, profile: int, stream: int) -> bool:
        assert stream == self._api.device.stream
        if self._no("use_profile", "" if profile < self._engine.profiles else "no such profile"):
            return False
        self._profile, self._shapes, self._warm = profile, {}, False
        return True

    def use_memory(self, pointer: int, nbytes: int) -> None:
        assert pointer % ALIGNED == 0
        self._memory = (self._api.device.at(pointer, nbytes), nbytes)

    def set_shape(self, name: str, shape: Shape) -> bool:
        wanted = self._engine.shapes[self._profile].get(name)
        if self._no("set_shape", "" if shape == wanted else f"{shape} is not in the profile"):
            return False
        self._shapes[name] = shape
        return True

    def unknown(self) -> tuple[str, ...]:
        names = [each.name for each in self._engine.tensors if each.is_input]
        return tuple(name for name in names if name not in self._shapes)

    def shape(self, name: str) -> Shape:
        if name in self._shapes:
            return self._shapes[name]
        # As TensorRT infers them; by running, since ONNX Runtime does not tell.
        given = {
            each.name: np.zeros(self._shapes[each.name], each.dtype)
            for each in self._engine.tensors
            if each.is_input
        }
        return tuple(self._engine.session.run([name], given)[0].shape)

    def set_address(self, name: str, pointer: int) -> bool:
        self._api.addresses += 1
        names = [each.name for each in self._engine.tensors]
        why = "" if name in names and pointer % ALIGNED == 0 else "no such tensor, or askew"
        if self._no("set_address", why):
            return False
        self._addresses[name] = pointer
        return True

    def enqueue(self, stream: int) -> bool:
        assert stream == self._api.device.stream
        unset = [each.name for each in self._engine.tensors if each.name not in self._addresses]
        if self._no("enqueue", f"no address for {unset}" if unset or self.unknown() else ""):
            return False
        if self._memory[1] < self._engine.workspace(self._profile):
            self.complaint = "the memory is too small"
            return False
        rows = self._rows()
        if rows > self._api.runnable:
            raise MemoryError(f"{rows} rows")
        self._warm = True
        self._compute(dict(self._addresses))
        return True

    def record(self, stream: int) -> FakeGraph | None:
        if not self._warm:
            raise Fault("recorded before it was run once")
        addresses = dict(self._addresses)
        recordable = self._api.recordable and not self._no("enqueue")
        return FakeGraph(self, addresses) if recordable else None

    def _rows(self) -> int:
        return max(shape[0] for shape in self._shapes.values() if shape)

    def _compute(self, addresses: dict[str, int]) -> None:
        device = self._api.device
        device.at(*self._memory)
        self._api.runs.append(self._rows())
        tensors = self._engine.tensors
        given = {
            each.name: device.array(addresses[each.name], self._shapes[each.name], each.dtype)
            for each in tensors
            if each.is_input
        }
        outputs = [each for each in tensors if not each.is_input]
        results = self._engine.session.run([each.name for each in outputs], given)
        for each, result in zip(outputs, results, strict=True):
            device.array(addresses[each.name], result.shape, each.dtype)[...] = result

    def replay(self, addresses: dict[str, int]) -> None:
        self._api.replays += 1
        self._compute(addresses)


class FakeGraph:
    def __init__(self, context: FakeContext, addresses: dict[str, int]) -> None:
        self._context, self._addresses = context, addresses

    def launch(self, stream: int) -> None:
        self._context.replay(self._addresses)
