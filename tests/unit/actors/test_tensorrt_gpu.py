"""What only a real GPU with TensorRT can show."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from actors.inference.onnx import Onnx
from actors.inference.tensorrt import TensorRt
from actors.inference.tensorrt_package import TensorRtPackage
from benchmarks.standins import build
from kernels.cuda.cupy_device import CupyDevice, NoGpuError
from scheduler.errors import GpuUnavailable
from tests.support.hardware import lacking, package

pytestmark = pytest.mark.cuda
NEAR = 2e-3


class OnItsStream(CupyDevice):
    """Says which stream is its own."""

    @property
    def stream(self) -> int:
        return int(self._stream.ptr)


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> OnItsStream:
    try:
        TensorRtPackage.open()
        return OnItsStream(tmp_path_factory.mktemp("cubins"))
    except (NoGpuError, GpuUnavailable) as error:
        lacking(error)


@pytest.fixture(scope="module")
def load(
    device: OnItsStream, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], tuple[TensorRt, Onnx, Path]]:
    folder = tmp_path_factory.mktemp("engines")
    path = folder / "swapper.onnx"
    path.write_bytes(build("hyperswap_1a_256").SerializeToString())

    def load() -> tuple[TensorRt, Onnx, Path]:
        runtime = TensorRt.load(path, device=device, cache_dir=folder, largest=4)
        return runtime, Onnx.load(path), folder

    return load


def numbers(rows: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    random = np.random.default_rng(seed)
    return random.random((rows, 512), np.float32), random.random((rows, 3, 256, 256), np.float32)


@pytest.mark.parametrize("rows", [1, 3, 6])
def test_the_numbers_are_near_onnx_runtimes(load, rows):
    runtime, truth, _ = load()
    for seed in range(4):  # run, recorded, replayed
        arrays = numbers(rows, seed)
        for found, wanted in zip(runtime.run(*arrays), truth.run(*arrays), strict=True):
            assert found == pytest.approx(wanted, abs=NEAR)


def test_a_row_does_not_depend_on_its_neighbours(load):
    runtime, _, _ = load()
    source, target = numbers(4)
    together = runtime.run(source, target)
    turned = runtime.run(source[::-1].copy(), target[::-1].copy())
    assert all(
        np.array_equal(one, other[::-1]) for one, other in zip(together, turned, strict=True)
    )


def test_an_engine_is_built_once(load):
    load()
    _, _, folder = load()
    plans = list((folder / "engines").glob("*.plan"))
    assert len(plans) == 1
    before = plans[0].stat().st_mtime_ns
    load()
    assert plans[0].stat().st_mtime_ns == before
    plans[0].write_bytes(plans[0].read_bytes()[:-100])
    load()
    assert plans[0].stat().st_mtime_ns > before


def test_memory_of_the_device_is_used_where_it_is(load, device):
    runtime, truth, _ = load()
    arrays = numbers(3)
    memory = [
        device.reserve(4 * int(np.prod(each.shape)) * runtime.room(3))
        for each in (*runtime.inputs, *runtime.outputs)
    ]
    for held, values in zip(memory, arrays, strict=False):
        flat = values.reshape(1, -1)
        device.write(held.pointer, flat.nbytes, flat)
    for _ in range(3):
        runtime.enqueue(3, memory[:2], memory[2:])
    for held, wanted in zip(memory[2:], truth.run(*arrays), strict=True):
        found = np.empty_like(wanted)
        device.read(held.pointer, found.nbytes, found.reshape(1, -1))
        assert found == pytest.approx(wanted, abs=NEAR)


def test_cupy_has_what_is_asked_of_it():
    """Needs CuPy, but no GPU."""
    cupy = package("cupy", "make test-gpu installs it")

    class Handle:
        def __cuda_stream__(self) -> tuple[int, int]:
            return 0, 77

    stream = cupy.cuda.Stream.from_external(Handle())
    assert stream.ptr == 77
    assert callable(stream.begin_capture)
    assert callable(stream.end_capture)
    assert callable(cupy.cuda.graph.Graph.launch)
    assert cupy.cuda.runtime.CUDARuntimeError(2).status == 2
    assert issubclass(cupy.cuda.memory.OutOfMemoryError, MemoryError)
    assert cupy.cuda.runtime.runtimeGetVersion() >= 12000
    assert callable(cupy.cuda.runtime.getDeviceProperties)
