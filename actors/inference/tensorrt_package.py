"""``actors.inference.engines.TensorRtApi`` by the ``tensorrt`` package, version 11.

Never run on a GPU yet. The tests hold every call here to the names and signatures of the real
package. TensorRT 11 is strongly typed: there is no flag for half floats, the network says itself
what is computed in what.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from actors.inference.engines import (
    BuildFlags,
    EngineRefused,
    Platform,
    Shape,
    Shapes,
    Tensor,
)
from scheduler.errors import GpuFailed, GpuUnavailable

DTYPES: Final = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
    "UINT8": "uint8",
}
OUT_OF_MEMORY: Final = 2
"""CUDA's number of this error."""
NEXT: Final = "run `pip install 'swapfarm[cuda13]'` (cuda12: old drivers), then `farm doctor`"


class TensorRtPackage:
    """TensorRT on one GPU.

    Args:
        trt: the package ``tensorrt``.
        cupy: the package ``cupy``, for what is the GPU's and not TensorRT's.
        number: of the GPU among those that are visible.
    """

    def __init__(self, trt: Any, cupy: Any, number: int) -> None:
        self._trt = trt
        self._gpu = _Gpu(cupy, number)
        facts = cupy.cuda.runtime.getDeviceProperties(number)
        self._platform = Platform(
            tensorrt=str(trt.__version__),
            cuda=str(cupy.cuda.runtime.runtimeGetVersion()),
            gpu=facts["name"].decode(),
            capability=f"{facts['major']}.{facts['minor']}",
        )
        self._notes = _notes(trt)
        self._runtime: Any = None

    @classmethod
    def open(cls, number: int = 0) -> Self:
        """Import the packages and look at the GPU.

        Raises:
            GpuUnavailable: a package is missing or does not load, or there is no such GPU.
        """
        try:
            import cupy
            import tensorrt  # from NVIDIA's own index, gigabytes
        except (ImportError, OSError, RuntimeError) as error:
            # Without its libraries the package fails in several ways.
            raise GpuUnavailable(
                f"TensorRT cannot be imported: {error}", "the packages of the GPU path", NEXT
            ) from error
        try:
            return cls(tensorrt, cupy, number)
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise GpuUnavailable(
                f"GPU {number} cannot be used: {error}",
                "an NVIDIA GPU and its driver",
                "see what `nvidia-smi` says",
            ) from error

    @property
    def platform(self) -> Platform:
        return self._platform

    def read(self, network: Path) -> PackageDraft:
        return PackageDraft(self._trt, self._gpu, self._notes, network)

    def load(self, plan: bytes) -> PackageEngine | None:
        with self._gpu.current():
            if self._runtime is None:
                self._runtime = self._trt.Runtime(self._notes.logger)
                self._runtime.error_recorder = self._notes.recorder
            self._notes.clear()
            engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            self._notes.demand_memory()
            return None
        return PackageEngine(self._trt, self._gpu, self._notes, engine)


