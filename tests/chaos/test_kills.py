"""Real processes, killed for real: the film comes out the same and nothing is left behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from actors.models import ModelStore
from actors.pipeline import STAGES, lane_processes
from actors.toolbox import LaneKit
from cluster.inline import InlineExecutor
from cluster.ray_executor import RayExecutor
from cluster.service import JobService
from cluster.session import Session
from scheduler.jobs import EncoderSettings, JobSpec, JobSummary, SwapSettings
from scheduler.progress import JobSnapshot
from tests.integration.films import trim

pytestmark = pytest.mark.ray

FRAMES = 96


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, samples: dict[str, Path]) -> Path:
    folder = tmp_path_factory.mktemp("film")
    return trim(samples["wolfgang_langer"], folder / "film.mp4", FRAMES)


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with Session.open("local", cpus=2) as session:
        yield session


class Kill:
    """Kills one stage's process when so many frames of a phase are done; once."""

    def __init__(self, stage: str, phase: str, frames: int) -> None:
        self.stage, self.phase, self.frames = stage, phase, frames
        self.executor: RayExecutor | None = None
        self.killed = 0

    def __call__(self, snapshot: JobSnapshot) -> None:
        if self.killed or snapshot.phase != self.phase or snapshot.frames_done < self.frames:
            return
        assert self.executor
        self.killed = self.executor.pids()[0][self.stage]
        os.kill(self.killed, signal.SIGKILL)


def job(film: Path, face: Path, folder: Path) -> JobSpec:
    folder.mkdir()
    return JobSpec(
        job_id="chaos",
        media=str(film),
        output=str(folder / "out.mp4"),
        folder=str(folder / "job"),
        swap=SwapSettings(sources=(str(face),)),
        encoder=EncoderSettings(codec="ffv1"),
        chunk_seconds=1.0,
        hashes_output=str(folder / "hashes.tsv"),
    )


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory,
    film: Path,
    samples: dict[str, Path],
    models: ModelStore,
) -> str:
    """The hashes of the frames of a run in one process."""
    spec = job(film, samples["astronaut"], tmp_path_factory.mktemp("calm") / "run")
    kit = LaneKit(cache_dir=models.cache)
    service = JobService(
        open_executor=lambda: InlineExecutor(kit),
        check_sources=lambda _: None,
        watch=lambda _: None,
        note=lambda _: None,
        marking={},
    )
    summary = service.run(spec)
    assert summary.retries == 0
    return Path(spec.hashes_output).read_text()


def disturbed(spec: JobSpec, kit: LaneKit, session: Session, kill: Kill) -> JobSummary:
    def open_executor() -> RayExecutor:
        kill.executor = RayExecutor(session, kit, 1, lane_processes(5))
        return kill.executor

    service = JobService(
        open_executor=open_executor,
        check_sources=lambda _: None,
        watch=kill,
        note=lambda _: None,
        marking={},
    )
    return service.run(spec)


@pytest.mark.parametrize("phase", ["analyse", "render"])
@pytest.mark.parametrize("stage", STAGES)
def test_kill_minus_nine_costs_a_retry_and_never_a_frame(
    stage: str,
    phase: str,
    film: Path,
    samples: dict[str, Path],
    models: ModelStore,
    session: Session,
    undisturbed: str,
    tmp_path: Path,
) -> None:
    spec = job(film, samples["astronaut"], tmp_path / "run")
    kill = Kill(stage, phase, 30)
    shm = set(os.listdir("/dev/shm"))
    summary = disturbed(spec, LaneKit(cache_dir=models.cache), session, kill)
    assert kill.killed, "the stage was never killed"
    assert summary.retries == 1
    assert summary.frames == FRAMES
    assert Path(spec.hashes_output).read_text() == undisturbed
    assert not psutil.pid_exists(kill.killed)
    assert set(os.listdir("/dev/shm")) <= shm
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["hashes.tsv", "out.mp4", "run"]
