"""A whole job in one process, with lanes that lie, tire and cannot work. No model is needed: what
cannot be worked on passes without any."""

from __future__ import annotations

import errno
import shutil
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pytest

import cluster.film_work
import cluster.service
from actors.prober import probe
from actors.toolbox import LaneKit
from cluster.admitting import GpuRoom, disk_bytes, gpu_bytes, require_room
from cluster.executor import Executor
from cluster.film_work import Desk, FilmWork
from cluster.service import JobService
from cluster.stitching import FilmStitch, Stitched
from scheduler.errors import (
    AttemptsExhausted,
    DiskFull,
    DoesNotFit,
    SwapfarmError,
)
from scheduler.events import ExecutorEvent, LaneReady, TaskDone, TaskFailed
from scheduler.jobs import Analysis, EncoderSettings, JobSpec, LaneTask, Segment, SwapSettings
from scheduler.ledger import Ledger
from scheduler.progress import JobSnapshot
from scheduler.retries import Rules
from tests.unit.actors.films import make_film
from tests.unit.cluster.blind_lane import BlindLane

FRAMES = 24


@dataclass
class Lane:
    """One lane whose answers to tasks are given."""

    answer: Callable[[LaneTask], Analysis | SwapfarmError]
    asked: list[LaneTask] = field(default_factory=list)
    told: list[ExecutorEvent] = field(default_factory=lambda: [LaneReady(lane=0)])
    lanes: int = 1

    def start(self, task: LaneTask, lane: int) -> None:
        self.asked.append(task)
        names = {"key": task.key, "attempt": task.attempt, "lane": lane}
        answer = self.answer(task)
        if isinstance(answer, SwapfarmError):
            self.told.append(TaskFailed(**names, error=answer))
        else:
            self.told.append(TaskDone(**names, result=answer))

    def stop(self, lane: int, attempt: int) -> None:
        raise AssertionError(attempt)

    def kill(self, lane: int, why: str) -> None:
        raise AssertionError(why)

    def poll(self, timeout: float) -> list[ExecutorEvent]:
        told, self.told = self.told, []
        return told

    def close(self) -> None:
        return None


@pytest.fixture
def job(tmp_path: Path) -> JobSpec:
    film = make_film(tmp_path / "film.mp4", frames=FRAMES)
    return JobSpec(
        job_id="job",
        media=str(film),
        output=str(tmp_path / "out.mkv"),
        folder=str(tmp_path / "work"),
        swap=SwapSettings(sources=("/nobody.jpg",)),
        encoder=EncoderSettings(codec="ffv1"),
        attempts=3,
    )


def service(lanes: Executor, **options: Callable[..., object]) -> JobService:
    plain: dict[str, Callable[..., object]] = {"watch": lambda _: None}
    return JobService(
        open_executor=lambda: lanes,
        check_sources=lambda _: None,
        note=lambda _: None,
        marking={},
        **(plain | options),  # type: ignore[arg-type]
    )


def lie(task: LaneTask) -> Analysis:
    frames = task.chunk.frames - 1
    return Analysis(chunk=task.chunk.index, faces_path="", frames_path="", frames=frames, faces=0)


def test_a_lane_that_loses_a_frame_has_as_many_tries_as_one_that_fails(
    job: JobSpec, tmp_path: Path
) -> None:
    lane = Lane(lie)
    with pytest.raises(AttemptsExhausted, match="23 frames instead of 24"):
        service(lane).run(job)
    assert len(lane.asked) == job.attempts
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.mp4"]


def test_a_chunk_that_cannot_be_worked_on_fails_or_stays_as_it_was(
    job: JobSpec, tmp_path: Path
) -> None:
    kit = LaneKit(cache_dir=tmp_path / "no models")
    with pytest.raises(AttemptsExhausted, match="it is dark"):
        service(BlindLane(kit)).run(job)
    assert not Path(job.output).exists()
    summary = service(BlindLane(kit)).run(replace(job, on_error="passthrough"))
    assert summary.passed == ((0, FRAMES),)
    assert (summary.faces, summary.swapped_frames, summary.frames) == (0, 0, FRAMES)
    assert probe(job.output).frames == FRAMES


Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(
    ("disk", "error", "words"),
    [
        (Usage(1 << 40, 1 << 40, 1000), DiskFull, "are left"),
        (Usage(1000, 0, 1000), DoesNotFit, "is all there is"),
    ],
)
def test_a_job_for_which_there_is_no_room_is_refused_before_any_lane_is_up(
    job: JobSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    disk: Usage,
    error: type[SwapfarmError],
    words: str,
) -> None:
    lane = Lane(lie)
    kit = LaneKit(cache_dir=tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: disk)
    with pytest.raises(error, match=words):
        service(lane, admit=lambda work: require_room(work, kit, local=True)).run(job)
    assert lane.asked == []
    assert lane.told == [LaneReady(lane=0)]