class PackageDraft:
    """``Draft``: a parsed ONNX file, with what it was parsed by."""

    def __init__(self, trt: Any, gpu: _Gpu, notes: _Notes, network: Path) -> None:
        self._trt, self._gpu, self._notes = trt, gpu, notes
        notes.clear()
        with gpu.current():
            self._builder = trt.Builder(notes.logger)
            self._builder.error_recorder = notes.recorder
            self._network = self._builder.create_network()
            self._parser = trt.OnnxParser(self._network, notes.logger)
            if not self._parser.parse_from_file(str(network)):
                errors = [self._parser.get_error(n) for n in range(self._parser.num_errors)]
                said = [f"{each.desc()} ({each.node_operator()})" for each in errors]
                raise EngineRefused("; ".join(said) or notes.complaint)
        tensors = [self._network.get_input(n) for n in range(self._network.num_inputs)]
        self._inputs = tuple(
            Tensor(
                name=each.name,
                dtype=_dtype(each.name, each.dtype),
                shape=tuple(each.shape),
                is_input=True,
            )
            for each in tensors
        )

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self._inputs

    def build(
        self, profiles: Sequence[Shapes], flags: BuildFlags, timing: bytes
    ) -> tuple[bytes, bytes]:
        trt = self._trt
        self._notes.clear()
        with self._gpu.current():
            config = self._builder.create_builder_config()
            if not flags.tf32:
                config.clear_flag(trt.BuilderFlag.TF32)
            # A row must not depend on its place among others.
            config.set_flag(trt.BuilderFlag.DISTRIBUTIVE_INDEPENDENCE)
            config.max_aux_streams = 0  # all on the user's stream
            config.builder_optimization_level = flags.effort
            cache = config.create_timing_cache(timing)
            if cache is None or not config.set_timing_cache(cache, False):
                cache = config.create_timing_cache(b"")
                if not config.set_timing_cache(cache, False):
                    raise EngineRefused(f"no timing cache: {self._notes.complaint}")
            for number, shapes in enumerate(profiles):
                self._add_profile(config, number, shapes)
            plan = self._builder.build_serialized_network(self._network, config)
            if plan is None:
                self._notes.demand_memory()
                raise EngineRefused(self._notes.complaint or "no plan was made")
            measured = cache.serialize()
            return bytes(plan), b"" if measured is None else bytes(measured)

    def _add_profile(self, config: Any, number: int, shapes: Shapes) -> None:
        profile = self._builder.create_optimization_profile()
        left_open = [each.name for each in self._inputs if min(each.shape, default=0) < 0]
        for name in left_open:
            shape = self._trt.Dims(shapes[name])
            profile.set_shape(name, shape, shape, shape)
        if left_open and config.add_optimization_profile(profile) != number:
            raise EngineRefused(f"the shapes {dict(shapes)}: {self._notes.complaint}")


class PackageEngine:
    """``Engine``."""

    def __init__(self, trt: Any, gpu: _Gpu, notes: _Notes, engine: Any) -> None:
        self._trt, self._gpu, self._notes, self._engine = trt, gpu, notes, engine
        names = [engine.get_tensor_name(number) for number in range(engine.num_io_tensors)]
        self._tensors = tuple(
            Tensor(
                name=name,
                dtype=_dtype(name, engine.get_tensor_dtype(name)),
                shape=tuple(engine.get_tensor_shape(name)),
                is_input=engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT,
            )
            for name in names
        )
        for name in names:
            if engine.get_tensor_location(name) != trt.TensorLocation.DEVICE:
                raise EngineRefused(f"{name} must lie in host memory")

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return self._tensors

    @property
    def profiles(self) -> int:
        return int(self._engine.num_optimization_profiles)

    def workspace(self, profile: int) -> int:
        return int(self._engine.get_device_memory_size_for_profile_v2(profile))

    def context(self) -> PackageContext:
        how = self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        self._notes.clear()
        with self._gpu.current():
            context = self._engine.create_execution_context(how)
        if context is None:
            self._notes.demand_memory()
            raise _failed(f"TensorRT gives no context: {self._notes.complaint}")
        return PackageContext(self._gpu, self._notes, context)


class PackageContext:
    """``Context``."""

    def __init__(self, gpu: _Gpu, notes: _Notes, context: Any) -> None:
        self._gpu, self._notes, self._context = gpu, notes, context

    @property
    def complaint(self) -> str:
        return self._notes.complaint

    def use_profile(self, profile: int, stream: int) -> bool:
        with self._gpu.current():
            return bool(self._context.set_optimization_profile_async(profile, stream))

    def use_memory(self, pointer: int, nbytes: int) -> None:
        self._context.set_device_memory(pointer, nbytes)

    def set_shape(self, name: str, shape: Shape) -> bool:
        return bool(self._context.set_input_shape(name, shape))

    def unknown(self) -> tuple[str, ...]:
        try:
            return tuple(self._context.infer_shapes())
        except RuntimeError as error:
            raise _failed(f"TensorRT cannot infer shapes: {error}") from error

    def shape(self, name: str) -> Shape:
        return tuple(self._context.get_tensor_shape(name))

    def set_address(self, name: str, pointer: int) -> bool:
        return bool(self._context.set_tensor_address(name, pointer))

    def enqueue(self, stream: int) -> bool:
        self._notes.clear()
        with self._gpu.current():
            started = bool(self._context.execute_async_v3(stream))
        if not started:
            self._notes.demand_memory()
        return started

    def record(self, stream: int) -> PackageGraph | None:
        self._notes.clear()
        with self._gpu.current():
            recorded = self._gpu.stream(stream)
            recorded.begin_capture()
            started = False
            try:
                started = bool(self._context.execute_async_v3(stream))
            finally:
                graph = self._gpu.end_capture(recorded)
        return PackageGraph(self._gpu, graph) if started and graph is not None else None


