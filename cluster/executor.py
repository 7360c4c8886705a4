"""Instructions in, events out: what the service asks of whoever runs its lanes."""

from __future__ import annotations

from typing import Protocol

from scheduler.events import ExecutorEvent
from scheduler.jobs import LaneTask


class Executor(Protocol):
    """Runs tasks on lanes. Used by one thread."""

    @property
    def lanes(self) -> int:
        """Lanes are numbered from 0; each gives LaneReady when it can take its first task."""
        ...

    def start(self, task: LaneTask, lane: int) -> None:
        """Gives a task to an idle lane; returns at once. TaskDone or TaskFailed will follow."""
        ...

    def stop(self, lane: int, attempt: int) -> None:
        """Asks a lane to give up an attempt: TaskFailed follows, or TaskDone if it was faster."""
        ...

    def kill(self, lane: int, why: str) -> None:
        """Ends a lane that hangs and builds it anew; TaskFailed, LaneLost and, in time, LaneReady
        follow."""
        ...

    def poll(self, timeout: float) -> list[ExecutorEvent]:
        """What has happened since the last call; waits up to ``timeout`` seconds for something."""
        ...

    def close(self) -> None:
        """Ends all lanes, whatever they do: no process and no memory of theirs is left."""
        ...
