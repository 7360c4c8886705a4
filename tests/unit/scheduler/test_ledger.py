"""The ledger is told histories: no clock, no process."""

from __future__ import annotations

import pytest

from scheduler.errors import (
    AttemptsExhausted,
    ChunkPoisoned,
    DiskFull,
    LaneOutOfMemory,
    MediaUnreadable,
)
from scheduler.failure import Failure
from scheduler.history import (
    CancelAsked,
    Delivered,
    LaneDown,
    LaneUp,
    Paused,
    Progressed,
    Resumed,
    Submitted,
    Terms,
    Ticked,
)
from scheduler.instructions import Drop, JobChanged, JobState, Kill, Start, Stop
from scheduler.retries import Rules
from scheduler.tasks import TaskState
from tests.unit.scheduler.told_farm import DIED, ToldFarm, plan, starts


def test_a_job_from_its_submission_to_its_end() -> None:
    farm = ToldFarm()
    farm.lanes("a/0")
    (queued, running, probe) = farm.tell(Submitted(terms=Terms(job="film")))
    assert queued == JobChanged(job="film", state=JobState.QUEUED)
    assert running == JobChanged(job="film", state=JobState.RUNNING)
    assert isinstance(probe, Start)
    assert (probe.kind, probe.lane, probe.lease) == ("probe", "desk", 1)
    assert starts(farm.deliver("film", "probe", plan(2))) == [("analyse", 0, "a/0")]
    assert starts(farm.deliver("film", "analyse")) == [("analyse", 1, "a/0")]
    assert starts(farm.deliver("film", "analyse", chunk=1)) == [("stitch", 0, "desk")]
    assert starts(farm.deliver("film", "stitch", plan(2))) == [("render", 0, "a/0")]
    farm.deliver("film", "render")
    assert starts(farm.deliver("film", "render", chunk=1)) == [("join", 0, "desk")]
    assert starts(farm.deliver("film", "join")) == [("publish", 0, "desk")]
    (ended,) = farm.deliver("film", "publish")
    assert ended == JobChanged(job="film", state=JobState.COMPLETED)
    assert farm.tell(Submitted(terms=Terms(job="film"))) == [], "the same job twice is one job"
    assert farm.ledger.next_due() is None


def test_an_analysis_that_is_there_already_is_not_made_again() -> None:
    farm = ToldFarm()
    farm.lanes("a/0")
    farm.submit(chunks=0)
    assert farm.task("stitch") is TaskState.RUNNING


def test_a_render_that_overlaps_needs_its_own_and_its_neighbours_analysis() -> None:
    farm = ToldFarm()
    farm.lanes(*(f"a/{n}" for n in range(4)))
    farm.submit(chunks=4, overlap=True)
    farm.deliver("film", "analyse", chunk=0)
    assert farm.task("render", 0) is TaskState.BLOCKED
    assert starts(farm.deliver("film", "analyse", chunk=1))[0][:2] == ("render", 0)
    farm.deliver("film", "analyse", chunk=3)
    assert farm.task("render", 3) is TaskState.BLOCKED
    farm.deliver("film", "analyse", chunk=2)
    assert [farm.task("render", n) for n in range(4)] == [TaskState.RUNNING] * 4
    assert farm.task("join") is TaskState.BLOCKED


def test_steps_follow_each_other() -> None:
    farm = ToldFarm()
    farm.lanes("a/0")
    farm.submit(chunks=1, steps=2)
    farm.to_renders(chunks=1)
    farm.deliver("film", "render")
    farm.deliver("film", "join")
    assert farm.ledger.task("film", 1, "probe", 0).state is TaskState.BLOCKED
    (probe,) = farm.deliver("film", "publish")
    assert isinstance(probe, Start)
    assert (probe.step, probe.kind) == (1, "probe")
    assert farm.state() is JobState.RUNNING


def test_passing_failures_are_tried_again_after_a_growing_wait() -> None:
    farm = ToldFarm(Rules(backoff_seconds=2.0))
    farm.lanes("a/0")
    farm.submit(chunks=1)
    assert starts(farm.fail("film", "analyse")) == []
    assert farm.ledger.next_due() == farm.now + 2.0
    assert starts(farm.tell(Ticked(), 1.9)) == []
    assert starts(farm.tell(Ticked(), 0.2)) == [("analyse", 0, "a/0")]
    farm.fail("film", "analyse")
    assert farm.ledger.next_due() == farm.now + 4.0
    assert farm.ledger.state.jobs["film"].retries == 2


