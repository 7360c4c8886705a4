"""Networks in ONNX format on an NVIDIA GPU, by TensorRT 11. Nothing here has run on a GPU yet.

A file's own types are its precision: TensorRT adds no half floats where the file has none
(``actors.half`` makes such files). Engines are made on the machine that runs them, take a minute or
more, and are kept (``plans.py``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from actors.inference.batches import in_ones
from actors.inference.engines import (
    BuildFlags,
    Engine,
    EngineRefused,
    Shape,
    StreamDevice,
    Tensor,
    TensorRtApi,
)
from actors.inference.fixed_batch import FixedBatch
from actors.inference.passes import LARGEST, Pass, batches, passes, room
from actors.inference.plans import PlanKey, Plans
from actors.inference.runtime import TensorSpec, unloadable
from kernels.cuda.device import Memory
from scheduler.errors import LaneOutOfMemory, ModelCorrupt

FOLDER: Final = "engines"
"""In the cache folder."""
ALIGNED: Final = 256
"""Addresses that TensorRT is given are a multiple of this."""


class TensorRt:
    """A ``Runtime`` for ``.onnx`` files on a GPU. Other dtypes than float32 are cast at the edge.

    A row's result does not depend on the other rows of its batch. It may depend, in the last bits,
    on the batch's size (each power of two has kernels of its own) and on the machine that built the
    engine: a job whose bits must not change needs the same engines for all its lanes.

    A batch for which the GPU's memory is not enough is halved, from then on.
    """

    def __init__(
        self,
        engine: Engine,
        device: StreamDevice,
        sizes: Mapping[str, Shape],
        recording: bool = True,
    ) -> None:
        self._engine = engine
        self._device = device
        self._sizes = sizes
        self._recording = recording
        self._inputs = tuple(each for each in engine.tensors if each.is_input)
        self._outputs = tuple(each for each in engine.tensors if not each.is_input)
        self._open = any(each.shape[0] < 0 for each in self._inputs)
        self.largest = 1 << (engine.profiles - 1) if self._open else 1
        """Rows that go through at once; less after memory ran out."""
        self._fixed: dict[int, FixedBatch] = {}
        self._held: dict[str, Memory] = {}
        self._workspace = self._reserve_workspace()
        shapes = self._batch(1).shapes
        for name, shape in shapes.items():
            if min(shape, default=1) < 0:
                raise ModelCorrupt(
                    f"the size of {name} is known only after a run",
                    "a network whose outputs' sizes follow from its inputs'",
                    "run it on the CPU",
                )
        self._specs = {
            each.name: TensorSpec(name=each.name, shape=shapes[each.name][1:], dtype=each.dtype)
            for each in engine.tensors
        }
        # Rows that begin where TensorRT takes no address must not begin a pass.
        self._few = any(_nbytes(each, shapes[each.name]) % ALIGNED for each in engine.tensors)

    @staticmethod
    def installed() -> bool:
        """Whether the packages are here; says nothing about whether they work."""
        return find_spec("tensorrt") is not None and find_spec("cupy") is not None

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        device: StreamDevice,
        cache_dir: Path,
        largest: int = LARGEST,
        sizes: Mapping[str, Shape] | None = None,
        flags: BuildFlags | None = None,
        recording: bool = True,
        api: TensorRtApi | None = None,
    ) -> Self:
        """Load a network's engine; build it first if this machine has none for it.

        Args:
            path: the ONNX file.
            device: the GPU, and the stream on which all is done.
            cache_dir: the program's cache folder.
            largest: rows at once, rounded up to a power of two of at most LARGEST; a file whose
                batch is fixed is run in ones.
            sizes: of inputs whose shape the file leaves open, without the batch.
            flags: how it is built.
            recording: whether runs that come again are recorded as CUDA graphs.
            api: TensorRT; default the package, on the current GPU.

        Raises:
            ModelCorrupt: the file is missing, no network, or none that TensorRT can run.
            GpuUnavailable: TensorRT is not installed or finds no GPU.
            GpuFailed: TensorRT does not do what it should.
            LaneOutOfMemory: the GPU's memory is not enough even for one row.
            DiskFull, StorageUnwritable: the engine cannot be kept.
        """
        if api is None:
            from actors.inference.tensorrt_package import TensorRtPackage  # imports the package

            api = TensorRtPackage.open()
        most = batches(min(1 << max(largest - 1, 0).bit_length(), LARGEST))
        known = dict(sizes or {})
        how = flags or BuildFlags()
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise unloadable(path, "TensorRT", error) from error
        key = PlanKey(
            network=digest,
            platform=api.platform,
            batches=most,
            sizes=tuple(sorted(known.items())),
            flags=how,
        )

        def build(timing: bytes) -> tuple[bytes, bytes]:
            draft = api.read(path)
            left = most if any(_open(each) for each in draft.inputs) else (1,)
            while True:
                profiles = [
                    {each.name: input_shape(each, rows, known) for each in draft.inputs}
                    for rows in left
                ]
                try:
                    return draft.build(profiles, how, timing)
                except MemoryError as error:
                    if len(left) == 1:
                        raise _no_memory(f"to build an engine of {path.name}") from error
                    left = left[:-1]

        try:
            engine = Plans(cache_dir / FOLDER).get(key, api.load, build)
            return cls(engine, device, known, recording)
        except EngineRefused as error:
            raise unloadable(path, "TensorRT", error) from error
        except MemoryError as error:
            raise _no_memory(f"for the weights of {path.name}") from error

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return tuple(self._specs[each.name] for each in self._inputs)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return tuple(self._specs[each.name] for each in self._outputs)

    def run(self, *inputs: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        """See ``Runtime.run``: from host memory, to host memory. An input may have one row for all.

        Raises:
            LaneOutOfMemory: the GPU's memory is not enough even for one row.
            GpuFailed: TensorRT does not do what it should.
        """
        if not self._open and max(map(len, inputs)) > 1:
            return in_ones(self.run, inputs)
        total = max(len(each) for each in inputs)
        if not total:
            return tuple(np.empty((0, *each.shape), np.float32) for each in self.outputs)
        found: list[list[NDArray[np.float32]]] = [[] for _ in self._outputs]
        todo = list(passes(total, self.largest))
        while todo:
            try:
                results = self._run_pass(todo[0], inputs)
            except MemoryError as error:
                # Those that were reserved for the larger batch would leave no room.
                self._held.clear()
                self._halve(todo[0].batch, error)
                todo = list(passes(total - todo[0].start, self.largest, todo[0].start))
                continue
            for kept, result in zip(found, results, strict=True):
                kept.append(result)
            todo.pop(0)
        return tuple(np.concatenate(column) for column in found)

    def room(self, rows: int) -> int:
        """Rows that memory given to ``enqueue`` must have room for; the last may hold anything."""
        return room(rows, self.largest, few=self._few)

    def enqueue(self, rows: int, inputs: Sequence[Memory], outputs: Sequence[Memory]) -> None:
        """Start a run from device memory to device memory. Nothing waits for it.

        The same memory again costs least: such runs are replayed. It must be there until the stream
        has come past the run, and what an earlier run of the same memory left is overwritten.

        Args:
            rows: how many count, at least one.
            inputs: one for each of ``self.inputs``, rows of that dtype one after the other, on
                multiples of ALIGNED bytes, with room for ``room(rows)``.
            outputs: the same for ``self.outputs``.

        Raises:
            ValueError: memory is too short or lies askew (rows of less than ALIGNED bytes can only
                be given up to ``largest`` at once).
            LaneOutOfMemory, GpuFailed: as ``run``.
        """
        todo = list(passes(rows, self.largest, few=self._few))
        while todo:
            now = todo[0]
            try:
                pointers = {}
                for each, memory in zip(
                    (*self._inputs, *self._outputs), (*inputs, *outputs), strict=True
                ):
                    shape = self._batch(now.batch).shapes[each.name]
                    row = _nbytes(each, shape) // now.batch
                    # An input without rows is the same in each pass. Where no batch is open the
                    # file takes one row, and all inputs have rows.
                    fixed = self._open and not _open(each) and each.is_input
                    start = 0 if fixed else now.start * row
                    _demand_room(each.name, memory, start, _nbytes(each, shape))
                    pointers[each.name] = memory.pointer + start
                self._batch(now.batch).launch(pointers)
            except MemoryError as error:
                self._halve(now.batch, error)
                todo = list(passes(rows - now.start, self.largest, now.start, few=self._few))
                continue
            todo.pop(0)

    def _run_pass(
        self, now: Pass, inputs: Sequence[NDArray[np.float32]]
    ) -> list[NDArray[np.float32]]:
        """The results of a pass's rows."""
        shapes = self._batch(now.batch).shapes
        pointers = {
            each.name: self._buffer(each.name, _nbytes(each, shapes[each.name])).pointer
            for each in self._engine.tensors
        }
        for each, values in zip(self._inputs, inputs, strict=True):
            wanted = shapes[each.name]
            rows = _rows(values, now, wanted, _open(each))
            if rows.shape != wanted:
                raise ValueError(f"{each.name} has the shape {rows.shape}; wanted {wanted}")
            _copy(self._device.write, pointers[each.name], rows.astype(each.dtype, copy=False))
        self._batch(now.batch).launch(pointers)
        results = []
        for each in self._outputs:
            whole = np.empty(shapes[each.name], each.dtype)
            _copy(self._device.read, pointers[each.name], whole)
            # A network may give several rows for one that it takes.
            counted = len(whole) * now.rows // now.batch if whole.ndim else 1
            results.append(np.asarray(np.atleast_1d(whole)[:counted], np.float32))
        return results

    def _batch(self, rows: int) -> FixedBatch:
        if rows not in self._fixed:
            shapes = {each.name: input_shape(each, rows, self._sizes) for each in self._inputs}
            profile = rows.bit_length() - 1
            self._fixed[rows] = FixedBatch(
                self._engine, profile, shapes, self._workspace, self._device.stream, self._recording
            )
        return self._fixed[rows]

    def _reserve_workspace(self) -> Memory:
        """Room for all batches up to the largest; a largest that fits."""
        while True:
            profiles = range(self.largest.bit_length())
            nbytes = max(self._engine.workspace(profile) for profile in profiles)
            try:
                return self._device.reserve(max(nbytes, ALIGNED))
            except MemoryError as error:
                self._halve(self.largest, error)

    def _buffer(self, name: str, nbytes: int) -> Memory:
        """Memory of our own for a tensor."""
        held = self._held.get(name)
        if held is None or held.nbytes < nbytes:
            # Work on the old memory was waited for: the results of each run are read.
            self._held.pop(name, None)
            held = None
            held = self._held[name] = self._device.reserve(max(nbytes, ALIGNED))
        return held

    def _halve(self, batch: int, error: MemoryError) -> None:
        if batch == 1:
            raise _no_memory("for one row") from error
        self.largest = batch // 2


