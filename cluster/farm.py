"""A farm: many jobs, one journal, one set of lanes. It can be killed at any moment and goes on.

One thread turns the loop (`turn`) and does the film tasks; any thread may ask (`tell`, the views).
What follows from an event is carried out by the loop alone, after the journal has it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from actors.face_networks import check_faces
from actors.lane_files import LaneFiles
from actors.toolbox import LaneKit
from cluster.admitting import admit_film, disk_bytes
from cluster.bookkeeper import Bookkeeper
from cluster.executor import Executor
from cluster.failures import as_error
from cluster.film_work import FilmWork
from cluster.folders import release
from cluster.job_shelf import Entry, JobShelf
from cluster.journal import Journal
from cluster.lane_reports import LaneReports
from cluster.preparation import Premises, Say, open_desk
from cluster.publish import partials_of
from cluster.service import DESK, POLL_SECONDS, terms_of
from scheduler.errors import JobUnknown, OutputMissing, SwapfarmError
from scheduler.events import ExecutorEvent, LaneReady, TaskDone, TaskFailed
from scheduler.failure import Failure
from scheduler.history import (
    Event,
    Failed,
    Held,
    LaneUp,
    OutputLost,
    Released,
    Removed,
    Restarted,
    Submitted,
    Ticked,
)
from scheduler.instructions import (
    Drop,
    Instruction,
    JobChanged,
    JobState,
    Kill,
    Start,
    Stop,
)
from scheduler.jobs import LaneTask
from scheduler.ledger import Ledger
from scheduler.standing import Job
from scheduler.tasks import Kind, TaskState

_ROOM_EVERY: Final = 10.0
"""Seconds between two looks at the disk for jobs that wait for room."""


class Farm:
    """The jobs of one journal.

    Args:
        folder: of the journal and of what is kept of jobs; one farm at a time.
        premises: where models and caches are.
        kit: of the lanes.
        open_executor: brings lanes up; called at the first turn.
        local: the lanes are on this machine.
        clock: seconds that go on while no farm is up.

    Raises:
        JournalUnusable: see `Journal`.
    """

    def __init__(
        self,
        *,
        folder: Path,
        premises: Premises,
        kit: LaneKit,
        open_executor: Callable[[], Executor],
        local: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.lock = threading.RLock()
        """Held by whoever reads or changes what the ledger knows."""
        self.folder = folder
        self.shelf = JobShelf(folder / "jobs")
        self._premises = premises
        self._kit = kit
        self._open_executor = open_executor
        self._local = local
        self._clock = clock
        self._journal = Journal(folder / "journal.db")
        self._books = Bookkeeper(self._journal)
        self._reports = LaneReports(self.ledger, falls=None)
        self._executor: Executor | None = None
        self._works: dict[str, FilmWork] = {}
        self._begun: dict[int, LaneTask] = {}
        """Tasks that lanes were given in this life, by lease; until they are counted or dropped."""
        self._todo: deque[Instruction] = deque()
        self._waits: dict[str, FilmWork] = {}
        """Jobs for which there is no room."""
        self._look_at = 0.0
        self.hosts: dict[str, str] = {}
        """The names for people of nodes on which lanes came up in this life."""
        self.draining = False
        """Nothing begins any more."""
        self._recover()

    @property
    def ledger(self) -> Ledger:
        """What is known. To be read with ``lock`` held."""
        return self._books.ledger

    @property
    def busy(self) -> bool:
        """A lane works."""
        with self.lock:
            return any(number in self.ledger.state.book.open for number in self._begun)

    def close(self) -> None:
        """Ends the lanes, whatever they do, and lets go of the journal."""
        if self._executor is not None:
            self._executor.close()
            self._executor = None
        self._journal.close()

    # For any thread

    def submit(self, entry: Entry) -> str:
        """Take a job; the name under which it is known. The same key is the same job.

        Raises:
            SettingInvalid: it asks for what does not go together.
            StorageError: it cannot be written down.
        """
        check_faces(entry.spec)
        with self.lock:
            if entry.key:
                known = self.shelf.with_key(entry.key)
                if known is not None:
                    return known.spec.job_id
            self.shelf.add(entry)
            terms = terms_of(entry.spec, entry.user, entry.priority)
            self._say(entry.spec.job_id)("submitted", f"submitted by {entry.user}")
            self.tell(Submitted(terms=terms))
            return entry.spec.job_id

    def tell(self, *events: Event) -> None:
        """Tell the ledger; what follows is carried out by the loop. Durable when this returns."""
        with self.lock:
            if events:
                self._todo.extend(self._books.handle(events, self._clock()))

    def job(self, name: str) -> Job:
        """A job as it stands, by its name or how that begins or ends. With ``lock`` held.

        Raises:
            JobUnknown: there is none.
        """
        jobs = self.ledger.state.jobs
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

    def remove(self, name: str) -> bool:
        """Forget a job that has ended, with all that is left of it but its result.

        Returns: False: it goes on, or a lane still works on it.
        """
        with self.lock:
            name = self.job(name).id
            spec = self.shelf.entry(name).spec
            self.tell(Removed(job=name))
            if name in self.ledger.state.jobs:
                return False
            self._works.pop(name, None)
            release(Path(spec.folder), partials_of(spec))
            self.shelf.remove(name)
            return True

    # The loop

    def turn(self, timeout: float = POLL_SECONDS) -> None:
        """Hear what lanes say, tell the ledger, do what follows.

        Raises:
            StorageError: the journal cannot be written: this farm is over, make a new one.
        """
        if self._executor is None:
            self._executor = self._open_executor()
        heard = self._executor.poll(0.0 if self._todo else timeout)
        with self.lock:
            self._hear(heard)
            now = self._clock()
            due = self.ledger.next_due()
            if due is not None and due <= now:
                self.tell(Ticked())
        if now >= self._look_at:
            self._look_at = now + _ROOM_EVERY
            self._look_for_room()
        while self._todo:
            self._carry_out(self._todo.popleft())

    def _hear(self, heard: Sequence[ExecutorEvent]) -> None:
        told: list[Event] = []
        done: list[TaskDone] = []
        for event in heard:
            if isinstance(event, TaskDone):
                task = self._begun.get(event.attempt)
                if task is None:
                    continue
                self.shelf.put_result(task.job.job_id, event.attempt, event.result)
                done.append(event)
            elif isinstance(event, TaskFailed):
                self._log_failure(event)
            elif isinstance(event, LaneReady):
                self.hosts[event.node] = event.host
            said = self._reports.told(event)
            if said is not None:
                told.append(said)
        self.tell(*told)
        for event in heard:
            if isinstance(event, TaskFailed):
                self._begun.pop(event.attempt, None)
        for each in done:
            self._keep(each)

    def _keep(self, event: TaskDone) -> None:
        """Keep what a lane made, if the ledger counted it; a `Drop` follows if not."""
        task = self._begun[event.attempt]
        job = self.ledger.state.jobs.get(task.job.job_id)
        if job is None:
            return
        kind: Kind = "analyse" if task.key.startswith("analyse") else "render"
        found = job.task(0, kind, event.result.chunk)
        if found.winner != event.attempt:
            return
        del self._begun[event.attempt]
        self._say(job.id)("done", f"{kind} of chunk {found.chunk}", chunk=str(found.chunk))
        work = self._works.get(job.id)
        if work is not None:
            work.keep(event.result, passthrough=found.passthrough)

    def _carry_out(self, instruction: Instruction) -> None:
        match instruction:
            case Start():
                if not self.draining:
                    self._start(instruction)
            case Stop():
                if instruction.lane != DESK and self._executor is not None:
                    self._executor.stop(int(instruction.lane), instruction.lease)
            case Kill():
                if instruction.lane != DESK and self._executor is not None:
                    self._executor.kill(int(instruction.lane), instruction.why)
            case Drop():
                task = self._begun.pop(instruction.lease, None)
                if task is not None:
                    LaneFiles(task).remove()
                    self.shelf.drop_result(task.job.job_id, instruction.lease)
                    say = self._say(task.job.job_id)
                    say("dropped", instruction.why, chunk=str(task.chunk.index))
            case JobChanged():
                self._changed(instruction)

    def _start(self, start: Start) -> None:
        with self.lock:
            lease = self.ledger.state.book.open.get(start.lease)
            if lease is None or lease.stopping is not None:
                if lease is not None:  # given up before it began
                    gone = OutputMissing("the task was given up", "time to begin", "nothing")
                    self.tell(Failed(lease=start.lease, failure=Failure.of(gone)))
                return
        try:
            work = self._work(start.job)
            if start.lane == DESK:
                self._film_task(work, start)
                return
            task = work.task(start)
        except Exception as error:  # noqa: BLE001  (the farm's border: one job must not end others)
            found = as_error(error)
            self._say(start.job)("failed", f"{start.kind}: {found.found}", code=found.code)
            self.tell(Failed(lease=start.lease, failure=Failure.of(found)))
            return
        self._begun[start.lease] = task
        self._say(start.job)(
            "started",
            f"{start.kind} of chunk {start.chunk} on lane {start.lane}",
            chunk=str(start.chunk),
        )
        assert self._executor is not None
        self._executor.start(task, int(start.lane))

    def _film_task(self, work: FilmWork, start: Start) -> None:
        job = work.job
        if start.kind == "probe":
            for sentence in work.check_output():
                self._say(job.job_id)("note", sentence)
            work.desk.check_sources(job)
            if work.cached:
                self.shelf.put_cached(job.job_id, work.analyses[0])
            self._admit(work)
        delivered = work.do(start)
        if start.kind == "publish":
            with self.lock:
                standing = self.job(job.job_id)
                passed = tuple((first, stop) for _, first, stop in standing.passed())
                retries = standing.retries
            summary = work.summary(retries, passed)
            self.shelf.put_summary(job.job_id, summary)
            work.keep_record(summary)
        self.tell(delivered)

    def _changed(self, changed: JobChanged) -> None:
        why = changed.failure.found if changed.failure else changed.reason
        words = changed.state.value + (f": {why}" if why else "")
        self._say(changed.job)("state", words)
        if changed.state.ended:
            self._works.pop(changed.job, None)
            self._waits.pop(changed.job, None)
            with self.lock, suppress(FileNotFoundError):
                spec = self.shelf.entry(changed.job).spec
                for partial in partials_of(spec):
                    partial.unlink(missing_ok=True)
                if changed.state is JobState.COMPLETED:
                    release(Path(spec.folder), partials_of(spec))

    # Jobs

    def _say(self, job: str) -> Say:
        def say(event: str, message: str, /, **facts: str) -> None:
            numbers = {name: int(value) for name, value in facts.items() if value.isdigit()}
            self.shelf.log(job, event, message, **{**facts, **numbers})

        return say

    def _log_failure(self, event: TaskFailed) -> None:
        task = self._begun.get(event.attempt)
        if task is not None:
            self._say(task.job.job_id)(
                "failed",
                f"{task.key} on lane {event.lane}: {event.error.found}",
                chunk=str(task.chunk.index),
                code=event.error.code,
            )

    def _work(self, name: str) -> FilmWork:
        """The film of a job, as far as it is done: made anew after a restart."""
        if name in self._works:
            return self._works[name]
        spec = self.shelf.entry(name).spec
        for part in ("analysis", "segments"):
            (Path(spec.folder) / part).mkdir(parents=True, exist_ok=True)
        with self.lock:
            step = self.job(name).steps[0]
            planned = step.tasks["probe"][0].state is TaskState.DONE
            stitched = step.tasks["stitch"][0].state is TaskState.DONE
        say = self._say(name)
        desk, _ = open_desk(spec, self._premises, self._kit, say)
        work = FilmWork(spec, desk, lambda phase: say("phase", phase), look=not planned)
        if planned:
            self._take_up(work, stitched=stitched)
        self._works[name] = work
        return work

    def _take_up(self, work: FilmWork, *, stitched: bool) -> None:
        """Bring a film to where it was before a restart.

        Raises:
            OutputMissing: what renders need is not there any more; the ledger knows of it.
        """
        name = work.job.job_id
        cached = self.shelf.cached(name)
        # First: an analysis counts as lost only where something still needs it.
        self._take_results(work, "render")
        if cached is not None:
            work.use(cached)
            whole = True
        else:
            work.plan_analyses()
            whole = self._take_results(work, "analyse")
        if not stitched:
            return
        if whole:
            work.stitch()
            return
        with self.lock:
            step = self.job(name).steps[0]
            stitch = step.tasks["stitch"][0]
            if stitch.winner is not None:
                self.tell(OutputLost(job=name, step=0, kind="stitch", chunk=0, lease=stitch.winner))
            if stitch.state is TaskState.DONE:  # all is rendered: nobody needs it any more
                work.take_plan([(task.start, task.stop) for task in step.tasks["render"]])
                return
        raise OutputMissing(
            "analyses are not on storage any more",
            "what was delivered",
            "nothing: they are made again",
        )

    def _take_results(self, work: FilmWork, kind: Kind) -> bool:
        """What was delivered before a restart; what is not there any more is told as lost.

        Returns: the whole film's is there.
        """
        name = work.job.job_id
        with self.lock:
            tasks = [
                (task.chunk, task.winner, task.passthrough)
                for task in self.job(name).steps[0].tasks[kind]
            ]
        lost: list[Event] = []
        whole = True
        for chunk, winner, passthrough in tasks:
            if winner is None:
                whole = False
                continue
            result = self.shelf.result(name, winner)
            if result is not None:
                work.keep(result, passthrough=passthrough)
                continue
            lost.append(OutputLost(job=name, step=0, kind=kind, chunk=chunk, lease=winner))
        self.tell(*lost)
        return whole and not lost

    def _recover(self) -> None:
        """Go on from the journal: no lane is up, and no lease counts."""
        known = self.ledger.state.jobs
        for name in self.shelf.jobs():
            if name not in known:
                self.shelf.remove(name)  # its submission was never acknowledged
        self.tell(Restarted(), LaneUp(lane=DESK, life=1, node=DESK, role="film"))
        for job in known.values():
            if job.state is JobState.COMPLETED:
                with suppress(FileNotFoundError):
                    spec = self.shelf.entry(job.id).spec
                    release(Path(spec.folder), partials_of(spec))
            elif not job.state.ended:
                self._say(job.id)("restarted", "the service has started again")

    # Room

    def _admit(self, work: FilmWork) -> None:
        """Hold a job for which there is no room now.

        Raises:
            DoesNotFit: there never will be.
        """
        name = work.job.job_id
        others = sum(disk_bytes(each) for job, each in self._works.items() if job != name)
        answer = admit_film(work, self._kit, local=self._local, reserved=others)
        if answer.admitted:
            if self._waits.pop(name, None) is not None:
                self.tell(Released(job=name))
        elif name not in self._waits:
            self._waits[name] = work
            self.tell(Held(job=name, reason=answer.reason))

    def _look_for_room(self) -> None:
        for work in list(self._waits.values()):
            with suppress(SwapfarmError, OSError):
                self._admit(work)
