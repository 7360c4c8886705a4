"""A whole lane for a GPU: a real film through CUDA kernels, played by the CPU, and on a GPU."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.gpu import Gpu
from actors.models import ModelStore
from actors.toolbox import LaneKit, Toolbox
from scheduler.errors import GpuUnavailable
from scheduler.jobs import JobSpec
from tests.integration.films import trim
from tests.integration.gpu_jobs import check, job, run
from tests.support.cuda_device import Devices

# Sanitizers and a busy machine: minutes where seconds are usual.
pytestmark = pytest.mark.timeout(1200)

FRAMES = 3


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, samples: dict[str, Path]) -> Path:
    folder = tmp_path_factory.mktemp("film")
    return trim(samples["wolfgang_langer"], folder / "film.mp4", FRAMES)


@pytest.fixture(scope="module")
def kit(models: ModelStore) -> LaneKit:
    return LaneKit(cache_dir=models.cache)


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
