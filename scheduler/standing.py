"""Where one job stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from scheduler.errors import DiskFull, JobUnknown
from scheduler.failure import Failure
from scheduler.history import Terms
from scheduler.instructions import JobState
from scheduler.pace import Pace
from scheduler.steps import Step
from scheduler.tasks import Kind, Task, TaskState


@dataclass(slots=True, kw_only=True)
class Job:
    """A job with its steps, and all that was decided about it."""

    terms: Terms
    turn: int
    """Order of submission among the user's jobs."""
    submitted: float
    priority: int
    lane_limit: int | None
    state: JobState = JobState.QUEUED
    steps: list[Step] = field(default_factory=list)
    paused: bool = False
    held: str = ""
    """Why it cannot be worked on now; empty when it can."""
    failure: Failure | None = None
    running: int = 0
    """Leases on chunks that count."""
    leases: list[int] = field(default_factory=list)
    """All that count, in order."""
    retries: int = 0
    dropped: int = 0
    """Deliveries that did not count."""
    ended: float | None = None
    paces: dict[Kind, Pace] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return self.terms.job

    @property
    def tasks(self) -> Iterator[Task]:
        """Of all steps."""
        return (task for step in self.steps for each in step.tasks.values() for task in each)

    @property
    def works(self) -> bool:
        """Whether tasks of it may begin."""
        return not self.state.ended and not self.paused and not self.held

    @property
    def full(self) -> bool:
        return self.lane_limit is not None and self.running >= self.lane_limit

    @property
    def lacks(self) -> str:
        """What the disk said to tasks that wait for room; empty when none does."""
        found = (
            task.last.found
            for task in self.tasks
            if task.state is TaskState.WAITING and task.last and task.last.code == DiskFull.code
        )
        return next(found, "")

    def task(self, step: int, kind: Kind, chunk: int) -> Task:
        return self.steps[step].tasks[kind][chunk]

    def pace(self, kind: Kind) -> Pace:
        return self.paces.setdefault(kind, Pace())

    def passed(self) -> list[tuple[int, int, int]]:
        """Step and frames [start, stop) of the chunks that keep the source's own frames."""
        return [
            (step.number, task.start, task.stop)
            for step in self.steps
            for task in step.tasks["render"]
            if task.passthrough and task.state is TaskState.DONE
        ]

    def count(self, kind: Kind, state: TaskState) -> int:
        """Tasks of a kind in a state, over all steps."""
        return sum(task.state is state for step in self.steps for task in step.tasks[kind])


def current_step(job: Job) -> int:
    """The first step whose result is not there; the last one where all are."""
    for step in job.steps:
        if step.tasks["publish"][0].state is not TaskState.DONE:
            return step.number
    return job.steps[-1].number


def find_job(jobs: Mapping[str, Job], name: str) -> Job:
    """A job by its name or how that begins or ends.

    Raises:
        JobUnknown: there is none, or more than one.
    """
    if name in jobs:
        return jobs[name]
    fits = [job for job in jobs if name and (job.startswith(name) or job.endswith(name))]
    if len(fits) != 1:
        raise JobUnknown(
            f"{len(fits) or 'no'} jobs are called {name!r}",
            "the name of a job of this farm, or the part of it that no other has",
            "see them with `farm jobs`",
        )
    return jobs[fits[0]]
