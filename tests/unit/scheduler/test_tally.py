from __future__ import annotations

from scheduler.chunks import Chunk
from scheduler.errors import LaneDied
from scheduler.events import TaskProgress
from scheduler.failure import Failure
from scheduler.history import Delivered, Failed, LaneUp, Submitted, Terms
from scheduler.ledger import Ledger
from scheduler.progress import ChunkState
from scheduler.retries import Rules
from scheduler.tally import Tally

CHUNKS = (Chunk(index=0, start=0, stop=100), Chunk(index=1, start=100, stop=150))


def planned() -> tuple[Ledger, Tally]:
    ledger = Ledger(Rules(backoff_seconds=0.0))
    tally = Tally(job_id="j", kind="analyse", chunks=CHUNKS, phases={"analyse": 10.0})
    ledger.handle(LaneUp(lane="desk", life=1, node="desk", role="film"), 10.0)
    ledger.handle(Submitted(terms=Terms(job="j")), 10.0)
    ledger.handle(Delivered(lease=1, chunks=((0, 100), (100, 150))), 10.0)
    return ledger, tally


def test_frames_rate_and_states_follow_the_events() -> None:
    ledger, tally = planned()
    assert tally.snapshot(ledger, 10.0).eta_seconds is None
    ledger.handle(LaneUp(lane="0", life=1, node="n"), 10.0)
    tally.count(TaskProgress(key="analyse/0", attempt=2, frames=40))
    now = tally.snapshot(ledger, 12.0)
    assert (now.frames_done, now.frames_total, now.fps) == (40, 150, 20.0)
    assert now.eta_seconds == 5.5
    assert [c.state for c in now.chunks] == [ChunkState.RUNNING, ChunkState.WAITING]


def test_the_clock_starts_with_the_first_lane() -> None:
    ledger, _ = planned()
    phases: dict[str, float] = {"start": 3.0}
    tally = Tally(job_id="j", kind="analyse", chunks=CHUNKS, phases=phases)
    assert not tally.under_way
    ledger.handle(LaneUp(lane="0", life=1, node="n"), 30.0)
    phases["analyse"] = 30.0
    assert tally.under_way
    tally.count(TaskProgress(key="analyse/0", attempt=2, frames=40))
    assert tally.snapshot(ledger, 32.0).fps == 20.0


def test_frames_of_a_dead_attempt_do_not_count() -> None:
    ledger, tally = planned()
    ledger.handle(LaneUp(lane="0", life=1, node="n"), 10.0)
    tally.count(TaskProgress(key="analyse/0", attempt=2, frames=60))
    error = LaneDied("decoder died", "a lane", "none")
    ledger.handle(Failed(lease=2, failure=Failure.of(error)), 11.0)
    now = tally.snapshot(ledger, 11.0)
    assert now.chunks[0].state is ChunkState.RETRIED
    assert (now.chunks[0].attempts, now.frames_done, now.retries) == (2, 0, 1)
    ledger.handle(Delivered(lease=3, frames=100), 12.0)
    assert tally.snapshot(ledger, 12.0).frames_done == 100
