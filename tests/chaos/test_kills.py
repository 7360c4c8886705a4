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
PHASES = ("analyse", "render")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, samples: dict[str, Path]) -> Path:
    folder = tmp_path_factory.mktemp("film")
    return trim(samples["wolfgang_langer"], folder / "film.mp4", FRAMES)


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with Session.open("local", cpus=2) as session:
        yield session


class Kill:
    """Kills one stage's process when so many frames of a phase are done; once in each phase."""

    def __init__(self, stage: str, frames: int) -> None:
        self.stage, self.frames = stage, frames
        self.executor: RayExecutor | None = None
        self.killed: dict[str, int] = {}
        """The process by the phase."""

    def __call__(self, snapshot: JobSnapshot) -> None:
        phase = snapshot.phase
        known = phase in self.killed or phase not in PHASES
        if known or snapshot.frames_done < self.frames or not self.executor:
            return
        pids = self.executor.pids().get(0, {})
        if self.stage in pids:  # else its lane is just being built
            self.killed[phase] = pids[self.stage]
            os.kill(pids[self.stage], signal.SIGKILL)


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


@pytest.mark.timeout(600)
@pytest.mark.parametrize("stage", STAGES)
def test_kill_minus_nine_costs_a_retry_and_never_a_frame(
    stage: str,
    film: Path,
    samples: dict[str, Path],
    models: ModelStore,
    session: Session,
    undisturbed: str,
    tmp_path: Path,
) -> None:
    spec = job(film, samples["astronaut"], tmp_path / "run")
    kill = Kill(stage, 30)
    shm = set(os.listdir("/dev/shm"))
    summary = disturbed(spec, LaneKit(cache_dir=models.cache), session, kill)
    assert sorted(kill.killed) == sorted(PHASES), "the stage was not killed"
    assert summary.retries == len(PHASES)
    assert summary.frames == FRAMES
    assert Path(spec.hashes_output).read_text() == undisturbed
    assert not any(map(psutil.pid_exists, kill.killed.values()))
    assert set(os.listdir("/dev/shm")) <= shm
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["hashes.tsv", "out.mp4", "run"]
