"""How far a phase is, counted from lane events. Pure: the time comes with each call."""

from __future__ import annotations

from scheduler.chunks import Chunk
from scheduler.events import TaskProgress
from scheduler.ledger import Kind, Ledger, State, task_key
from scheduler.progress import ChunkProgress, ChunkState, JobSnapshot

_STATES = {
    State.WAITING: ChunkState.WAITING,
    State.RUNNING: ChunkState.RUNNING,
    State.DONE: ChunkState.DONE,
    State.FAILED: ChunkState.FAILED,
}


class Tally:
    """Counts frames of one phase of one job.

    Args:
        began: seconds on the caller's clock at which the phase began.
    """

    def __init__(self, *, job_id: str, kind: Kind, chunks: tuple[Chunk, ...], began: float) -> None:
        self._job_id = job_id
        self._kind = kind
        self._chunks = chunks
        self._began = began
        self._frames: dict[str, tuple[int, int]] = {}

    def count(self, event: TaskProgress) -> None:
        """Take a lane's word on how far an attempt is."""
        self._frames[event.key] = (event.attempt, event.frames)

    def snapshot(self, ledger: Ledger, now: float) -> JobSnapshot:
        """The phase as it stands at ``now``."""
        cells = tuple(self._cell(chunk, ledger) for chunk in self._chunks)
        done = sum(cell.frames_done for cell in cells)
        total = sum(cell.frames_total for cell in cells)
        elapsed = now - self._began
        fps = done / elapsed if elapsed > 0 else 0.0
        return JobSnapshot(
            job_id=self._job_id,
            phase=self._kind,
            chunks=cells,
            frames_done=done,
            frames_total=total,
            fps=fps,
            eta_seconds=(total - done) / fps if fps > 0 else None,
            retries=ledger.retries,
        )

    def _cell(self, chunk: Chunk, ledger: Ledger) -> ChunkProgress:
        state, lease = ledger.state(self._kind, chunk.index)
        attempt, frames = self._frames.get(task_key(self._kind, chunk.index), (0, 0))
        if state is State.DONE:
            frames = chunk.frames
        elif state is not State.RUNNING or attempt != lease:
            frames = 0
        shown = _STATES[state]
        if shown in (ChunkState.WAITING, ChunkState.RUNNING) and lease > (state is State.RUNNING):
            shown = ChunkState.RETRIED
        return ChunkProgress(
            index=chunk.index,
            state=shown,
            frames_done=min(frames, chunk.frames),
            frames_total=chunk.frames,
            attempts=lease,
        )