def test_a_late_delivery_of_an_old_lease_does_not_count() -> None:
    farm = ToldFarm(Rules(backoff_seconds=0.0))
    farm.lanes("a/0", "b/0")
    farm.submit(chunks=1)
    old = farm.start("film", "analyse")
    farm.tell(LaneDown(lane=old.lane, life=1, failure=Failure.of(DIED)), 5.0)
    new = farm.start("film", "analyse")
    assert new.lane != old.lane
    zombie = Delivered(lease=old.lease, frames=100)
    assert farm.tell(zombie, 5.0) == [Drop(lease=old.lease, why="the lease was over")]
    assert farm.task("analyse") is TaskState.RUNNING
    assert starts(farm.tell(Delivered(lease=new.lease, frames=100), 5.0)) == [("stitch", 0, "desk")]
    assert farm.tell(Delivered(lease=new.lease, frames=100)) == [], "twice: its files stay"
    assert farm.ledger.state.dropped == 1


def test_a_failure_that_would_come_again_ends_the_job_at_once() -> None:
    farm = ToldFarm()
    farm.lanes("a/0", "a/1")
    farm.submit(chunks=3)
    error = MediaUnreadable("broken packet", "a readable film", "make a new copy")
    out = farm.fail("film", "analyse", 0, error)
    assert out == [
        Stop(lease=farm.start("film", "analyse", 1).lease, lane="a/1"),
        JobChanged(job="film", state=JobState.FAILED, failure=Failure.of(error)),
    ]
    assert isinstance(out[1], JobChanged)
    assert out[1].failure is not None
    assert isinstance(out[1].failure.error(), MediaUnreadable)


def test_attempts_are_bounded_and_the_last_cause_is_named() -> None:
    farm = ToldFarm(Rules(backoff_seconds=0.0))
    farm.lanes("a/0")
    farm.submit(chunks=1, attempts=3)
    for _ in range(3):
        farm.fail("film", "analyse")
    failure = farm.ledger.state.jobs["film"].failure
    assert failure is not None
    assert failure.code == AttemptsExhausted.code
    assert "swapper process died" in failure.found
    assert "3 times" in failure.found


def test_a_chunk_that_fails_on_three_nodes_is_poison() -> None:
    farm = ToldFarm(Rules(backoff_seconds=0.0))
    farm.lanes("a/0", "b/0", "c/0", "d/0")
    farm.submit(chunks=1)
    farm.to_renders(chunks=1)
    for _ in range(3):
        farm.fail("film", "render")
    failure = farm.ledger.state.jobs["film"].failure
    assert failure is not None
    assert failure.code == ChunkPoisoned.code
    assert "frames 0 to 99" in failure.found


def test_a_poison_chunk_keeps_its_frames_where_that_is_wished() -> None:
    farm = ToldFarm(Rules(backoff_seconds=0.0))
    farm.lanes("a/0", "b/0", "c/0")
    farm.submit(chunks=2, on_error="passthrough")
    farm.to_renders()
    farm.deliver("film", "render")
    for _ in range(3):
        farm.fail("film", "render", 1)
    assert farm.start("film", "render", 1).passthrough
    farm.deliver("film", "render", chunk=1)
    assert farm.ledger.state.jobs["film"].passed() == [(0, 100, 200)]
    assert farm.state() is JobState.RUNNING


def test_a_lane_that_loads_or_works_slowly_is_not_taken_for_hung() -> None:
    farm = ToldFarm()
    farm.lanes("a/0")
    farm.submit(chunks=1)
    slow = farm.start("film", "analyse")
    assert farm.tell(Ticked(), 590.0) == [], "it loads networks"
    for beats in range(1, 11):
        farm.tell(Progressed(lease=slow.lease, frames=0, beats=beats), 28.0)
        assert farm.tell(Ticked()) == [], "one frame of many faces"
    (kill, *_) = farm.tell(Ticked(), 31.0)
    assert isinstance(kill, Kill)
    farm.lanes("b/0")
    farm.tell(Ticked(), 1.0)
    again = farm.start("film", "analyse")
    farm.tell(Progressed(lease=again.lease, frames=1, beats=2))
    assert farm.tell(Ticked(), 59.0) == [], "what was killed for it may be slow: twice the time"
    assert any(isinstance(each, Kill) for each in farm.tell(Ticked(), 2.0))


