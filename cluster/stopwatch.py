"""Lanes that stay up from one job to the next, and what each of them spent its time on."""

from __future__ import annotations

import time
from dataclasses import dataclass

from cluster.executor import Executor
from scheduler.errors import ClusterUnreachable
from scheduler.events import ExecutorEvent, LaneLost, LaneReady, TaskDone, TaskFailed
from scheduler.jobs import LaneTask, RenderTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """One attempt at rendering a chunk that a lane has done. Times by the monotonic clock."""

    lane: int
    given: float
    """When the lane was given it."""
    done: float
    """When the lane was heard to be done with it."""
    frames: int
    warmup: int
    """Frames before these that were swapped, too: none where the lane has just rendered them."""
    gap: float | None
    """Seconds from when the lane was heard to be done with the task before until it had this one:
    ledger, journal and film work. None: it had no task before in this job, or was out of work."""


class HeldLanes:
    """An `Executor` over another one that outlives its jobs: `close` leaves it up.

    Args:
        executor: whose lanes it lends. Closed by whoever made it.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._ready: dict[int, LaneReady] = {}
        self._untold: list[ExecutorEvent] = []
        self._given: dict[int, tuple[LaneTask, float, float | None]] = {}
        self._free: dict[int, tuple[float, int]] = {}
        self._rendered: dict[int, int] = {}
        """The chunk that each lane has rendered last."""
        self._polls = 0
        self.spells: list[Spell] = []
        """Of the job that was begun last."""

    @property
    def lanes(self) -> int:
        return self._executor.lanes

    def wait(self, seconds: float) -> float:
        """Until all lanes are up; the seconds that it took.

        Raises:
            ClusterUnreachable: not all of them come up.
        """
        began = time.monotonic()
        while len(self._ready) < self.lanes:
            self.poll(0.2)
            if time.monotonic() - began > seconds:
                raise ClusterUnreachable(
                    f"{len(self._ready)} of {self.lanes} lanes came up within {seconds:.0f} s",
                    "all of them",
                    "free the cluster's resources, or ask for fewer nodes",
                )
        return time.monotonic() - began

    def begin(self) -> None:
        """Before each job: it is told which lanes are up, and its times are taken anew."""
        self._untold = list(self._ready.values())
        self._given, self._free, self._rendered, self.spells = {}, {}, {}, []

    def start(self, task: LaneTask, lane: int) -> None:
        self._executor.start(task, lane)
        now = time.monotonic()
        # A lane that got nothing when it was heard to be free was out of work.
        freed = self._free.pop(lane, None)
        gap = now - freed[0] if freed is not None and freed[1] == self._polls else None
        self._given[lane] = (task, now, gap)

    def stop(self, lane: int, attempt: int) -> None:
        self._executor.stop(lane, attempt)

    def kill(self, lane: int, why: str) -> None:
        self._executor.kill(lane, why)

    def poll(self, timeout: float) -> list[ExecutorEvent]:
        untold, self._untold = self._untold, []
        events = [*untold, *self._executor.poll(0.0 if untold else timeout)]
        now = time.monotonic()
        self._polls += 1
        for event in events:
            match event:
                case LaneReady():
                    self._ready[event.lane] = event
                case LaneLost():
                    self._ready.pop(event.lane, None)
                case TaskDone():
                    self._free[event.lane] = (now, self._polls)
                    self._note(event.lane, now)
                case TaskFailed():
                    self._given.pop(event.lane, None)
        return events

    def close(self) -> None:
        """The job is over; the lanes stay."""

    def _note(self, lane: int, now: float) -> None:
        task, given, gap = self._given.pop(lane)
        if isinstance(task, RenderTask):
            chunk = task.chunk
            goes_on = self._rendered.get(lane) == chunk.index - 1
            self._rendered[lane] = chunk.index
            spell = Spell(
                lane=lane,
                given=given,
                done=now,
                frames=chunk.frames,
                warmup=0 if goes_on else chunk.warmup,
                gap=gap,
            )
            self.spells.append(spell)
