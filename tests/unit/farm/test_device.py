"""Jobs for GPUs on machines and in settings that have none."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest

from actors.models import ModelStore
from cluster.preparation import settled, tell_place
from farm.cli import main
from farm.config import Settings, load_settings
from farm.plan import host_frames, place_line
from farm.progress import Display, open_display
from farm.rates import kind_of
from farm.runner import FarmOptions, Lanes, lanes_of
from farm.submission import build_job
from scheduler.errors import GpuUnavailable, SettingInvalid
from scheduler.jobs import JobSpec


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(environment={"HOME": str(tmp_path)}, flags={"device": "cuda"})


@pytest.fixture
def job(settings: Settings, tmp_path: Path) -> JobSpec:
    return build_job(settings, video=tmp_path / "film.mp4", sources=[tmp_path / "face.jpg"])


@pytest.fixture
def display() -> Display:
    return open_display(False, io.StringIO(), io.StringIO(), "job")


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("cluster.session.machine_gpus", lambda: ())


def test_a_job_carries_what_it_is_worked_on_with(job: JobSpec) -> None:
    assert job.device == "cuda"
    assert kind_of(job, 256) != kind_of(replace(job, device="cpu"), 256)


def test_a_job_says_where_its_frames_lie(job: JobSpec) -> None:
    said: list[tuple[str, str]] = []

    def say(event: str, message: str, /, **facts: str) -> None:
        said.append((event, message))

    for device in ("cuda", "cpu"):
        tell_place(replace(job, device=device), say)
    resident = replace(job, device="tensorrt", swap=replace(job.swap, model="hyperswap_1a_256"))
    tell_place(resident, say)
    assert said == [
        ("note", "frames go through host memory: only --device tensorrt runs networks from the "
         "GPU's memory"),
    ]  # fmt: skip
    assert place_line(host_frames(job)) == [f"  {said[0][1]}"]
    assert place_line(host_frames(resident)) == ["  frames stay on the GPU"]
    assert place_line(host_frames(replace(job, device="cpu"))) == []


def test_without_a_gpu_no_ray_is_started(settings: Settings, display: Display) -> None:
    lanes = Lanes(settings, FarmOptions(device="cuda"))
    with pytest.raises(GpuUnavailable, match="no NVIDIA GPU is visible here") as caught:
        lanes.open(display)
    assert "farm doctor" in caught.value.next_step
    assert lanes._session is None


@pytest.mark.parametrize(
    "options",
    [
        FarmOptions(gpus=("0",)),
        FarmOptions(device="cuda", gpus=("0",), ray=False),
        FarmOptions(device="cuda", gpus=("0",), address="10.0.0.1:6379"),
    ],
)
def test_gpus_are_named_only_where_they_can_be_chosen(
    settings: Settings, display: Display, options: FarmOptions
) -> None:
    with pytest.raises(SettingInvalid, match="--device-ids 0"):
        Lanes(settings, options).open(display)


def test_a_lane_for_each_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farm.runner.machine_gpus", lambda: ("a", "b", "c"))
    assert lanes_of(FarmOptions(device="cuda")) == 3
    assert lanes_of(FarmOptions(device="cuda", gpus=("1",))) == 1
    assert lanes_of(FarmOptions(device="cuda", lanes=6)) == 6


def test_quantised_files_are_for_processors(settings: Settings, job: JobSpec) -> None:
    store = ModelStore(settings.cache_dir)
    auto = replace(job, swap=replace(job.swap, precision="auto"))
    assert settled(auto, store).swap.precision == "fp32"
    whole = replace(job, swap=replace(job.swap, precision="int8"))
    with pytest.raises(SettingInvalid, match="int8 with --device cuda"):
        settled(whole, store)


def test_a_farm_for_gpus_says_so_before_it_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWAPFARM_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("SWAPFARM_CACHE_DIR", str(tmp_path / "cache"))
    assert main(["up", "--device", "gpu"]) == 2
    assert "--device gpu" in capfd.readouterr().err
    # The keeper looks for itself: it is another process, here with a GPU that nobody can see.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert main(["up", "--device", "cuda"]) == 3
    assert "gpu.unavailable" in capfd.readouterr().err
