"""A whole lane for a GPU: a real film through CUDA kernels, played by the CPU, and on a GPU."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from actors.gpu import Gpu
from actors.models import ModelStore
from actors.toolbox import LaneKit, Toolbox
from benchmarks.standins import standin_store
from cluster.inline import InlineExecutor
from cluster.service import JobService
from scheduler.errors import GpuUnavailable
from scheduler.jobs import EncoderSettings, JobSpec, JobSummary, SwapSettings
from tests.integration.films import planes, trim
from tests.support.cuda_device import Devices
from tests.support.fake_tensorrt import FakeStreamDevice, FakeTensorRt

# Sanitizers and a busy machine: minutes where seconds are usual.
pytestmark = pytest.mark.timeout(1200)

FRAMES = 3
SWAPPER = "hyperswap_1a_256"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, samples: dict[str, Path]) -> Path:
    folder = tmp_path_factory.mktemp("film")
    return trim(samples["wolfgang_langer"], folder / "film.mp4", FRAMES)


@pytest.fixture(scope="module")
def kit(models: ModelStore) -> LaneKit:
    return LaneKit(cache_dir=models.cache)


@pytest.fixture(scope="module")
def standins(tmp_path_factory: pytest.TempPathFactory, models: ModelStore) -> LaneKit:
    """A kit whose swapper is a tiny stand-in of a network."""
    cache = tmp_path_factory.mktemp("standins")
    names = (SWAPPER, "arcface_w600k_r50")
    return LaneKit(cache_dir=standin_store(cache, names=names, beside=models).cache, batch=2)


def job(film: Path, face: Path, folder: Path, device: str, model: str = "mesh") -> JobSpec:
    folder.mkdir(parents=True)
    return JobSpec(
        job_id=device,
        media=str(film),
        output=str(folder / "out.mkv"),
        folder=str(folder / "job"),
        device=device,
        swap=SwapSettings(model=model, sources=(str(face),)),
        encoder=EncoderSettings(codec="ffv1"),
    )


def run(spec: JobSpec, tools: Toolbox) -> JobSummary:
    service = JobService(
        open_executor=lambda: InlineExecutor(tools.kit, tools),
        check_sources=lambda _: None,
        watch=lambda _: None,
        note=lambda _: None,
        marking={},
    )
    return service.run(spec, keep=True)


def landmarks(spec: JobSpec) -> NDArray[np.float64]:
    column = pq.read_table(spec.tracks).column("landmarks").to_pylist()
    return np.array(column, np.float64)


class FakeClock:
    """Marks of a device that is always done."""

    def __init__(self) -> None:
        self.marks = 0

    def mark(self) -> int:
        self.marks += 1
        return self.marks

    def between(self, one: int, other: int) -> float:
        return 0.5 * (other - one)

    def wait(self) -> None:
        """It is done."""


@pytest.fixture(scope="module")
def on_cpu(
    tmp_path_factory: pytest.TempPathFactory, film: Path, samples: dict[str, Path], kit: LaneKit
) -> JobSpec:
    spec = job(film, samples["astronaut"], tmp_path_factory.mktemp("cpu") / "run", "cpu")
    run(spec, Toolbox(kit))
    return spec


def check(spec: JobSpec, summary: JobSummary, on_cpu: JobSpec) -> None:
    """What a GPU's film has in common with the CPU's."""
    assert summary.swapped_frames == FRAMES
    # Thumbnails and crops differ in their last bits: networks see nearly the same. Seen with the
    # kernels on the CPU: 0.0004 pixels, and no sample of the film more than one code away.
    assert np.abs(landmarks(spec) - landmarks(on_cpu)).max() < 0.02
    films = (planes(Path(path)) for path in (spec.output, on_cpu.output, spec.media))
    for ours, theirs, film in zip(*films, strict=True):
        changed = [a != c for a, c in zip(theirs, film, strict=True)]
        assert sum(int(plane.sum()) for plane in changed) > 1000, "a face was put on"
        for a, b, there in zip(ours, theirs, changed, strict=True):
            difference = np.abs(a.astype(np.int32) - b)
            assert difference.max() <= 2
            assert difference.sum() <= 0.05 * there.sum()


def test_a_lane_on_the_kernels_played_by_the_cpu_makes_the_cpus_film(
    on_cpu: JobSpec,
    film: Path,
    samples: dict[str, Path],
    kit: LaneKit,
    devices: Devices,
    tmp_path: Path,
) -> None:
    device, clock = devices.usual(), FakeClock()
    before = len(device.launched)
    tools = Toolbox(kit, open_gpu=lambda _: Gpu(device=device, clock=clock))
    spec = job(film, samples["astronaut"], tmp_path / "run", "cuda")
    summary = run(spec, tools)
    assert {"thumbnail", "crop_planar8", "add_change8"} <= set(device.launched[before:])
    check(spec, summary, on_cpu)
    for part in ("analyse.detector.detect", "render.swapper", "render.compositor"):
        spent = summary.times[part]
        assert spent.device_ms is not None, part
        assert spent.device_ms > 0


@pytest.mark.slow
def test_a_lane_with_networks_on_tensorrt_makes_the_cpus_film(
    film: Path,
    samples: dict[str, Path],
    standins: LaneKit,
    devices: Devices,
    tmp_path: Path,
) -> None:
    """Kernels played by the CPU, and a TensorRT that computes with ONNX Runtime."""
    memory = FakeStreamDevice()
    gpu = Gpu(device=devices.usual(), stream=memory, tensorrt=FakeTensorRt(memory))
    on_cpu = job(film, samples["astronaut"], tmp_path / "cpu", "cpu", SWAPPER)
    run(on_cpu, Toolbox(standins))
    spec = job(film, samples["astronaut"], tmp_path / "gpu", "tensorrt", SWAPPER)
    check(spec, run(spec, Toolbox(standins, open_gpu=lambda _: gpu)), on_cpu)
    assert memory.copies >= FRAMES, "the swapper's pictures went through TensorRT"


@pytest.mark.cuda
def test_a_lane_on_a_gpu_makes_the_cpus_film(
    gpu: Callable[[], object],
    on_cpu: JobSpec,
    film: Path,
    samples: dict[str, Path],
    kit: LaneKit,
    tmp_path: Path,
) -> None:
    gpu()
    spec = job(film, samples["astronaut"], tmp_path / "run", "cuda")
    summary = run(spec, Toolbox(kit))
    check(spec, summary, on_cpu)
    assert (summary.times["render.compositor"].device_ms or 0.0) > 0


@pytest.mark.cuda
def test_a_lane_on_a_gpu_with_its_networks_there_makes_the_cpus_film(
    gpu: Callable[[], object],
    film: Path,
    samples: dict[str, Path],
    standins: LaneKit,
    tmp_path: Path,
) -> None:
    gpu()
    on_cpu = job(film, samples["astronaut"], tmp_path / "cpu", "cpu", SWAPPER)
    run(on_cpu, Toolbox(standins))
    spec = job(film, samples["astronaut"], tmp_path / "gpu", "tensorrt", SWAPPER)
    check(spec, run(spec, Toolbox(standins)), on_cpu)


def test_without_a_gpu_a_job_for_one_ends_with_one_clear_error(
    film: Path,
    samples: dict[str, Path],
    kit: LaneKit,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    spec = job(film, samples["astronaut"], tmp_path / "run", "cuda")
    with pytest.raises(GpuUnavailable, match="CuPy cannot be imported") as caught:
        run(spec, Toolbox(kit))
    assert caught.value.code == "gpu.unavailable"
    assert "farm doctor" in caught.value.next_step
