"""The ledger replays histories: no clock, no process."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.errors import AttemptsExhausted, LaneDied, MediaUnreadable
from scheduler.events import LaneLost, LaneReady, TaskDone, TaskFailed
from scheduler.jobs import Analysis
from scheduler.ledger import (
    Fail,
    Finish,
    Join,
    Joined,
    Ledger,
    Planned,
    Start,
    State,
    Stitch,
    Tick,
)


def done(start: Start) -> TaskDone:
    result = Analysis(
        chunk=start.chunk, faces_path="", frames_path="", frames=1, faces=0, cpu_ms={}
    )
    return TaskDone(key=start.key, attempt=start.attempt, lane=start.lane, result=result)


def died(start: Start) -> TaskFailed:
    error = LaneDied("the swapper process died", "a living lane", "nothing: it is tried again")
    return TaskFailed(key=start.key, attempt=start.attempt, lane=start.lane, error=error)


def test_phases_follow_each_other_on_one_lane() -> None:
    ledger = Ledger()
    assert ledger.handle(Planned(kind="analyse", chunks=2), 0.0) == []
    (first,) = ledger.handle(LaneReady(lane=0), 0.0)
    assert first == Start(kind="analyse", chunk=0, attempt=1, lane=0)
    (second,) = ledger.handle(done(first), 1.0)
    assert isinstance(second, Start)
    assert second.chunk == 1
    assert ledger.handle(done(second), 2.0) == [Stitch()]
    (render,) = ledger.handle(Planned(kind="render", chunks=1), 3.0)
    assert isinstance(render, Start)
    assert render.key == "render/0"
    assert ledger.handle(done(render), 4.0) == [Join()]
    assert ledger.handle(Joined(), 5.0) == [Finish()]
    assert ledger.handle(LaneReady(lane=1), 6.0) == []


def test_transient_failure_is_tried_again_after_a_wait_on_a_rebuilt_lane() -> None:
    ledger = Ledger(backoff_seconds=2.0)
    ledger.handle(LaneReady(lane=0), 0.0)
    (start,) = ledger.handle(Planned(kind="analyse", chunks=1), 0.0)
    assert isinstance(start, Start)
    failed = died(start)
    assert ledger.handle(failed, 1.0) == []
    assert ledger.handle(LaneLost(lane=0, error=failed.error), 1.0) == []
    assert ledger.next_due() == 3.0
    assert ledger.handle(LaneReady(lane=0), 2.0) == [], "the wait is not over"
    (again,) = ledger.handle(Tick(), 3.0)
    assert again == Start(kind="analyse", chunk=0, attempt=2, lane=0)
    assert ledger.retries == 1


def test_a_late_result_of_an_old_lease_does_not_count() -> None:
    ledger = Ledger(backoff_seconds=0.0)
    ledger.handle(LaneReady(lane=0), 0.0)
    ledger.handle(LaneReady(lane=1), 0.0)
    (first,) = ledger.handle(Planned(kind="analyse", chunks=1), 0.0)
    assert isinstance(first, Start)
    (second,) = ledger.handle(died(first), 1.0)
    assert isinstance(second, Start)
    assert second.lane == 1
    assert ledger.handle(done(first), 2.0) == [], "the zombie's result is dropped"
    assert ledger.state("analyse", 0) == (State.RUNNING, 2)
    assert ledger.handle(done(second), 3.0) == [Stitch()]


def test_deterministic_failure_ends_the_job_at_once() -> None:
    ledger = Ledger()
    ledger.handle(LaneReady(lane=0), 0.0)
    (start,) = ledger.handle(Planned(kind="analyse", chunks=3), 0.0)
    assert isinstance(start, Start)
    error = MediaUnreadable("broken packet", "a readable film", "make a new copy")
    failed = TaskFailed(key=start.key, attempt=1, lane=0, error=error)
    assert ledger.handle(failed, 1.0) == [Fail(error=error)]
    assert ledger.handle(Tick(), 9.0) == []


def test_attempts_are_bounded_and_the_last_cause_is_named() -> None:
    ledger = Ledger(attempts=3, backoff_seconds=0.0)
    ledger.handle(LaneReady(lane=0), 0.0)
    (start,) = ledger.handle(Planned(kind="analyse", chunks=1), 0.0)
    for now in (1.0, 2.0):
        assert isinstance(start, Start)
        ledger.handle(died(start), now)
        (start,) = ledger.handle(LaneReady(lane=0), now)
    assert isinstance(start, Start)
    (fail,) = ledger.handle(died(start), 3.0)
    assert isinstance(fail, Fail)
    assert isinstance(fail.error, AttemptsExhausted)
    assert "swapper process died" in fail.error.found


def test_a_lane_that_never_comes_up_ends_the_job() -> None:
    ledger = Ledger(lane_failures=2)
    lost = LaneLost(lane=0, error=LaneDied("out of memory", "memory", "free some"))
    assert ledger.handle(lost, 0.0) == []
    (fail,) = ledger.handle(lost, 1.0)
    assert isinstance(fail, Fail)
    assert "out of memory" in fail.error.found


@settings(max_examples=200, deadline=None)
@given(
    chunks=st.integers(1, 8),
    lanes=st.integers(1, 4),
    outcomes=st.lists(st.booleans(), max_size=24),
)
def test_every_history_ends_and_each_chunk_is_done_once(
    chunks: int, lanes: int, outcomes: list[bool]
) -> None:
    ledger = Ledger(attempts=100, backoff_seconds=0.0)
    luck = iter(outcomes)
    running: list[Start] = []
    finished: list[int] = []

    def take(instructions: list[object]) -> bool:
        running.extend(i for i in instructions if isinstance(i, Start))
        return any(isinstance(i, Stitch) for i in instructions)

    take(list(ledger.handle(Planned(kind="analyse", chunks=chunks), 0.0)))
    for lane in range(lanes):
        take(list(ledger.handle(LaneReady(lane=lane), 0.0)))
    for now in range(1, 200):
        assert len({s.lane for s in running}) == len(running) <= lanes
        start = running.pop(0)
        if next(luck, True):
            finished.append(start.chunk)
            if take(list(ledger.handle(done(start), float(now)))):
                break
        else:
            take(list(ledger.handle(died(start), float(now))))
            take(list(ledger.handle(LaneReady(lane=start.lane), float(now))))
    assert sorted(finished) == list(range(chunks))
    assert not running
