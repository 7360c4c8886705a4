"""Leases: the right to deliver one attempt of one task, fenced by a number used only once."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from scheduler.pace import Pace
from scheduler.retries import Rules
from scheduler.tasks import Kind, Role


@dataclass(slots=True, kw_only=True)
class Lease:
    number: int
    job: str
    step: int
    kind: Kind
    chunk: int
    frames: int
    """To be done."""
    cost: float
    """As the task's."""
    role: Role
    lane: str
    node: str
    since: float
    moved: float
    """When ``beats`` last rose."""
    done: int = 0
    beats: int = 0
    """Signs of life; 0: the lane still loads what it needs."""
    patience: float = 1.0
    """How many times the usual patience it has, where attempts before it have failed."""
    charge: float = 0.0
    """Seconds that were put on the user's account in advance."""
    second: bool = False
    """It is the second attempt of a straggler."""
    stopping: float | None = None
    """When its lane was asked to give it up; its delivery counts no more."""
    straggles: bool = False
    """A second attempt of its task may begin where lanes are idle."""
    look_at: float = -1.0
    """When to look at it again."""

    def move(self, frames: int, beats: int, now: float) -> None:
        self.done = max(self.done, min(frames, self.frames))
        if (beats := max(beats, frames)) > self.beats:
            self.beats, self.moved = beats, now

    def hangs_at(self, pace: Pace, rules: Rules) -> float:
        """When it is to be taken for hung if nothing moves until then."""
        if self.role == "film":
            return self.since + rules.film_seconds
        patience = rules.stall_seconds if self.beats else rules.begin_seconds
        patience *= self.patience
        return self.moved + max(patience, rules.stall_frames * self.cost * (pace.median() or 0.0))

    def straggles_at(self, pace: Pace, rules: Rules) -> float:
        """When it has taken so long that a second attempt makes sense."""
        usual = pace.median()
        if self.role == "film" or usual is None or self.second or self.straggles:
            return inf
        return self.since + rules.straggle_factor * usual * self.frames * self.cost


@dataclass(slots=True, kw_only=True)
class LeaseBook:
    """All leases whose lanes have not answered yet."""

    last: int = 0
    """The highest number given so far."""
    open: dict[int, Lease] = field(default_factory=dict)

    def number(self) -> int:
        self.last += 1
        return self.last
