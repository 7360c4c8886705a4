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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from actors.face_networks import check_faces
from actors.lane_files import LaneFiles
from actors.models import ModelStore
from actors.toolbox import LaneKit
from cluster.admitting import admit_film, disk_bytes, gpu_bytes, network_bytes
from cluster.bookkeeper import Bookkeeper
from cluster.executor import Executor
from cluster.failures import as_error
from cluster.farm_news import FarmNews
from cluster.farm_works import FarmWorks
from cluster.film_work import FilmWork
from cluster.folders import release
from cluster.job_shelf import Entry, JobShelf
from cluster.journal import Journal
from cluster.lane_reports import LaneReports
from cluster.preparation import Premises, Say, open_desk
from cluster.publish import partials_of
from cluster.service import DESK, POLL_SECONDS, terms_of
from cluster.webhook import Webhook
from scheduler.admission import Admission, admit_on_gpus
from scheduler.devices import on_gpu
from scheduler.errors import OutputMissing, SwapfarmError
from scheduler.events import ExecutorEvent, LaneReady, TaskDone, TaskFailed
from scheduler.failure import Failure
from scheduler.history import (
    Event,
    Failed,
    Held,
    LaneUp,
    Measured,
    Needs,
    Released,
    Removed,
    Restarted,
    Submitted,
    Terms,
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
from scheduler.jobs import JobSpec, LaneTask
from scheduler.ledger import Ledger
from scheduler.standing import Job, find_job

_ROOM_EVERY: Final = 10.0
"""Seconds between two looks for jobs that wait for room on the disk, and for old ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    """What a lane was given."""

    start: Start
    task: LaneTask


class Farm:
    """The jobs of one journal.

    Args:
        folder: of the journal and of what is kept of jobs; one farm at a time.
        premises: where models and caches are.
        kit: of the lanes.
        open_executor: brings lanes up; called at the first turn.
        local: the lanes are on this machine.
        webhook: tells others of jobs' states; None: nobody is told. Closed with the farm.
        keep_seconds: jobs that ended so long ago are forgotten, as by `remove`; 0: none is.
        falls: after so many lanes in a row that did not come up the farm ends; None: it waits.
        overhear: hears what is said of jobs, beside their logs.
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
        webhook: Webhook | None = None,
        keep_seconds: float = 0.0,
        falls: int | None = None,
        overhear: Say = lambda *_, **__: None,
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
        self._webhook = webhook
        self._news = FarmNews(self.shelf, webhook)
        self._clock = clock
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._journal = Journal(folder / "journal.db")
        self._books = Bookkeeper(self._journal)
        self._reports = LaneReports(self.ledger, falls=falls)
        self._keep_seconds = keep_seconds
        self._overhear = overhear
        self._executor: Executor | None = None
        self._works = FarmWorks(
            shelf=self.shelf,
            job=self.job,
            tell=self.tell,
            lock=self.lock,
            open_work=self._open_work,
        )
        self._begun: dict[int, _Begun] = {}
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
        self.finish_telling()

    def finish_telling(self) -> None:
        """Give webhooks a moment for what they still have to say; the rest waits on disk."""
        if self._webhook is not None:
            self._webhook.close()

    # For any thread

    def submit(self, entry: Entry) -> str:
        """Take a job; the name under which it is known. The same key or name is the same job.

        Raises:
            SettingInvalid: it asks for what does not go together.
            StorageError: it cannot be written down.
        """
        for step in entry.steps:
            check_faces(step)
        with self.lock:
            if entry.job in self.ledger.state.jobs:
                return entry.job
            if entry.key:
                known = self.shelf.with_key(entry.key)
                if known is not None:
                    return known.job
            self.shelf.add(entry)
            self._say(entry.job)("submitted", f"submitted by {entry.user}")
            self.tell(Submitted(terms=_terms(entry)))
            return entry.job

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
        return find_job(self.ledger.state.jobs, name)

    def remove(self, name: str) -> bool:
        """Forget a job that has ended, with all that is left of it but its result.

        Returns: False: it goes on, or a lane still works on it.
        """
        with self.lock:
            name = self.job(name).id
            steps = self.shelf.entry(name).steps
            self.tell(Removed(job=name))
            if name in self.ledger.state.jobs:
                return False
            self._works.forget(name)
            for step in steps:
                release(Path(step.folder), partials_of(step))
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
            self._forget_old(now)
        while self._todo:
            self._carry_out(self._todo.popleft())

    def _hear(self, heard: Sequence[ExecutorEvent]) -> None:
        told: list[Event] = []
        done: list[TaskDone] = []
        for event in heard:
            if isinstance(event, TaskDone):
                begun = self._begun.get(event.attempt)
                if begun is None:
                    continue
                self.shelf.put_result(begun.start.job, event.attempt, event.result)
                done.append(event)
            elif isinstance(event, TaskFailed):
                self._log_failure(event)
            elif isinstance(event, LaneReady):
                self.hosts[event.node] = event.host
                self._look_at = 0.0  # a job may have waited for this lane
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
        start = self._begun[event.attempt].start
        job = self.ledger.state.jobs.get(start.job)
        if job is None:
            return
        found = job.task(start.step, start.kind, start.chunk)
        if found.winner != event.attempt:
            return
        del self._begun[event.attempt]
        self._say(job.id)("done", f"{start.kind} of chunk {found.chunk}", chunk=str(found.chunk))
        work = self._works.known(job.id, start.step)
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
                begun = self._begun.pop(instruction.lease, None)
                if begun is not None:
                    LaneFiles(begun.task).remove()
                    self.shelf.drop_result(begun.start.job, instruction.lease)
                    say = self._say(begun.start.job)
                    say("dropped", instruction.why, chunk=str(begun.start.chunk))
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
            work = self._works.of(start.job, start.step)
            if start.lane == DESK:
                self._film_task(work, start)
                return
            task = work.task(start)
        except Exception as error:  # noqa: BLE001  (the farm's border: one job must not end others)
            found = as_error(error)
            self._say(start.job)("failed", f"{start.kind}: {found.found}", code=found.code)
            self.tell(Failed(lease=start.lease, failure=Failure.of(found)))
            return
        self._begun[start.lease] = _Begun(start=start, task=task)
        self._say(start.job)(
            "started",
            f"{start.kind} of chunk {start.chunk} on lane {start.lane}",
            chunk=str(start.chunk),
        )
        assert self._executor is not None
        self._executor.start(task, int(start.lane))

    def _film_task(self, work: FilmWork, start: Start) -> None:
        name, number = start.job, start.step
        if start.kind == "probe":
            for sentence in work.check_output():
                self._say(name)("note", sentence)
            work.desk.check_sources(work.job)
            if work.cached:
                self.shelf.put_cached(name, number, work.analyses[0])
            self._admit(name, work)
        delivered = work.do(start)
        if start.kind == "publish":
            with self.lock:
                standing = self.job(name)
                passed = tuple((a, b) for step, a, b in standing.passed() if step == number)
                retries = standing.retries
            summary = work.summary(retries, passed)
            self.shelf.put_summary(name, number, summary)
            work.keep_record(summary)
        self.tell(delivered)
        if start.kind == "publish":
            self._published(start, work)

    def _published(self, start: Start, work: FilmWork) -> None:
        """The result of a step is there: what only its making needed goes before the next."""
        with self.lock:
            task = self.job(start.job).task(start.step, "publish", 0)
            counts = task.winner == start.lease
        if counts:
            self._works.forget(start.job, start.step)
            release(Path(work.job.folder), partials_of(work.job))

    def _changed(self, changed: JobChanged) -> None:
        why = changed.failure.found if changed.failure else changed.reason
        words = changed.state.value + (f": {why}" if why else "")
        self._say(changed.job)("state", words)
        self._news.tell(changed.job, changed.state, changed.failure)
        if changed.state.ended:
            self._works.forget(changed.job)
            self._waits.pop(changed.job, None)
            with self.lock, suppress(FileNotFoundError):
                for spec in self.shelf.entry(changed.job).steps:
                    for partial in partials_of(spec):
                        partial.unlink(missing_ok=True)
                    if changed.state is JobState.COMPLETED:
                        release(Path(spec.folder), partials_of(spec))

    # Jobs

    def _say(self, job: str) -> Say:
        def say(event: str, message: str, /, **facts: str) -> None:
            numbers = {name: int(value) for name, value in facts.items() if value.isdigit()}
            self.shelf.log(job, event, message, **{**facts, **numbers})
            self._overhear(event, message, **facts)

        return say

    def _log_failure(self, event: TaskFailed) -> None:
        begun = self._begun.get(event.attempt)
        if begun is not None:
            self._say(begun.start.job)(
                "failed",
                f"{begun.task.key} on lane {event.lane}: {event.error.found}",
                chunk=str(begun.start.chunk),
                code=event.error.code,
            )

    def _open_work(self, job: str, spec: JobSpec, look: bool) -> FilmWork:
        say = self._say(job)
        desk, _ = open_desk(spec, self._premises, self._kit, say)
        return FilmWork(spec, desk, lambda phase: say("phase", phase), look=look)

    def _recover(self) -> None:
        """Go on from the journal: no lane is up, and no lease counts."""
        known = self.ledger.state.jobs
        for name in self.shelf.jobs():
            if name not in known:
                self.shelf.remove(name)  # its submission was never acknowledged
        self.tell(Restarted(), LaneUp(lane=DESK, life=1, node=DESK, role="film"))
        for job in known.values():
            self._news.tell(job.id, job.state, job.failure)  # if death came before the word
            if job.state is JobState.COMPLETED:
                with suppress(FileNotFoundError):
                    for spec in self.shelf.entry(job.id).steps:
                        release(Path(spec.folder), partials_of(spec))
            elif not job.state.ended:
                self._say(job.id)("restarted", "the service has started again")

    # Room

    def _admit(self, name: str, work: FilmWork) -> None:
        """Hold a job for which there is no room now.

        Raises:
            DoesNotFit: there never will be.
            ModelError: a network cannot be had.
        """
        others = sum(disk_bytes(each) for each in self._works.others(name))
        answer = admit_film(work, self._kit, local=self._local, reserved=others)
        if answer.admitted and on_gpu(work.job.device):
            answer = self._admit_on_gpus(name, work)
        if answer.admitted:
            if self._waits.pop(name, None) is not None:
                self.tell(Released(job=name))
        elif name not in self._waits:
            self._waits[name] = work
            self.tell(Held(job=name, reason=answer.reason))

    def _admit_on_gpus(self, name: str, work: FilmWork) -> Admission:
        """Whether a lane's GPU has room for a job; the ledger gives its chunks to no other."""
        lanes: dict[str, int] = {}
        with self.lock:
            for seat in self.ledger.state.roster.lanes.values():
                if seat.role == "frames" and seat.state != "down":
                    node = self.hosts.get(seat.node) or seat.node
                    lanes[node] = max(lanes.get(node, 0), seat.gpu_memory)
        if not lanes:
            return Admission(admitted=False, lacks="memory", reason="no lane is up yet")
        if not any(lanes.values()):  # lanes without GPUs say themselves what they lack
            return Admission(admitted=True)
        networks = network_bytes(work.job, ModelStore(self._premises.cache_dir))
        needed = gpu_bytes(work, networks, self._kit)
        self.tell(Measured(job=name, needs=Needs(gpu_memory=needed)))
        return admit_on_gpus(needed, lanes)

    def _forget_old(self, now: float) -> None:
        if not self._keep_seconds:
            return
        with self.lock:
            ended = [(job.id, job.ended) for job in self.ledger.state.jobs.values()]
            for name, at in ended:
                if at is not None and at <= now - self._keep_seconds:
                    self.remove(name)

    def _look_for_room(self) -> None:
        for name, work in list(self._waits.items()):
            with suppress(SwapfarmError, OSError):
                self._admit(name, work)


def _terms(entry: Entry) -> Terms:
    """What the ledger has to know of a job of several steps."""
    passing = (n for n, step in enumerate(entry.steps) if step.on_error == "passthrough")
    return replace(
        terms_of(entry.spec, entry.user, entry.priority),
        job=entry.job,
        steps=len(entry.steps),
        on_error="fail",
        passing=tuple(passing),
    )