@pytest.mark.parametrize(("name", "copies"), [("out.mkv", 1), ("out.mp4", 2)])
def test_the_room_that_signing_needs_is_counted(
    name: str, copies: int, job: JobSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A result whose format holds its statement is there twice while it is signed."""
    kit, sizes = LaneKit(cache_dir=tmp_path), list[int]()

    def admit(work: FilmWork) -> None:
        sizes.append(disk_bytes(work))
        require_room(work, kit, local=True)

    spec = replace(job, output=str(tmp_path / name), encoder=EncoderSettings(codec="libx264"))
    picture = 64 * 48 * 0.06 / 8
    wanted = (1 + copies) * int(FRAMES * picture) + 4000 * FRAMES
    for room in (wanted, wanted - 1):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, room=room: Usage(1 << 40, 0, room))
        with pytest.raises(AttemptsExhausted if room == wanted else DiskFull):
            service(Lane(lie), admit=admit).run(spec)
    assert sizes == [wanted] * 2


def test_lanes_that_do_not_fit_into_a_gpu_together_are_refused(
    job: JobSpec, tmp_path: Path
) -> None:
    kit, gib = LaneKit(cache_dir=tmp_path), 1 << 30
    room = GpuRoom(memory=4 * gib, lanes=1, networks=500_000_000)
    for lanes, fits, words in ((1, True, "23 frames"), (2, False, "GPU memory")):
        lane = Lane(lie)

        def admit(work: FilmWork, gpu: GpuRoom = replace(room, lanes=lanes)) -> None:
            require_room(work, kit, local=True, gpu=gpu)

        with pytest.raises(AttemptsExhausted if fits else DoesNotFit, match=words):
            service(lane, admit=admit).run(job)
        assert bool(lane.asked) is fits


def test_frames_that_stay_on_a_gpu_count_there(job: JobSpec, tmp_path: Path) -> None:
    kit = LaneKit(cache_dir=tmp_path)
    swap = replace(job.swap, model="hyperswap_1a_256")
    desk = Desk(check_sources=lambda _: None, note=lambda _: None, marking={})
    host, resident = (
        FilmWork(replace(job, swap=swap, device=device), desk, lambda _: None, look=False)
        for device in ("cuda", "tensorrt")
    )
    more = gpu_bytes(resident, 0, kit) - gpu_bytes(host, 0, kit)
    crops = 512**2 * 4 * (4 + 3)
    # Rows of 64 samples take 256 bytes there, and each plane begins on a multiple of 512.
    assert more == (kit.slots + kit.batch) * (256 * (48 + 24 + 24) + crops)


def test_what_segments_remark_is_told_once(job: JobSpec) -> None:
    told: list[str] = []
    desk = Desk(check_sources=lambda _: None, note=told.append, marking={})
    work = FilmWork(job, desk, lambda _: None, look=False)
    for chunk, remarks in enumerate((("no NVDEC",), ("no NVDEC", "no NVENC"))):
        work.keep(
            Segment(
                chunk=chunk,
                path="",
                frames=1,
                first_pts=0,
                sha256="",
                extradata_sha256="",
                swapped_frames=0,
                remarks=remarks,
            )
        )
    assert told == [f"frames on the GPU: no {what}" for what in ("NVDEC", "NVENC")]


@pytest.mark.parametrize("task", ["stitch", "join", "publish"])
def test_a_film_task_that_finds_no_room_is_done_when_there_is_some(
    task: str, job: JobSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason is told meanwhile, and nothing is counted twice."""
    missing = [OSError(errno.ENOSPC, "No space left on device"), DiskFull("full", "room", "free")]
    write, parts = FilmStitch.write, {"join": "join", "publish": "publish_film"}

    def full(*given: object, **named: object) -> object:
        if missing:
            raise missing.pop(0)
        return publish(*given, **named)

    def counted(
        self: FilmStitch,
        job: JobSpec,
        references: None,
        count: Callable[[pa.Table], None],
        **named: object,
    ) -> Stitched:
        """As if one face were in the first frame."""
        face = {"frame": [0], "person": [0], "box": [[0.0, 0.0, 9.0, 9.0]]}
        count(pa.table(face))
        if missing:
            raise missing.pop(0)
        return write(self, job, references, count, **named)  # type: ignore[arg-type]

    if task == "stitch":
        monkeypatch.setattr(FilmStitch, "write", counted)
    else:
        publish = getattr(cluster.film_work, parts[task])
        monkeypatch.setattr(cluster.film_work, parts[task], full)
    rules = Rules(room_seconds=0.1)
    monkeypatch.setattr(cluster.service, "Ledger", lambda: Ledger(rules))
    told: list[JobSnapshot] = []
    lane = BlindLane(LaneKit(cache_dir=tmp_path / "no models"))
    patient = service(lane, watch=told.append)
    summary = patient.run(replace(job, on_error="passthrough"))
    assert missing == []
    assert probe(job.output).frames == FRAMES
    assert summary.faces == (task == "stitch")
    (first, second) = [each for each in told if each.message]
    assert {first.phase, second.phase} == {task}
    assert "it goes on when there is room" in first.message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.mp4", "out.mkv"]
