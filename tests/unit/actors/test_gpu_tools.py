"""The tools of jobs for GPUs: which kernels and which runtime they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from actors.gpu import Gpu
from actors.inference.tensorrt import TensorRt
from actors.toolbox import LaneKit, Toolbox
from benchmarks.standins import standin_store
from kernels.cpu import CpuKernels
from kernels.cuda.backend import CudaKernels
from scheduler.errors import GpuUnavailable
from tests.support.cuda_device import Devices
from tests.support.fake_tensorrt import FakeStreamDevice, FakeTensorRt
from tests.support.played_gpu import PlayedGpu

SWAPPER = "hyperswap_1a_256"


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> LaneKit:
    cache = tmp_path_factory.mktemp("standins")
    return LaneKit(cache_dir=standin_store(cache, names=(SWAPPER,)).cache, batch=2)


def test_a_gpu_is_opened_once_and_only_when_it_is_needed(kit: LaneKit, devices: Devices) -> None:
    opened: list[Path] = []

    def open_gpu(cache_dir: Path) -> Gpu:
        opened.append(cache_dir)
        return Gpu(device=devices.usual())

    on_cpu = Toolbox(kit, open_gpu=open_gpu)
    assert isinstance(on_cpu.kernels, CpuKernels)
    assert on_cpu.on("cpu") is on_cpu
    on_gpu = on_cpu.on("cuda")
    assert opened == []
    assert isinstance(on_gpu.kernels, CudaKernels)
    assert on_gpu.kernels is on_gpu.kernels
    assert opened == [kit.cache_dir]
    assert isinstance(on_gpu.on("cpu").kernels, CpuKernels)


def test_networks_of_a_lane_run_on_tensorrt(kit: LaneKit, devices: Devices) -> None:
    memory = FakeStreamDevice()
    gpu = Gpu(device=devices.usual(), stream=memory, tensorrt=FakeTensorRt(memory))
    network = Toolbox(kit, "tensorrt", lambda _: gpu).network(SWAPPER)
    assert isinstance(network, TensorRt)
    assert network.largest == kit.batch
    rng = np.random.default_rng(0)
    inputs = [rng.random((3, *spec.shape), np.float32) for spec in network.inputs]
    found, wanted = network.run(*inputs), Toolbox(kit).network(SWAPPER).run(*inputs)
    assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))
    assert memory.copies > 0


def test_a_gpu_stays_what_it_is_whatever_its_jobs_are_for(kit: LaneKit, played: PlayedGpu) -> None:
    opened: list[Path] = []

    def open_gpu(cache_dir: Path) -> Gpu:
        opened.append(cache_dir)
        return played.gpu

    tools = Toolbox(kit, "tensorrt", open_gpu)
    lane = tools._lane
    assert tools.on("cpu").on("cuda").on("tensorrt")._lane is lane
    assert len(opened) == 1
    tools.close()
    assert tools._lane is not lane
    tools.close()


def test_frames_stay_on_the_gpu_only_with_a_driver(kit: LaneKit, devices: Devices) -> None:
    memory = FakeStreamDevice()
    tools = Toolbox(kit, "tensorrt", lambda _: Gpu(device=devices.usual(), stream=memory))
    with pytest.raises(GpuUnavailable, match="memory cannot be shared"):
        _ = tools._lane


def test_a_gpu_without_a_stream_to_give_is_an_error(kit: LaneKit, devices: Devices) -> None:
    tools = Toolbox(kit, "tensorrt", lambda _: Gpu(device=devices.usual()))
    with pytest.raises(GpuUnavailable, match="stream"):
        tools.network(SWAPPER)