def input_shape(tensor: Tensor, rows: int, sizes: Mapping[str, Shape]) -> Shape:
    """The shape of an input for a number of rows.

    Args:
        tensor: as the network has it.
        rows: the batch, if it leaves that open.
        sizes: of inputs whose shape it leaves open, without the batch.

    Raises:
        ModelCorrupt: it leaves a size open that is not among them.
    """
    first = tuple(rows if size < 0 else size for size in tensor.shape[:1])
    rest = tensor.shape[1:]
    given = sizes.get(tensor.name, rest)
    if len(given) != len(rest) or any(
        size < 0 or wanted not in (-1, size) for size, wanted in zip(given, rest, strict=True)
    ):
        raise ModelCorrupt(
            f"input {tensor.name} has the shape {tensor.shape}, and {given or 'nothing'} is known "
            "of its size",
            "a size for each of its open dimensions",
            "run it on the CPU",
        )
    return first + tuple(given)


def _open(tensor: Tensor) -> bool:
    return bool(tensor.shape) and tensor.shape[0] < 0


def _rows(values: NDArray[Any], now: Pass, wanted: Shape, open_: bool) -> NDArray[Any]:
    """What an input is given in a pass: its rows and zeros, one row for all, or all of it."""
    if not open_:
        return values.reshape(wanted) if not wanted else values
    if len(values) == 1 and now.start + now.batch > 1:
        return np.broadcast_to(values, (now.batch, *values.shape[1:]))
    rows = values[now.start : now.start + now.rows]
    if now.rows == now.batch:
        return rows
    return np.concatenate((rows, np.zeros((now.batch - now.rows, *rows.shape[1:]), rows.dtype)))


def _copy(copy: Any, pointer: int, values: NDArray[Any]) -> None:
    """All of an array as one row of bytes."""
    flat = np.ascontiguousarray(values).reshape(1, -1)
    copy(pointer, flat.nbytes, flat)


def _nbytes(tensor: Tensor, shape: Shape) -> int:
    return int(np.prod(shape, dtype=np.int64)) * np.dtype(tensor.dtype).itemsize


def _demand_room(name: str, memory: Memory, start: int, nbytes: int) -> None:
    if memory.nbytes < start + nbytes or (memory.pointer + start) % ALIGNED:
        raise ValueError(
            f"{name} has {memory.nbytes} bytes at {memory.pointer:#x}; wanted {start + nbytes}, "
            f"and byte {start} on a multiple of {ALIGNED}"
        )


def _no_memory(what: str) -> LaneOutOfMemory:
    return LaneOutOfMemory(
        f"the GPU's memory is not enough {what}",
        "memory that nobody else uses",
        "see `nvidia-smi`; use fewer lanes on this GPU",
    )
