"""The films of a farm's jobs as far as they are done: made anew from the shelf after a restart."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from cluster.film_work import FilmWork
from cluster.job_shelf import JobShelf
from scheduler.errors import OutputMissing
from scheduler.history import Event, OutputLost
from scheduler.jobs import JobSpec
from scheduler.standing import Job
from scheduler.steps import Step
from scheduler.tasks import Kind, TaskState


class Tell(Protocol):
    """Tells the ledger."""

    def __call__(self, *events: Event) -> None: ...


class FarmWorks:
    """The work on each step that is under way.

    Args:
        job: a job as it stands, by its name.
        tell: is told what storage lost.
        lock: held to read what the ledger knows.
        open_work: of a job's name and a step; whether its analysis may come from the cache.
    """

    def __init__(
        self,
        *,
        shelf: JobShelf,
        job: Callable[[str], Job],
        tell: Tell,
        lock: AbstractContextManager[object],
        open_work: Callable[[str, JobSpec, bool], FilmWork],
    ) -> None:
        self._shelf = shelf
        self._job = job
        self._tell = tell
        self._lock = lock
        self._open_work = open_work
        self._works: dict[tuple[str, int], FilmWork] = {}

    def known(self, job: str, step: int) -> FilmWork | None:
        """The work, if somebody has asked for it in this life."""
        return self._works.get((job, step))

    def others(self, job: str) -> Iterable[FilmWork]:
        """Of all other jobs."""
        return [work for (name, _), work in self._works.items() if name != job]

    def forget(self, job: str, step: int | None = None) -> None:
        """Of a step, or of all steps of a job."""
        for known in list(self._works):
            if known[0] == job and step in (None, known[1]):
                del self._works[known]

    def of(self, job: str, step: int) -> FilmWork:
        """The work on a step, brought to where it was before a restart.

        Raises:
            OutputMissing: what renders need is not there any more; the ledger knows of it.
            SwapfarmError: the film cannot be read.
        """
        found = self._works.get((job, step))
        if found is not None:
            return found
        spec = self._shelf.entry(job).steps[step]
        for part in ("analysis", "segments"):
            (Path(spec.folder) / part).mkdir(parents=True, exist_ok=True)
        with self._lock:
            planned = self._step(job, step).tasks["probe"][0].state is TaskState.DONE
            stitched = self._step(job, step).tasks["stitch"][0].state is TaskState.DONE
        work = self._open_work(job, spec, not planned)
        if planned:
            self._take_up(job, step, work, stitched=stitched)
        self._works[job, step] = work
        return work

    def _step(self, job: str, step: int) -> Step:
        return self._job(job).steps[step]

    def _take_up(self, job: str, number: int, work: FilmWork, *, stitched: bool) -> None:
        cached = self._shelf.cached(job, number)
        # First: an analysis counts as lost only where something still needs it.
        self._take_results(job, number, work, "render")
        if cached is not None:
            work.use(cached)
            whole = True
        else:
            work.plan_analyses()
            whole = self._take_results(job, number, work, "analyse")
        if not stitched:
            return
        if whole:
            work.stitch()
            return
        with self._lock:
            step = self._step(job, number)
            stitch = step.tasks["stitch"][0]
            if stitch.winner is not None:
                self._tell(
                    OutputLost(job=job, step=number, kind="stitch", chunk=0, lease=stitch.winner)
                )
            if stitch.state is TaskState.DONE:  # all is rendered: nobody needs it any more
                work.take_plan([(task.start, task.stop) for task in step.tasks["render"]])
                return
        raise OutputMissing(
            "analyses are not on storage any more",
            "what was delivered",
            "nothing: they are made again",
        )

    def _take_results(self, job: str, number: int, work: FilmWork, kind: Kind) -> bool:
        """What was delivered before a restart; what is not there any more is told as lost.

        Returns: the whole film's is there.
        """
        with self._lock:
            tasks = [
                (task.chunk, task.winner, task.passthrough)
                for task in self._step(job, number).tasks[kind]
            ]
        lost: list[Event] = []
        whole = True
        for chunk, winner, passthrough in tasks:
            if winner is None:
                whole = False
                continue
            result = self._shelf.result(job, winner)
            if result is not None:
                work.keep(result, passthrough=passthrough)
                continue
            lost.append(OutputLost(job=job, step=number, kind=kind, chunk=chunk, lease=winner))
        self._tell(*lost)
        return whole and not lost
