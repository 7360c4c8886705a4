"""Two people, told apart, in a steadied film: chunks, lanes and kills cannot be seen in it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actors.models import ModelStore
from actors.pipeline import lane_processes
from actors.sources import read_picture
from actors.toolbox import LaneKit
from cluster.executor import Executor
from cluster.inline import InlineExecutor
from cluster.ray_executor import RayExecutor
from cluster.service import JobService
from cluster.session import Session
from scheduler.jobs import EncoderSettings, JobSpec, Role, SwapSettings
from scheduler.progress import JobSnapshot
from tests.integration.two_people import HEADS, head, two_people

pytestmark = pytest.mark.ray

WHOLE = 600.0
"""Seconds of a chunk that is longer than any film here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What must not depend on how a job was worked off."""

    tracks: pa.Table
    """Landmarks, tracks and whose face each gets."""
    hands: pa.Table
    people: tuple[object, ...]
    frames: str
    """A hash of each frame as it was encoded."""


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with Session.open("local", cpus=3) as session:
        yield session


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory, samples: dict[str, Path]) -> dict[str, Path]:
    """Two people of the group photo who are not in the film."""
    group, folder = read_picture(samples["multi_face"]), tmp_path_factory.mktemp("faces")
    cuts = {"A": group[13:213, 190:330], "B": group[237:457, 661:821]}
    for name, cut in cuts.items():
        cv2.imwrite(str(folder / f"{name}.png"), np.ascontiguousarray(cut[..., ::-1]))
    return {name: folder / f"{name}.png" for name in cuts}


def film(path: Path, samples: dict[str, Path], frames: int) -> Path:
    heads = {name: head(samples[name], box, 230) for name, box in HEADS.items()}
    two_people(path, heads["multi_face"], heads["astronaut"], frames)
    return path


class Work:
    """Works the same job off in different ways, each in a folder of its own.

    Args:
        session: where lanes run.
        kit: of the lanes.
        media: the film.
        faces: pictures for A and B.
        folder: for all jobs.
    """

    def __init__(
        self, session: Session, kit: LaneKit, media: Path, faces: dict[str, Path], folder: Path
    ) -> None:
        self._session = session
        self._kit = kit
        self._folder = folder
        cast = tuple(Role(identity=name, sources=(str(faces[name]),)) for name in sorted(faces))
        self._job = JobSpec(
            job_id="same",
            media=str(media),
            output="",
            folder="",
            swap=SwapSettings(cast=cast, crop_size=128),
            identities=True,
            encoder=EncoderSettings(codec="ffv1"),
        )
        self._count = 0

    def __call__(self, seconds: float, lanes: int, kill: tuple[str, int] | None = None) -> Outcome:
        """Without Ray for 0 lanes; with ``kill`` a lane dies at that frame of that phase."""
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir()
        job = replace(
            self._job,
            output=str(folder / "out.mp4"),
            folder=str(folder / "job"),
            chunk_seconds=seconds,
            hashes_output=str(folder / "hashes.tsv"),
        )
        assert job.stabilize.flow
        assert job.stabilize.guard
        executors: list[RayExecutor] = []

        def open_executor() -> Executor:
            if not lanes:
                return InlineExecutor(self._kit)
            executors.append(RayExecutor(self._session, self._kit, lanes, lane_processes(1)))
            return executors[0]

        killed = []

        def watch(snapshot: JobSnapshot) -> None:
            if kill and not killed and snapshot.phase == kill[0]:
                pids = executors[0].pids()
                if snapshot.frames_done >= kill[1] and pids:
                    killed.append(next(iter(pids[max(pids)].values())))
                    os.kill(killed[0], signal.SIGKILL)

        service = JobService(
            open_executor=open_executor,
            check_sources=lambda _: None,
            watch=watch,
            note=lambda _: None,
            marking={},
        )
        summary = service.run(job, keep=True)
        assert len(killed) == bool(kill)
        assert summary.retries <= bool(kill)
        assert summary.cuts == 2
        table = pq.read_table(job.tracks).combine_chunks()
        people = table.group_by(["track", "person"]).aggregate([("frame", "count")])
        return Outcome(
            tracks=table,
            hands=pq.read_table(job.hands).combine_chunks(),
            people=tuple(sorted(map(str, people.to_pylist()))),
            frames=Path(job.hashes_output).read_text(),
        )


def check(
    work: Work,
    tracks: int,
    lengths: Sequence[float],
    lanes: Sequence[int],
    kills: Sequence[tuple[str, int]],
) -> None:
    """Equal tables for all lengths and lanes, equal frames for all lanes of one length."""
    first = work(WHOLE, 0)
    assert set(first.tracks.column("person").to_pylist()) == {0, 1}
    assert len(first.people) == tracks
    for at, seconds in enumerate(lengths):
        ways = [work(seconds, number) for number in lanes]
        ways += [work(seconds, 2, kill) for kill in kills if at == 0]
        for each in ways:
            assert each.people == first.people
            assert each.tracks.equals(first.tracks)
            assert each.hands.equals(first.hands)
            assert each.frames == ways[0].frames


def test_tables_people_and_frames_are_the_same(
    session: Session,
    models: ModelStore,
    samples: dict[str, Path],
    faces: dict[str, Path],
    tmp_path: Path,
) -> None:
    media = film(tmp_path / "film.mp4", samples, 36)
    work = Work(session, LaneKit(cache_dir=models.cache), media, faces, tmp_path)
    check(work, 4, [1.0], [3], [("render", 30)])  # two people in each of two shots


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_all_lengths_and_lanes_and_a_kill_in_each_phase(
    session: Session,
    models: ModelStore,
    samples: dict[str, Path],
    faces: dict[str, Path],
    tmp_path: Path,
) -> None:
    media = film(tmp_path / "film.mp4", samples, 170)
    work = Work(session, LaneKit(cache_dir=models.cache), media, faces, tmp_path)
    # One passes behind the other, and is numbered anew.
    check(work, 5, [1.0, 3.0, 8.0, WHOLE], [0, 1, 2, 3], [("analyse", 60), ("render", 60)])
