"""A ledger with a clock, for tests that tell it one thing after the other."""

from __future__ import annotations

from dataclasses import dataclass, field

from scheduler.errors import (
    LaneDied,
    SwapfarmError,
)
from scheduler.failure import Failure
from scheduler.history import (
    Delivered,
    Event,
    Failed,
    LaneUp,
    Submitted,
    Terms,
)
from scheduler.instructions import Instruction, JobState, Start
from scheduler.invariants import broken
from scheduler.ledger import Ledger
from scheduler.retries import Rules
from scheduler.tasks import Kind, TaskState

DIED = LaneDied("the swapper process died", "a living lane", "nothing: it is tried again")


@dataclass
class ToldFarm:
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
