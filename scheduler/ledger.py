"""The job as a pure state machine: events in, instructions out.

It never sees a clock, a disk or Ray. ``now`` comes with each event, so a test can replay a history.
Each try of a task is a lease with a number; a result counts only if it carries the number of the
lease that is current, so a stale attempt can never be published.

    analyse every chunk -> stitch -> render every chunk -> join -> completed
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from scheduler.errors import AttemptsExhausted, LaneDied, SwapfarmError
from scheduler.events import LaneLost, LaneReady, TaskDone, TaskFailed

Kind = Literal["analyse", "render"]


def task_key(kind: Kind, chunk: int) -> str:
    """The name of a chunk's task, as lane tasks and events carry it."""
    return f"{kind}/{chunk}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """The chunks of a phase are known and may be worked on."""

    kind: Kind
    chunks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """The film is published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Time went by; waiting retries may be due."""


Event = Planned | Joined | Tick | LaneReady | LaneLost | TaskDone | TaskFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Give this attempt of a task to a lane."""

    kind: Kind
    chunk: int
    attempt: int
    lane: int

    @property
    def key(self) -> str:
        return task_key(self.kind, self.chunk)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stitch:
    """All chunks are analysed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """All chunks are rendered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    """The job cannot be finished."""

    error: SwapfarmError


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """Nothing is left to do."""


Instruction = Start | Stitch | Join | Fail | Finish


class State(Enum):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(slots=True, kw_only=True)
class _Task:
    kind: Kind
    chunk: int
    state: State = State.WAITING
    attempt: int = 0
    """Number of the current lease; 0 before the first."""
    not_before: float = 0.0
    last_error: SwapfarmError | None = None


@dataclass(slots=True)
class Ledger:
    """What is to be done for one job, what is under way and what failed.

    Args:
        attempts: how often a task may be tried when it fails for passing reasons.
        backoff_seconds: wait before the second try; doubles with each further one.
        lane_failures: how often in a row a lane may fail to come up before the job gives up.
    """

    attempts: int = 3
    backoff_seconds: float = 0.5
    lane_failures: int = 3
    retries: int = 0
    closed: bool = False
    _tasks: dict[str, _Task] = field(default_factory=dict)
    _idle: set[int] = field(default_factory=set)
    _fallen: dict[int, int] = field(default_factory=dict)

    def handle(self, event: Event, now: float) -> list[Instruction]:
        """Take one event and say what follows from it. After Fail or Finish nothing follows."""
        if self.closed:
            return []
        match event:
            case Planned():
                for chunk in range(event.chunks):
                    self._tasks[task_key(event.kind, chunk)] = _Task(kind=event.kind, chunk=chunk)
            case LaneReady():
                self._idle.add(event.lane)
                self._fallen.pop(event.lane, None)
            case LaneLost():
                return self._lane_down(event) or self._assign(now)
            case TaskDone():
                return self._completed(event) + self._assign(now)
            case TaskFailed():
                failure = self._failed(event, now)
                return failure or self._assign(now)
            case Joined():
                self.closed = True
                return [Finish()]
            case Tick():
                pass
        return self._assign(now)

    def state(self, kind: Kind, chunk: int) -> tuple[State, int]:
        """A task's state and the number of its current lease."""
        task = self._tasks[task_key(kind, chunk)]
        return task.state, task.attempt

    def next_due(self) -> float | None:
        """The earliest time at which a waiting retry may start; None when none waits."""
        times = [t.not_before for t in self._tasks.values() if t.state is State.WAITING]
        return min(times, default=None)

    def _assign(self, now: float) -> list[Instruction]:
        out: list[Instruction] = []
        waiting = [
            t for t in self._tasks.values() if t.state is State.WAITING and t.not_before <= now
        ]
        for task, lane in zip(waiting, sorted(self._idle), strict=False):
            task.attempt += 1
            task.state = State.RUNNING
            self._idle.discard(lane)
            out.append(Start(kind=task.kind, chunk=task.chunk, attempt=task.attempt, lane=lane))
        return out

    def _current(self, event: TaskDone | TaskFailed) -> _Task | None:
        task = self._tasks.get(event.key)
        if task and task.state is State.RUNNING and task.attempt == event.attempt:
            return task
        return None

    def _completed(self, event: TaskDone) -> list[Instruction]:
        self._idle.add(event.lane)
        task = self._current(event)
        if task is None:
            return []
        task.state = State.DONE
        phase = [t for t in self._tasks.values() if t.kind == task.kind]
        if any(t.state is not State.DONE for t in phase):
            return []
        return [Stitch()] if task.kind == "analyse" else [Join()]

    def _failed(self, event: TaskFailed, now: float) -> list[Instruction]:
        if not isinstance(event.error, LaneDied):
            self._idle.add(event.lane)
        task = self._current(event)
        if task is None:
            return []
        task.last_error = event.error
        if not event.error.transient:
            return self._give_up(task, event.error)
        if task.attempt >= self.attempts:
            return self._give_up(
                task,
                AttemptsExhausted(
                    f"chunk {task.chunk} failed {task.attempt} times in {task.kind}; "
                    f"the last time: {event.error.found}",
                    f"one success in {self.attempts} attempts",
                    "look at the last error; `farm doctor` checks this machine",
                ),
            )
        task.state = State.WAITING
        task.not_before = now + self.backoff_seconds * 2 ** (task.attempt - 1)
        self.retries += 1
        return []

    def _lane_down(self, event: LaneLost) -> list[Instruction]:
        self._idle.discard(event.lane)
        self._fallen[event.lane] = self._fallen.get(event.lane, 0) + 1
        if self._fallen[event.lane] < self.lane_failures:
            return []
        self.closed = True
        return [
            Fail(
                error=LaneDied(
                    f"lane {event.lane} did not come up {self.lane_failures} times in a row: "
                    f"{event.error.found}",
                    "a lane whose processes start",
                    "free memory or lower --lanes; `farm doctor` checks this machine",
                )
            )
        ]

    def _give_up(self, task: _Task, error: SwapfarmError) -> list[Instruction]:
        task.state = State.FAILED
        self.closed = True
        return [Fail(error=error)]