def test_out_of_memory_halves_the_batch_before_it_changes_the_node() -> None:
    farm = ToldFarm(Rules(backoff_seconds=0.0))
    farm.lanes("a/0", "b/0")
    farm.submit(chunks=1)
    memory = LaneOutOfMemory("GPU memory ran out", "more", "nothing")
    first = farm.start("film", "analyse")
    farm.tell(Paused(job="film"))
    farm.fail("film", "analyse", 0, memory)
    assert farm.ledger.task("film", 0, "analyse", 0).batch_divisor == 2
    assert farm.ledger.task("film", 0, "analyse", 0).avoid_until == farm.now
    farm.tell(Resumed(job="film"))
    second = farm.start("film", "analyse")
    assert second.batch_divisor == 2
    farm.fail("film", "analyse", 0, memory)
    third = farm.start("film", "analyse")
    assert third.batch_divisor == 4
    assert third.lane not in {first.lane, second.lane} or first.lane != second.lane


def test_a_failed_task_waits_a_while_for_another_node() -> None:
    farm = ToldFarm(Rules(backoff_seconds=0.0, avoid_seconds=60.0))
    farm.lanes("a/0", "b/0")
    farm.submit("busy", chunks=1)
    farm.submit("film", chunks=1)
    node = farm.start("film", "analyse").lane
    assert starts(farm.fail("film", "analyse")) == [], "its node is idle, but it failed there"
    assert starts(farm.tell(Ticked(), 60.1)) == [("analyse", 0, node)], "better than not at all"


def test_a_node_on_which_different_jobs_fail_is_blocked_and_forgiven() -> None:
    farm = ToldFarm(Rules(backoff_seconds=0.0, forgive_seconds=300.0))
    farm.lanes("good/0", "bad/0")
    farm.tell(LaneDown(lane="good/0", life=1, failure=Failure.of(DIED)))
    for job in ("one", "two", "three", "four"):
        farm.submit(job, chunks=1)
    farm.tell(LaneUp(lane="good/0", life=2, node="good"))
    for _ in range(3):
        start = next(s for s in farm.running.values() if s.lane == "bad/0")
        farm.fail(start.job, "analyse")
    bad = farm.ledger.state.roster.nodes["bad"]
    assert len(bad.failed_jobs) == 3
    assert bad.blocked_until == farm.now + 300.0
    assert all(start.lane != "bad/0" for start in farm.running.values())
    farm.tell(Ticked(), 301.0)
    assert bad.usable
    assert any(start.lane == "bad/0" for start in farm.running.values())


def test_a_lane_that_does_not_move_is_killed() -> None:
    farm = ToldFarm()
    farm.lanes("a/0", "b/0")
    farm.submit(chunks=1)
    hung = farm.start("film", "analyse")
    farm.tell(Progressed(lease=hung.lease, frames=40), 20.0)
    assert farm.tell(Progressed(lease=hung.lease, frames=40), 29.0) == []
    kill = next(i for i in farm.tell(Ticked(), 1.1) if isinstance(i, Kill))
    assert (kill.lane, kill.life) == (hung.lane, 1)
    assert "frame" in str(farm.ledger.task("film", 0, "analyse", 0).last)
    assert farm.tell(LaneDown(lane=hung.lane, life=1, failure=Failure.of(DIED))) == []
    assert starts(farm.tell(Ticked(), 1.0))[0][2] != hung.lane
    dropped = farm.tell(Delivered(lease=hung.lease, frames=100), 30.0)
    assert dropped == [Drop(lease=hung.lease, why="the lease was over")]


