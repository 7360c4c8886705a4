"""How far a job is: what a display shows and what a machine reads. Pure facts, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ChunkState(StrEnum):
    """Where one chunk stands in the present phase."""

    WAITING = "waiting"
    RUNNING = "running"
    RETRIED = "retried"
    """An attempt failed for passing reasons; the next one waits or runs."""
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkProgress:
    """One chunk in the present phase."""

    index: int
    state: ChunkState
    frames_done: int = 0
    """Frames of the present attempt that the last stage has finished."""
    frames_total: int
    attempts: int = 0
    """Attempts begun, the present one included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSnapshot:
    """One job at one moment."""

    job_id: str
    phase: str
    """probe, start, analyse, stitch, render, join or publish."""
    chunks: tuple[ChunkProgress, ...] = ()
    """Rising by index; empty in phases that have no chunks."""
    frames_done: int
    """Frames of this phase that are finished, over all chunks."""
    frames_total: int
    """Frames of this phase; 0 where it does not count frames."""
    fps: float = 0.0
    """Frames a second of this phase; 0 while it is not known."""
    eta_seconds: float | None = None
    """To the end of this phase; None while it is not known."""
    retries: int = 0
    """Attempts of this job, over all phases, that failed and were tried again."""
    message: str = ""
    """One line for people; empty when there is nothing to say."""

    def count(self, state: ChunkState) -> int:
        """Number of chunks in a state."""
        return sum(chunk.state is state for chunk in self.chunks)
