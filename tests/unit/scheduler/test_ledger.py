"""The ledger is told histories: no clock, no process."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from scheduler.errors import (
    AttemptsExhausted,
    ChunkPoisoned,
    LaneDied,
    LaneOutOfMemory,
    MediaUnreadable,
    SwapfarmError,
)
from scheduler.failure import Failure
from scheduler.history import (
    CancelAsked,
    Delivered,
    Event,
    Failed,
    Held,
    LaneDown,
    LaneUp,
    Limited,
    Needs,
    NodeDrained,
    NodeForgiven,
    OutputLost,
    Paused,
    Prioritised,
    Progressed,
    Released,
    Removed,
    Requeued,
    Restarted,
    Resumed,
    Retried,
    Submitted,
    Terms,
    Ticked,
    Weighted,
)
from scheduler.instructions import Drop, Instruction, JobChanged, JobState, Kill, Start, Stop
from scheduler.invariants import broken
from scheduler.ledger import Ledger
from scheduler.retries import Rules
from scheduler.tasks import Kind, TaskState

DIED = LaneDied("the swapper process died", "a living lane", "nothing: it is tried again")


@dataclass
class Farm:
    """A ledger with a clock, told one thing after the other. Each chunk takes 10 s."""

    rules: Rules = field(default_factory=Rules)
    now: float = 0.0
    running: dict[int, Start] = field(default_factory=dict)
    told: list[Instruction] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.rules)

    def tell(self, event: Event, after: float = 0.0) -> list[Instruction]:
        self.now += after
        out = self.ledger.handle(event, self.now)
        assert list(broken(self.ledger.state)) == []
        for each in out:
            if isinstance(each, Start):
                self.running[each.lease] = each
        self.told += out
        return out

    def lanes(self, *names: str, memory: int = 0, labels: tuple[str, ...] = ()) -> None:
        self.tell(LaneUp(lane="desk", life=1, node="desk", role="film"))
        for name in names:
            node = name.partition("/")[0]
            self.tell(LaneUp(lane=name, life=1, node=node, gpu_memory=memory, labels=labels))

    def submit(self, job: str = "film", chunks: int = 2, **terms: object) -> None:
        """Submit a job and probe its film."""
        self.tell(Submitted(terms=Terms(job=job, **terms)))  # type: ignore[arg-type]
        overlap = bool(terms.get("overlap"))
        self.deliver(job, "probe", plan(chunks), plan(chunks) if overlap else ())

    def start(self, job: str, kind: Kind, chunk: int = 0) -> Start:
        """The latest start of a task."""
        found = [s for s in self.running.values() if (s.job, s.kind, s.chunk) == (job, kind, chunk)]
        return found[-1]

    def deliver(
        self,
        job: str,
        kind: Kind,
        chunks: tuple[tuple[int, int], ...] = (),
        renders: tuple[tuple[int, int], ...] = (),
        chunk: int = 0,
        after: float = 10.0,
    ) -> list[Instruction]:
        start = self.start(job, kind, chunk)
        del self.running[start.lease]
        frames = self.ledger.task(job, start.step, kind, chunk).frames
        event = Delivered(lease=start.lease, frames=frames, chunks=chunks, renders=renders)
        return self.tell(event, after)

    def fail(
        self, job: str, kind: Kind, chunk: int = 0, error: SwapfarmError = DIED
    ) -> list[Instruction]:
        start = self.start(job, kind, chunk)
        del self.running[start.lease]
        return self.tell(Failed(lease=start.lease, failure=Failure.of(error)), 1.0)

    def to_renders(self, job: str = "film", chunks: int = 2) -> None:
        """Have the analyses and the stitch done, one lane or many."""
        for chunk in range(chunks):
            self.deliver(job, "analyse", chunk=chunk)
        self.deliver(job, "stitch", plan(chunks))

    def state(self, job: str = "film") -> JobState:
        return self.ledger.state.jobs[job].state

    def task(self, kind: Kind, chunk: int = 0, job: str = "film") -> TaskState:
        return self.ledger.task(job, 0, kind, chunk).state


def plan(chunks: int) -> tuple[tuple[int, int], ...]:
    return tuple((number * 100, number * 100 + 100) for number in range(chunks))


def starts(instructions: list[Instruction]) -> list[tuple[str, int, str]]:
    return [(i.kind, i.chunk, i.lane) for i in instructions if isinstance(i, Start)]


def test_a_job_from_its_submission_to_its_end() -> None:
    farm = Farm()
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
    farm = Farm()
    farm.lanes("a/0")
    farm.submit(chunks=0)
    assert farm.task("stitch") is TaskState.RUNNING


def test_a_render_that_overlaps_needs_its_own_and_its_neighbours_analysis() -> None:
    farm = Farm()
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
    farm = Farm()
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
    farm = Farm(Rules(backoff_seconds=2.0))
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
    farm = Farm(Rules(backoff_seconds=0.0))
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
    farm = Farm()
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
    farm = Farm(Rules(backoff_seconds=0.0))
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
    farm = Farm(Rules(backoff_seconds=0.0))
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
    farm = Farm(Rules(backoff_seconds=0.0))
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


def test_out_of_memory_halves_the_batch_before_it_changes_the_node() -> None:
    farm = Farm(Rules(backoff_seconds=0.0))
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
    farm = Farm(Rules(backoff_seconds=0.0, avoid_seconds=60.0))
    farm.lanes("a/0", "b/0")
    farm.submit("busy", chunks=1)
    farm.submit("film", chunks=1)
    node = farm.start("film", "analyse").lane
    assert starts(farm.fail("film", "analyse")) == [], "its node is idle, but it failed there"
    assert starts(farm.tell(Ticked(), 60.1)) == [("analyse", 0, node)], "better than not at all"


def test_a_node_on_which_different_jobs_fail_is_blocked_and_forgiven() -> None:
    farm = Farm(Rules(backoff_seconds=0.0, forgive_seconds=300.0))
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
    farm = Farm()
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
    farm = Farm()
    farm.lanes("a/0", "b/0")
    farm.submit(chunks=2)
    farm.deliver("film", "analyse", chunk=0, after=9000.0)
    farm.deliver("film", "analyse", chunk=1, after=0.0)
    assert farm.task("stitch") is TaskState.RUNNING
    assert not any(isinstance(i, Kill) for i in farm.told)


def test_a_slow_chunk_may_take_as_long_as_its_frames_move() -> None:
    farm = Farm()
    farm.lanes("a/0")
    farm.submit(chunks=1)
    slow = farm.start("film", "analyse")
    for frame in range(1, 20):
        assert farm.tell(Progressed(lease=slow.lease, frames=frame), 29.0) == []
    farm.deliver("film", "analyse")
    assert farm.task("analyse") is TaskState.DONE


def test_the_first_of_two_attempts_at_a_straggler_counts() -> None:
    farm = Farm()
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
    farm = Farm()
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
    farm = Farm()
    farm.lanes("a/0")
    farm.submit(chunks=1)
    lease = farm.start("film", "analyse").lease
    (drop,) = farm.tell(Delivered(lease=lease, frames=frames), 10.0)
    assert isinstance(drop, Drop)
    assert farm.task("analyse") is TaskState.WAITING


def test_what_took_no_time_is_an_error() -> None:
    farm = Farm()
    farm.lanes("a/0")
    farm.submit(chunks=1)
    lease = farm.start("film", "analyse").lease
    (drop,) = farm.tell(Delivered(lease=lease, frames=100), 0.005)
    assert isinstance(drop, Drop)
    assert farm.task("analyse") is TaskState.WAITING


def test_the_higher_priority_goes_first_and_may_change() -> None:
    farm = Farm()
    farm.lanes("a/0")
    farm.submit("low", priority=10)
    farm.submit("high", priority=90)
    assert starts(farm.deliver("low", "analyse"))[0] == ("analyse", 0, "a/0")
    assert farm.start("high", "analyse").lane == "a/0"
    farm.tell(Prioritised(job="low", priority=1000))
    farm.deliver("high", "analyse")
    assert farm.start("low", "analyse", 1).lane == "a/0"
    assert farm.ledger.state.jobs["low"].priority == 100


def test_deadlines_order_the_jobs_of_a_user() -> None:
    farm = Farm()
    farm.lanes()
    farm.submit("none", chunks=1)
    farm.submit("later", chunks=1, deadline=900.0)
    farm.submit("soon", chunks=1, deadline=300.0)
    farm.tell(LaneUp(lane="a/0", life=1, node="a"))
    order = []
    while farm.running:
        (start,) = [s for s in farm.running.values() if s.kind == "analyse"]
        order.append(start.job)
        farm.deliver(start.job, "analyse")
        for job in ("none", "later", "soon"):
            if farm.task("stitch", job=job) is TaskState.RUNNING:
                farm.deliver(job, "stitch", plan(1))
                farm.tell(CancelAsked(job=job))
                farm.running = {k: s for k, s in farm.running.items() if s.job != job}
    assert order == ["soon", "later", "none"]


def test_users_share_by_weight_and_take_what_others_leave() -> None:
    farm = Farm()
    farm.lanes()
    farm.tell(Weighted(user="ann", weight=3.0))
    for user in ("ann", "bob"):
        farm.submit(user, chunks=60, user=user)
    for lane in range(8):
        farm.tell(LaneUp(lane=f"a/{lane}", life=1, node="a"))

    def counts() -> tuple[int, int]:
        jobs = [s.job for s in farm.running.values()]
        return jobs.count("ann"), jobs.count("bob")

    assert counts() == (6, 2)
    farm.tell(Paused(job="ann"))
    for start in list(farm.running.values()):
        farm.deliver(start.job, start.kind, chunk=start.chunk, after=1.0)
    assert counts() == (0, 8), "what ann does not take is bob's"
    farm.tell(Resumed(job="ann"))
    for _ in range(3):
        for start in list(farm.running.values()):
            farm.deliver(start.job, start.kind, chunk=start.chunk, after=1.0)
    assert counts()[0] in (5, 6, 7), "and bob owes nothing for it"


def test_a_job_keeps_to_its_lanes_and_gets_those_it_needs() -> None:
    farm = Farm()
    farm.lanes("cpu/0", "cpu/1")
    farm.submit("film", chunks=4, lane_limit=1, needs=Needs(gpu_memory=8, labels=("nvenc",)))
    assert farm.ledger.why_waiting("film") == (
        "no lane is up that has 0.0 GiB of GPU memory, label nvenc"
    )
    for lane in ("gpu/0", "gpu/1"):
        farm.tell(LaneUp(lane=lane, life=1, node="gpu", gpu_memory=16, labels=("nvenc", "b")))
    assert [s.lane for s in farm.running.values()] == ["gpu/0"]
    assert len(starts(farm.tell(Limited(job="film", lane_limit=None)))) == 1
    farm.submit("any", chunks=2)
    assert {s.lane for s in farm.running.values() if s.job == "any"} == {"cpu/0", "cpu/1"}


def test_a_paused_job_finishes_what_runs_and_begins_nothing() -> None:
    farm = Farm()
    farm.lanes("a/0")
    farm.submit()
    assert farm.tell(Paused(job="film")) == [JobChanged(job="film", state=JobState.PAUSED)]
    assert starts(farm.deliver("film", "analyse")) == []
    assert farm.task("analyse") is TaskState.DONE
    assert farm.ledger.why_waiting("film") == "paused"
    assert starts(farm.tell(Resumed(job="film"))) == [("analyse", 1, "a/0")]


def test_a_held_job_says_why_it_waits() -> None:
    farm = Farm()
    farm.lanes("a/0")
    farm.submit()
    (change,) = farm.tell(Held(job="film", reason="disk full"))
    assert change == JobChanged(job="film", state=JobState.RUNNING, reason="disk full")
    assert starts(farm.deliver("film", "analyse")) == []
    assert farm.ledger.why_waiting("film") == "disk full"
    assert len(starts(farm.tell(Released(job="film")))) == 1


def test_a_drained_node_gets_nothing_until_it_is_forgiven() -> None:
    farm = Farm()
    farm.lanes("a/0")
    farm.submit()
    farm.tell(NodeDrained(node="a"))
    assert starts(farm.deliver("film", "analyse")) == []
    assert starts(farm.tell(NodeForgiven(node="a"))) == [("analyse", 1, "a/0")]


def test_a_retried_job_does_nothing_twice() -> None:
    farm = Farm(Rules(backoff_seconds=0.0))
    farm.lanes("a/0")
    farm.submit(attempts=1)
    farm.deliver("film", "analyse")
    farm.fail("film", "analyse", 1)
    assert farm.state() is JobState.FAILED
    assert starts(farm.tell(Retried(job="film"))) == [("analyse", 1, "a/0")]
    assert farm.task("analyse", 0) is TaskState.DONE
    assert farm.state() is JobState.RUNNING


def done_film(farm: Farm) -> None:
    farm.lanes("a/0")
    farm.submit(chunks=3)
    farm.to_renders(chunks=3)
    for chunk in range(3):
        farm.deliver("film", "render", chunk=chunk)
    farm.deliver("film", "join")
    farm.deliver("film", "publish")


def test_a_time_range_is_done_again_with_what_is_made_from_it() -> None:
    farm = Farm()
    done_film(farm)
    before = farm.ledger.task("film", 0, "render", 1).winner
    out = farm.tell(Requeued(job="film", step=0, kind="render", start=120, stop=121))
    assert starts(out) == [("render", 1, "a/0")]
    assert farm.state() is JobState.RUNNING
    assert farm.task("render", 0) is TaskState.DONE
    assert farm.task("publish") is TaskState.BLOCKED
    assert starts(farm.deliver("film", "render", chunk=1)) == [("join", 0, "desk")]
    assert farm.ledger.task("film", 0, "render", 1).winner != before
    farm.deliver("film", "join")
    farm.deliver("film", "publish")
    assert farm.state() is JobState.COMPLETED


def test_a_render_of_an_analysis_that_is_done_again_is_stopped() -> None:
    farm = Farm()
    farm.lanes("a/0")
    farm.submit(chunks=1)
    farm.to_renders(chunks=1)
    render = farm.start("film", "render")
    again = Requeued(job="film", step=0, kind="analyse", start=0, stop=1)
    assert Stop(lease=render.lease, lane="a/0") in farm.tell(again)
    late = farm.tell(Delivered(lease=render.lease, frames=100), 1.0)
    assert late[0] == Drop(lease=render.lease, why="the lease was given up")
    assert farm.task("join") is TaskState.BLOCKED


def test_an_analysis_done_again_takes_its_neighbourhood_with_it() -> None:
    farm = Farm()
    farm.lanes("a/0")
    farm.submit(chunks=5)
    farm.to_renders(chunks=5)
    for chunk in range(4):
        farm.deliver("film", "render", chunk=chunk)
    farm.tell(Requeued(job="film", step=0, kind="analyse", start=0, stop=1))
    states = [farm.task("render", n) for n in range(5)]
    assert states == [TaskState.BLOCKED] * 2 + [TaskState.DONE] * 2 + [TaskState.RUNNING]


def test_a_segment_that_storage_lost_is_made_again() -> None:
    farm = Farm()
    farm.lanes("a/0")
    farm.submit()
    farm.to_renders()
    for chunk in range(2):
        farm.deliver("film", "render", chunk=chunk)
    lost = farm.ledger.task("film", 0, "render", 0).winner
    assert lost is not None
    event = OutputLost(job="film", step=0, kind="render", chunk=0, lease=lost)
    out = farm.tell(event)
    assert any(isinstance(i, Stop) for i in out), "the join that runs has nothing to join"
    assert farm.tell(event) == [], "twice"
    assert starts(farm.tell(Ticked(), 1.0)) == [("render", 0, "a/0")]


def test_after_a_restart_only_what_was_under_way_is_done_again() -> None:
    farm = Farm()
    farm.lanes("a/0", "b/0")
    farm.submit(chunks=3)
    farm.deliver("film", "analyse")
    assert farm.tell(Restarted(), 5.0) == []
    assert farm.ledger.state.roster.lanes == {}
    assert farm.task("analyse", 0) is TaskState.DONE
    farm.running.clear()
    farm.tell(LaneUp(lane="a/0", life=1, node="a"))
    farm.tell(LaneUp(lane="b/0", life=1, node="b"))
    assert sorted(s.chunk for s in farm.running.values()) == [1, 2]
    assert farm.ledger.task("film", 0, "analyse", 1).failures == 0


def test_old_words_about_lanes_are_known_for_old() -> None:
    farm = Farm()
    farm.lanes("a/0")
    farm.submit(chunks=1)
    up = LaneUp(lane="a/0", life=1, node="a")
    assert farm.tell(up) == []
    down = LaneDown(lane="a/0", life=1, failure=Failure.of(DIED))
    farm.tell(down)
    assert farm.tell(up) == [], "that life is over"
    farm.tell(LaneUp(lane="a/0", life=2, node="a"), 10.0)
    assert farm.task("analyse") is TaskState.RUNNING
    assert farm.tell(down) == []
    assert farm.task("analyse") is TaskState.RUNNING


def test_a_job_that_has_ended_can_be_removed() -> None:
    farm = Farm()
    done_film(farm)
    farm.tell(Removed(job="film"))
    assert farm.ledger.state.jobs == {}
    farm.submit(chunks=1)
    assert farm.task("analyse") is TaskState.RUNNING


def test_a_plan_with_a_gap_ends_the_job() -> None:
    farm = Farm()
    farm.lanes("a/0")
    farm.tell(Submitted(terms=Terms(job="film")))
    farm.deliver("film", "probe", ((0, 100), (101, 200)))
    assert farm.state() is JobState.FAILED
