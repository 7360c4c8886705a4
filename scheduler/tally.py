"""How far a phase is, counted from lane events. Pure: the time comes with each call."""

from __future__ import annotations

from collections.abc import Mapping

from scheduler.chunks import Chunk
from scheduler.events import TaskProgress
from scheduler.ledger import Ledger
from scheduler.progress import ChunkProgress, ChunkState, JobSnapshot
from scheduler.tasks import Kind, Task, TaskState

_STATES = {
    TaskState.BLOCKED: ChunkState.WAITING,
    TaskState.WAITING: ChunkState.WAITING,
    TaskState.RUNNING: ChunkState.RUNNING,
    TaskState.DONE: ChunkState.DONE,
    TaskState.FAILED: ChunkState.FAILED,
}


class Tally:
    """Counts frames of one phase of one job.

    Args:
        phases: seconds on the caller's clock at which each phase began. While this one's is not
            there, lanes are awaited.
    """

    def __init__(
        self,
        *,
        job_id: str,
        kind: Kind,
        chunks: tuple[Chunk, ...],
        phases: Mapping[str, float],
    ) -> None:
        self._job_id = job_id
        self._kind = kind
        self._chunks = chunks
        self._phases = phases
        self._frames: dict[int, int] = {}

    @property
    def under_way(self) -> bool:
        """Whether a lane has begun."""
        return self._kind in self._phases

    def count(self, event: TaskProgress) -> None:
        """Take a lane's word on how far an attempt is."""
        self._frames[event.attempt] = event.frames

    def snapshot(self, ledger: Ledger, now: float) -> JobSnapshot:
        """The phase as it stands at ``now``."""
        cells = tuple(self._cell(chunk, ledger) for chunk in self._chunks)
        done = sum(cell.frames_done for cell in cells)
        total = sum(cell.frames_total for cell in cells)
        elapsed = now - self._phases[self._kind]
        job = ledger.state.jobs[self._job_id]
        fps = done / elapsed if elapsed > 0 else 0.0
        return JobSnapshot(
            job_id=self._job_id,
            phase=self._kind,
            chunks=cells,
            frames_done=done,
            frames_total=total,
            fps=fps,
            eta_seconds=(total - done) / fps if fps > 0 else None,
            retries=job.retries,
            message=f"{job.lacks}: it goes on when there is room" if job.lacks else "",
        )

    def _cell(self, chunk: Chunk, ledger: Ledger) -> ChunkProgress:
        task = ledger.task(self._job_id, 0, self._kind, chunk.index)
        frames = max((self._frames.get(lease, 0) for lease in task.leases), default=0)
        if task.state is TaskState.DONE:
            frames = chunk.frames
        return ChunkProgress(
            index=chunk.index,
            state=cell_of(task),
            frames_done=min(frames, chunk.frames),
            frames_total=chunk.frames,
            attempts=task.tries,
        )


def cell_of(task: Task) -> ChunkState:
    """Where a chunk stands, for people."""
    shown = _STATES[task.state]
    again = task.tries > (task.state is TaskState.RUNNING)
    if shown in (ChunkState.WAITING, ChunkState.RUNNING) and again:
        return ChunkState.RETRIED
    return shown
