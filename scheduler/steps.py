"""One step of a job as a graph: which task needs which.

    probe -> analyse every chunk -> stitch -> render every chunk -> join -> publish

A render needs the stitch, its own analysis and those of its neighbours. In a step that overlaps,
renders are planned with the analyses and do not wait for the stitch; the join does.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from scheduler.tasks import Kind, Task, TaskState

Ranges = Sequence[tuple[int, int]]
"""Frames [start, stop) of each chunk, in order."""


@dataclass(slots=True, kw_only=True)
class Step:
    """The tasks of one step.

    Args:
        overlap: renders do not wait for the whole film's analysis.
    """

    job: str
    number: int
    overlap: bool = False
    tasks: dict[Kind, list[Task]] = field(default_factory=dict)
    readers: list[tuple[int, int]] = field(default_factory=list)
    """For each analysis, the renders [first, stop) that need it."""

    def begin(self, *, waits: bool) -> None:
        """Make the film tasks. The plans that are still to come count as things not done."""
        opens: tuple[tuple[Kind, int], ...] = (
            ("probe", int(waits)),
            ("stitch", 1),
            ("join", 2 if self.overlap else 1),
            ("publish", 1),
        )
        for kind, missing in opens:
            self.tasks[kind] = [Task(job=self.job, step=self.number, kind=kind, open=missing)]
        self.tasks["analyse"] = []
        self.tasks["render"] = []

    def plan_analyses(self, ranges: Ranges) -> list[Task]:
        """The film is known. Gives what may begin; no chunks: the analysis is there already."""
        self.tasks["analyse"] = self._chunks("analyse", ranges)
        stitch = self.tasks["stitch"][0]
        stitch.open += len(ranges) - 1
        return [*self.tasks["analyse"], *([] if stitch.open else [stitch])]

    def plan_renders(self, ranges: Ranges, costs: Sequence[float] = ()) -> list[Task]:
        """Where the renders' borders are is known. Gives the renders that may begin.

        A second stitch gives the same plan (law 3) and leaves the renders as they are.
        """
        if self.tasks["render"]:
            return []
        self.tasks["join"][0].open += len(ranges) - 1
        self.tasks["render"] = self._chunks("render", ranges)
        for task, cost in zip(self.tasks["render"], costs, strict=False):
            task.cost = cost
        analyses = self.tasks["analyse"]
        starts = [task.start for task in analyses]
        stops = [task.stop for task in analyses]
        firsts, lasts = [], []
        for task in self.tasks["render"]:
            first = max(bisect_right(stops, task.start) - 1, 0)
            last = min(bisect_left(starts, task.stop) + 1, len(analyses))
            task.open = sum(a.state is not TaskState.DONE for a in analyses[first:last])
            firsts.append(first)
            lasts.append(last)
        self.readers = [
            (bisect_right(lasts, number), bisect_right(firsts, number))
            for number in range(len(analyses))
        ]
        return [task for task in self.tasks["render"] if not task.open]

    def dependents(self, task: Task) -> list[Task]:
        """The tasks of this step that need this one."""
        match task.kind:
            case "analyse":
                first, stop = self.readers[task.chunk] if self.readers else (0, 0)
                return [*self.tasks["stitch"], *self.tasks["render"][first:stop]]
            case "stitch":
                return self.tasks["join"] if self.overlap else self.tasks["render"]
            case "render":
                return self.tasks["join"]
            case "join":
                return self.tasks["publish"]
            case _:
                return []

    def done(self, task: Task) -> list[Task]:
        """Tell those that need it. Gives what may begin because of it."""
        ready = []
        for dependent in self.dependents(task):
            dependent.open -= 1
            if not dependent.open and dependent.state is TaskState.BLOCKED:
                ready.append(dependent)
        return ready

    def undone(self, task: Task) -> None:
        """A task that was done is not done any more: those that need it have to wait for it."""
        for dependent in self.dependents(task):
            dependent.open += 1

    def inside(self, kind: Kind, start: int, stop: int) -> list[Task]:
        """The chunks of a kind that have frames in [start, stop)."""
        return [t for t in self.tasks[kind] if t.start < stop and start < t.stop]

    def _chunks(self, kind: Kind, ranges: Ranges) -> list[Task]:
        return [
            Task(job=self.job, step=self.number, kind=kind, chunk=chunk, start=start, stop=stop)
            for chunk, (start, stop) in enumerate(ranges)
        ]
