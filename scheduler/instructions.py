"""What the ledger asks for. One carried out twice, or lost with the service, does no harm."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from scheduler.failure import Failure
from scheduler.tasks import Kind


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self in (JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Give this task to a lane. Its files carry the lease's number."""

    lease: int
    lane: str
    job: str
    step: int
    kind: Kind
    chunk: int
    batch_divisor: int = 1
    passthrough: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Ask a lane to give up its task and to say Failed or Delivered; its word counts no more."""

    lease: int
    lane: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """End this life of a lane by force and build the lane anew."""

    lane: str
    life: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """A delivery did not count: remove its files."""

    lease: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobChanged:
    """For displays, webhooks and whoever waits for the job."""

    job: str
    state: JobState
    failure: Failure | None = None
    reason: str = ""
    """Why it waits; empty where it does not."""


Instruction = Start | Stop | Kill | Drop | JobChanged