def test_what_a_lane_has_said_counts_however_late_it_is_heard() -> None:
    farm = ToldFarm()
    farm.lanes("a/0", "b/0")
    farm.submit(chunks=2)
    farm.deliver("film", "analyse", chunk=0, after=9000.0)
    farm.deliver("film", "analyse", chunk=1, after=0.0)
    assert farm.task("stitch") is TaskState.RUNNING
    assert not any(isinstance(i, Kill) for i in farm.told)


def test_a_slow_chunk_may_take_as_long_as_its_frames_move() -> None:
    farm = ToldFarm()
    farm.lanes("a/0")
    farm.submit(chunks=1)
    slow = farm.start("film", "analyse")
    for frame in range(1, 20):
        assert farm.tell(Progressed(lease=slow.lease, frames=frame), 29.0) == []
    farm.deliver("film", "analyse")
    assert farm.task("analyse") is TaskState.DONE


def test_the_first_of_two_attempts_at_a_straggler_counts() -> None:
    farm = ToldFarm()
    farm.lanes("a/0", "b/0")
    farm.submit(chunks=3)
    farm.deliver("film", "analyse", chunk=0)
    farm.deliver("film", "analyse", chunk=1, after=0.0)
    slow = farm.start("film", "analyse", 2)
    farm.tell(Progressed(lease=slow.lease, frames=10), 15.0)
    out = farm.tell(Ticked(), 6.0)
    assert [i.chunk for i in out if isinstance(i, Start)] == [2]
    second = farm.start("film", "analyse", 2)
    assert second.lane != slow.lane
    done = farm.tell(Delivered(lease=second.lease, frames=100), 10.0)
    assert done[0] == Stop(lease=slow.lease, lane=slow.lane)
    late = farm.tell(Delivered(lease=slow.lease, frames=100), 1.0)
    assert late == [Drop(lease=slow.lease, why="the lease was given up")]
    assert farm.task("stitch") is TaskState.RUNNING


def test_a_lane_that_does_not_stop_is_killed() -> None:
    farm = ToldFarm()
    farm.lanes("a/0")
    farm.submit(chunks=1)
    lease = farm.start("film", "analyse").lease
    assert Stop(lease=lease, lane="a/0") in farm.tell(CancelAsked(job="film"))
    assert farm.state() is JobState.CANCELLED
    assert farm.tell(Ticked(), 9.0) == []
    (kill,) = farm.tell(Ticked(), 1.1)
    assert isinstance(kill, Kill)


@pytest.mark.parametrize("frames", [99, 101, 0])
def test_another_number_of_frames_is_an_error(frames: int) -> None:
    farm = ToldFarm()
    farm.lanes("a/0")
    farm.submit(chunks=1)
    lease = farm.start("film", "analyse").lease
    (drop,) = farm.tell(Delivered(lease=lease, frames=frames), 10.0)
    assert isinstance(drop, Drop)
    assert farm.task("analyse") is TaskState.WAITING


def test_what_took_no_time_is_an_error() -> None:
    farm = ToldFarm()
    farm.lanes("a/0")
    farm.submit(chunks=1)
    lease = farm.start("film", "analyse").lease
    (drop,) = farm.tell(Delivered(lease=lease, frames=100), 0.005)
    assert isinstance(drop, Drop)
    assert farm.task("analyse") is TaskState.WAITING


def test_a_full_disk_is_waited_for_and_blames_neither_chunk_nor_node() -> None:
    farm = ToldFarm()
    farm.lanes("a/0")
    farm.submit(chunks=1)
    full = DiskFull("no room to write 'segment'", "room", "free some")
    told = farm.fail("film", "analyse", error=full)
    assert told == [JobChanged(job="film", state=JobState.RUNNING, reason=full.found)]
    for _ in range(20):  # more often than any attempt is made, or node is trusted
        assert full.found in farm.ledger.why_waiting("film")
        assert farm.tell(Ticked(), 5.0) == []
        assert starts(farm.tell(Ticked(), 5.0)) == [("analyse", 0, "a/0")]
        assert farm.ledger.why_waiting("film") == ""
        assert farm.fail("film", "analyse", error=full) == [], "it is said once"
    farm.tell(Ticked(), 10.0)
    assert starts(farm.deliver("film", "analyse")) == [("stitch", 0, "desk")]
    assert farm.ledger.state.jobs["film"].retries == 0
