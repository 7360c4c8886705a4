"""A task: the smallest thing that is leased, and where it stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal

from scheduler.failure import Failure

Kind = Literal["probe", "analyse", "stitch", "render", "join", "publish"]
Role = Literal["frames", "film"]
"""Which lanes a task goes to: those that work on a chunk's frames, or those that need the whole
film (probe, stitch, join, publish)."""

ROLES: Final[dict[Kind, Role]] = {
    "probe": "film",
    "analyse": "frames",
    "stitch": "film",
    "render": "frames",
    "join": "film",
    "publish": "film",
}


class TaskState(StrEnum):
    BLOCKED = "blocked"
    """What it needs is not there yet."""
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(slots=True, kw_only=True)
class Task:
    """One task of one step of one job."""

    job: str
    step: int
    kind: Kind
    chunk: int = 0
    start: int = 0
    stop: int = 0
    """Frames [start, stop); empty for film tasks."""
    cost: float = 1.0
    """How many times the usual time of a frame its frames are expected to take."""
    state: TaskState = TaskState.BLOCKED
    open: int = 0
    """Tasks that it needs and that are not done."""
    leases: list[int] = field(default_factory=list)
    """Numbers of the leases that may deliver it: none, one, or two of a straggler."""
    tries: int = 0
    """Leases given so far."""
    failures: int = 0
    """Of those that count: not the ones that ended with the service or by a wish."""
    losses: int = 0
    """How often what it had delivered, or what it needs, was not on storage any more."""
    failed_on: list[str] = field(default_factory=list)
    """Nodes, each once."""
    not_before: float = 0.0
    avoid_until: float = 0.0
    """Until then it does not go to a node on which it failed."""
    batch_divisor: int = 1
    """By how much a lane's batches are to be smaller, after it ran out of memory."""
    passthrough: bool = False
    """The source's own frames are to be kept here, since the chunk cannot be worked on."""
    winner: int | None = None
    """The lease that delivered it: its number is in the names of the files."""
    digest: str = ""
    """Of what was delivered, for the check of the storage after a restart."""
    last: Failure | None = None

    @property
    def key(self) -> str:
        return task_key(self.job, self.step, self.kind, self.chunk)

    @property
    def role(self) -> Role:
        return ROLES[self.kind]

    @property
    def frames(self) -> int:
        return self.stop - self.start

    def forget(self) -> None:
        """Start from scratch: a person wants it done again."""
        self.failures = self.losses = 0
        self.failed_on = []
        self.not_before = self.avoid_until = 0.0
        self.batch_divisor = 1
        self.passthrough = False
        self.last = None


def task_key(job: str, step: int, kind: Kind, chunk: int) -> str:
    """The name of a task in the whole farm."""
    return f"{job}/{step}/{kind}/{chunk}"
