"""ONNX Runtime on a GPU: what its provider is told, and runs on memory where it is.

ONNX Runtime binds addresses of host memory as it does those of a GPU: with its CPU provider the
same calls run whole here. That nothing waits for a stream is what a GPU has to show.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from actors.inference.networks import open_network
from actors.inference.onnx import CPU_PROVIDER, Onnx, open_session
from actors.inference.onnx_gpu import GPU_PROVIDER, OnnxOnGpu, gpu_options
from actors.inference.ort import onnxruntime
from benchmarks.standins import build, standin_store
from kernels.cuda.cupy_device import CupyDevice
from scheduler.errors import GpuUnavailable
from tests.support.hardware import lacking

STREAM = 0x5EED0
HOST = ("cpu", 0)
NEAR = 2e-3


class HostMemory:
    """Memory of this process in a device's place."""

    def __init__(self, values: NDArray[Any]) -> None:
        self.values = values
        self.nbytes = values.nbytes
        self.pointer = values.ctypes.data


class Watched:
    """A session that notes how it is run."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.runs: list[dict[str, tuple[Any, ...]]] = []
        self.told: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def io_binding(self) -> Any:
        binding, bound = self._session.io_binding(), {}
        self.runs.append(bound)
        for kind in ("bind_input", "bind_output"):
            real = getattr(binding, kind)

            def bind(name: str, *rest: Any, real: Callable[..., None] = real) -> None:
                bound[name] = rest
                real(name, *rest)

            setattr(binding, kind, bind)
        return binding

    def run_with_iobinding(self, binding: Any, options: Any) -> None:
        self.told.append(options.get_run_config_entry("disable_synchronize_execution_providers"))
        self._session.run_with_iobinding(binding, options)


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("networks")
    paths = {}
    for name in ("inswapper_128", "scrfd_2.5g", "codeformer"):
        paths[name] = folder / f"{name}.onnx"
        paths[name].write_bytes(build(name, "tiny").SerializeToString())
    return paths


def on_host(path: Path) -> tuple[OnnxOnGpu, Watched]:
    session = Watched(open_session(path, 1, [CPU_PROVIDER]))
    return OnnxOnGpu(session, STREAM, HOST), session


def filled(network: Onnx, rows: int, seed: int = 0) -> list[NDArray[Any]]:
    random = np.random.default_rng(seed)
    return [
        random.random((rows, *spec.shape), np.float32).astype(spec.dtype) for spec in network.inputs
    ]


def test_the_provider_works_in_the_kernels_stream() -> None:
    told = gpu_options(STREAM)
    assert told["user_compute_stream"] == str(STREAM)
    assert told["do_copy_in_default_stream"] == "1"
    assert all(isinstance(value, str) for value in told.values())
    assert "user_compute_stream" not in gpu_options(None)
    with pytest.raises(ValueError, match="stream 0"):
        gpu_options(0)  # ONNX Runtime takes it for none, and makes one of its own


@pytest.mark.parametrize("rows", [1, 3])
def test_memory_is_used_where_it_is(networks: dict[str, Path], rows: int) -> None:
    network, session = on_host(networks["inswapper_128"])
    given = filled(network, rows)
    out = [np.full((rows, *spec.shape), np.nan, np.float32) for spec in network.outputs]
    inputs, outputs = ([HostMemory(each) for each in side] for side in (given, out))
    network.enqueue(rows, inputs, outputs)
    for found, wanted in zip(out, network.run(*given), strict=True):
        assert np.array_equal(found, wanted)
    (bound,) = session.runs
    assert {name: rest[-1] for name, rest in bound.items()} == {
        spec.name: memory.pointer
        for spec, memory in zip(
            (*network.inputs, *network.outputs), (*inputs, *outputs), strict=True
        )
    }
    assert session.told == ["1"], "the host waits for the stream"
    assert network.room(rows) == rows


def test_a_file_that_takes_one_row_is_run_row_by_row(networks: dict[str, Path]) -> None:
    network, session = on_host(networks["scrfd_2.5g"])
    given = filled(network, 2)
    wanted = network.run(*given)
    out = [np.full_like(each, np.nan) for each in wanted]
    network.enqueue(2, list(map(HostMemory, given)), list(map(HostMemory, out)))
    assert len(session.runs) == 2
    assert all(np.array_equal(one, other) for one, other in zip(out, wanted, strict=True))


def test_memory_that_is_too_short_is_refused(networks: dict[str, Path]) -> None:
    network, session = on_host(networks["inswapper_128"])
    given = filled(network, 2)
    short = [np.empty((1, *spec.shape), np.float32) for spec in network.outputs]
    with pytest.raises(ValueError, match=r"bytes; wanted"):
        network.enqueue(2, list(map(HostMemory, given)), list(map(HostMemory, short)))
    assert session.runs == []


def test_nothing_is_asked_in_a_stream_that_is_not_the_kernels(networks: dict[str, Path]) -> None:
    session = open_session(networks["inswapper_128"], 1, [CPU_PROVIDER])
    with pytest.raises(ValueError, match="stream of its own"):
        OnnxOnGpu(session).enqueue(1, [], [])


def test_on_a_gpu_or_not_at_all(networks: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = networks["inswapper_128"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU_PROVIDER])
    with pytest.raises(GpuUnavailable, match="here has no CUDA in it") as caught:
        OnnxOnGpu.open(path)
    assert "farm doctor" in caught.value.next_step

    class WithoutLibraries:
        """A session that was asked for CUDA and went on without, as where cuDNN is missing."""

        @staticmethod
        def get_providers() -> list[str]:
            return [CPU_PROVIDER]

    asked: list[object] = []

    def session(name: str, options: Any, providers: list[object]) -> WithoutLibraries:
        assert options.execution_mode == onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        asked.extend(providers)
        return WithoutLibraries()

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [GPU_PROVIDER])
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: asked.append("libraries"))
    with pytest.raises(GpuUnavailable, match="cannot be loaded"):
        OnnxOnGpu.open(path, STREAM)
    assert asked == ["libraries", (GPU_PROVIDER, gpu_options(STREAM)), CPU_PROVIDER]


def test_a_job_for_cuda_has_its_networks_in_the_kernels_stream(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store = standin_store(tmp_path, names=("inswapper_128",))
    asked: list[tuple[str, int | None]] = []
    monkeypatch.setattr(OnnxOnGpu, "open", lambda path, stream: asked.append((path.name, stream)))
    open_network(store, "inswapper_128", device="cuda", stream=STREAM)
    assert asked == [(store.path("inswapper_128").name, STREAM)]


# On a GPU


@pytest.fixture
def pair(gpu: Callable[[], CupyDevice], networks: dict[str, Path]) -> tuple[CupyDevice, OnnxOnGpu]:
    device = gpu()
    try:
        return device, OnnxOnGpu.open(networks["inswapper_128"], device.stream)
    except GpuUnavailable as error:
        lacking(error)


@pytest.mark.cuda
def test_a_gpus_numbers_are_near_the_cpus(
    pair: tuple[CupyDevice, OnnxOnGpu], networks: dict[str, Path]
) -> None:
    device, network = pair
    truth = Onnx.load(networks["inswapper_128"])
    given = filled(network, 3)
    wanted = truth.run(*given)
    for found, one in zip(network.run(*given), wanted, strict=True):
        assert found == pytest.approx(one, abs=NEAR)
    # The device's stream writes, runs and reads: in order, if it is one stream.
    sides = ([*given], [np.full_like(each, np.nan) for each in wanted])
    inputs, outputs = ([device.reserve(each.nbytes) for each in side] for side in sides)
    for seed in range(5):
        given = filled(network, 3, seed)
        for memory, values in zip(inputs, given, strict=True):
            device.write(memory.pointer, values.nbytes, values.reshape(1, -1))
        network.enqueue(3, inputs, outputs)
        for memory, one in zip(outputs, truth.run(*given), strict=True):
            found = np.empty_like(one)
            device.read(memory.pointer, found.nbytes, found.reshape(1, -1))
            assert found == pytest.approx(one, abs=NEAR)


@pytest.mark.cuda
def test_the_real_provider_took_the_options(pair: tuple[CupyDevice, OnnxOnGpu]) -> None:
    device, network = pair
    told = network._session.get_provider_options()[GPU_PROVIDER]
    for name, value in gpu_options(device.stream).items():
        assert told[name] == value, name