class PackageGraph:
    """``Graph``: CUDA's."""

    def __init__(self, gpu: _Gpu, graph: Any) -> None:
        self._gpu, self._graph = gpu, graph

    def launch(self, stream: int) -> None:
        with self._gpu.current():
            self._graph.launch(self._gpu.stream(stream))


class _Gpu:
    """CuPy, for one GPU."""

    def __init__(self, cupy: Any, number: int) -> None:
        self._cupy = cupy
        self._device = cupy.cuda.Device(number)
        self._streams: dict[int, Any] = {}

    @contextmanager
    def current(self) -> Iterator[None]:
        """CUDA's calls in here go to this GPU, and what it says is an error of ours.

        Raises:
            MemoryError: the GPU's memory is not enough.
            GpuFailed: CUDA refused something else.
        """
        try:
            with self._device:
                yield
        except self._cupy.cuda.runtime.CUDARuntimeError as error:
            if error.status == OUT_OF_MEMORY:
                raise MemoryError(str(error)) from error
            raise _failed(f"CUDA failed: {error}") from error

    def stream(self, handle: int) -> Any:
        if handle not in self._streams:
            self._streams[handle] = self._cupy.cuda.Stream.from_external(_Handle(handle))
        return self._streams[handle]

    def end_capture(self, stream: Any) -> Any:
        """The graph, None where what was recorded cannot be one."""
        try:
            return stream.end_capture()
        except self._cupy.cuda.runtime.CUDARuntimeError:
            return None


@dataclass(frozen=True, slots=True)
class _Handle:
    """A stream that somebody else owns, by CUDA's protocol for that."""

    handle: int

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.handle


class _Notes:
    """What TensorRT says of what goes wrong, instead of on standard error."""

    def __init__(self, trt: Any) -> None:
        self._full = trt.ErrorCodeTRT.FAILED_ALLOCATION
        self.said: list[tuple[Any, str]] = []
        self.logger: Any = None
        self.recorder: Any = None

    def clear(self) -> None:
        self.said.clear()

    @property
    def complaint(self) -> str:
        return "; ".join(text for _, text in self.said[-3:])

    def demand_memory(self) -> None:
        """
        Raises:
            MemoryError: memory is what was not enough.
        """
        if any(code == self._full for code, _ in self.said):
            raise MemoryError(self.complaint)


def _notes(trt: Any) -> _Notes:
    """Notes, with the logger and the recorder that write them. Both live as long as these."""
    notes = _Notes(trt)

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                notes.said.append((None, msg))

    class Recorder(trt.IErrorRecorder):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IErrorRecorder.__init__(self)

        def report_error(self, arg0: Any, arg1: str) -> bool:
            notes.said.append((arg0, arg1))
            return True

        def num_errors(self) -> int:
            return len(notes.said)

        def get_error_code(self, arg0: int) -> Any:
            return notes.said[arg0][0] or trt.ErrorCodeTRT.UNSPECIFIED_ERROR

        def get_error_desc(self, arg0: int) -> str:
            return notes.said[arg0][1]

        def has_overflowed(self) -> bool:
            return False

        def clear(self) -> None:
            notes.clear()

    notes.logger, notes.recorder = Logger(), Recorder()
    return notes


def _dtype(name: str, dtype: Any) -> str:
    if dtype.name not in DTYPES:
        raise EngineRefused(f"{name} has the type {dtype.name}")
    return DTYPES[dtype.name]


def _failed(found: str) -> GpuFailed:
    return GpuFailed(
        found, "a GPU that does what it is asked", "see `nvidia-smi`; `dmesg` has the driver's log"
    )
