from __future__ import annotations

from scheduler.chunks import Chunk
from scheduler.errors import LaneDied
from scheduler.events import LaneReady, TaskDone, TaskFailed, TaskProgress
from scheduler.jobs import Analysis
from scheduler.ledger import Ledger, Planned
from scheduler.progress import ChunkState
from scheduler.tally import Tally

CHUNKS = (Chunk(index=0, start=0, stop=100), Chunk(index=1, start=100, stop=150))


def test_frames_rate_and_states_follow_the_events() -> None:
    ledger = Ledger(backoff_seconds=0.0)
    tally = Tally(job_id="j", kind="analyse", chunks=CHUNKS, began=10.0)
    ledger.handle(Planned(kind="analyse", chunks=2), 10.0)
    assert tally.snapshot(ledger, 10.0).eta_seconds is None
    ledger.handle(LaneReady(lane=0), 10.0)
    tally.count(TaskProgress(key="analyse/0", attempt=1, frames=40))
    now = tally.snapshot(ledger, 12.0)
    assert (now.frames_done, now.frames_total, now.fps) == (40, 150, 20.0)
    assert now.eta_seconds == 5.5
    assert [c.state for c in now.chunks] == [ChunkState.RUNNING, ChunkState.WAITING]


def test_frames_of_a_dead_attempt_do_not_count() -> None:
    ledger = Ledger(backoff_seconds=0.0)
    tally = Tally(job_id="j", kind="analyse", chunks=CHUNKS, began=0.0)
    ledger.handle(LaneReady(lane=0), 0.0)
    ledger.handle(Planned(kind="analyse", chunks=2), 0.0)
    tally.count(TaskProgress(key="analyse/0", attempt=1, frames=60))
    error = LaneDied("decoder died", "a lane", "none")
    ledger.handle(TaskFailed(key="analyse/0", attempt=1, lane=0, error=error), 1.0)
    assert tally.snapshot(ledger, 1.0).frames_done == 0
    ledger.handle(LaneReady(lane=0), 1.0)
    now = tally.snapshot(ledger, 1.0)
    assert now.chunks[0].state is ChunkState.RETRIED
    assert (now.chunks[0].attempts, now.frames_done, now.retries) == (2, 0, 1)
    result = Analysis(chunk=0, faces_path="", frames_path="", frames=100, faces=0, cpu_ms={})
    ledger.handle(TaskDone(key="analyse/0", attempt=2, lane=0, result=result), 2.0)
    assert tally.snapshot(ledger, 2.0).frames_done == 100
