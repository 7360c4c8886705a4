"""Lanes that are lent to one job after the other: up once, and what they did is known."""

from __future__ import annotations

from pathlib import Path

import pytest

import cluster.stopwatch
from actors.prober import probe
from cluster.stopwatch import HeldLanes
from scheduler.chunks import Chunk
from scheduler.errors import ClusterUnreachable, LaneDied
from scheduler.events import ExecutorEvent, LaneLost, LaneReady, TaskDone, TaskFailed
from scheduler.jobs import AnalyseTask, JobSpec, LaneTask, RenderTask, Segment, SwapSettings
from tests.unit.actors.films import make_film


class Script:
    """An executor that tells what it is told to tell, at a clock of its own."""

    def __init__(self) -> None:
        self.lanes = 2
        self.now = 0.0
        self.coming: list[list[ExecutorEvent]] = []
        self.started: list[int] = []
        self.closed = False

    def monotonic(self) -> float:
        return self.now

    def start(self, task: LaneTask, lane: int) -> None:
        self.started.append(lane)

    def stop(self, lane: int, attempt: int) -> None: ...

    def kill(self, lane: int, why: str) -> None: ...

    def poll(self, timeout: float) -> list[ExecutorEvent]:
        self.now += 1.0
        return self.coming.pop(0) if self.coming else []

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    script = Script()
    monkeypatch.setattr(cluster.stopwatch.time, "monotonic", script.monotonic)
    return script


@pytest.fixture
def job(tmp_path: Path) -> JobSpec:
    film = make_film(tmp_path / "film.mp4", frames=8)
    return JobSpec(job_id="j", media=str(film), output="/o.mp4", folder="/w", swap=SwapSettings())


def render(job: JobSpec, number: int, warmup: int = 0) -> RenderTask:
    chunk = Chunk(index=number, start=4 * number, stop=4 * number + 4, warmup=warmup)
    return RenderTask(
        job=job, index=probe(job.media), chunk=chunk, attempt=number, faces=1, crop_size=64
    )


def done(number: int, lane: int) -> TaskDone:
    result = Segment(
        chunk=number,
        path="",
        frames=4,
        first_pts=0,
        sha256="",
        extradata_sha256="",
        swapped_frames=0,
    )
    return TaskDone(key=f"render/{number}", attempt=number, lane=lane, result=result)


def test_each_job_hears_which_lanes_are_up_and_none_closes_them(script: Script) -> None:
    held = HeldLanes(script)
    up = [LaneReady(lane=0, node="a"), LaneReady(lane=1, node="b")]
    script.coming = [[up[0]], [], [up[1]]]
    assert held.wait(60.0) == 3.0
    for _ in range(2):
        held.begin()
        assert held.poll(0.2) == up
        assert held.poll(0.2) == []
        held.close()
    assert not script.closed
    lost = LaneLost(lane=0, error=LaneDied("gone", "a lane", "none"))
    script.coming = [[lost]]
    held.poll(0.2)
    held.begin()
    assert held.poll(0.2) == [up[1]]


def test_lanes_that_do_not_come_up_are_an_error(script: Script) -> None:
    script.coming = [[LaneReady(lane=0)]]
    with pytest.raises(ClusterUnreachable, match="1 of 2 lanes"):
        HeldLanes(script).wait(5.0)


def test_what_lanes_spend_their_time_on(script: Script, job: JobSpec) -> None:
    held = HeldLanes(script)
    held.begin()
    look = AnalyseTask(
        job=job, index=probe(job.media), chunk=Chunk(index=0, start=0, stop=8), attempt=9
    )
    held.start(look, 0)
    held.start(render(job, 0), 1)
    failed = TaskFailed(key="render/0", attempt=0, lane=1, error=LaneDied("gone", "a lane", "none"))
    analysis = TaskDone(key="analyse/0", attempt=9, lane=0, result=done(0, 0).result)
    script.coming = [[analysis, failed]]
    held.poll(0.2)
    script.now += 0.25  # the ledger thinks
    held.start(render(job, 1, warmup=2), 0)
    script.coming = [[], [done(1, 0)], []]
    for _ in range(3):
        held.poll(0.2)
    held.start(render(job, 0), 0)  # after a while without work
    script.coming = [[done(0, 0)]]
    held.poll(0.2)
    first, second = held.spells
    assert (first.lane, first.frames, first.warmup) == (0, 4, 2)
    assert (first.given, first.done, first.gap) == (1.25, 3.25, 0.25)
    assert second.gap is None, "it was out of work: that is not the scheduler's time"
    assert second.done - second.given == 1.0
    script.coming = [[done(1, 0)]]
    held.start(render(job, 1, warmup=2), 0)
    held.poll(0.2)
    assert held.spells[2].warmup == 0, "the lane has these frames' faces still"
    held.begin()
    assert held.spells == []
