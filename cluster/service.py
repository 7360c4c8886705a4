"""Drives one job in the foreground: asks the ledger what to do, lets lanes and the film's own work
do it, tells the ledger.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from actors.face_networks import check_faces
from cluster.analyses import AnalysisCache
from cluster.executor import Executor
from cluster.film_work import Desk, FilmWork
from cluster.folders import claim, release
from cluster.lane_reports import LaneReports
from cluster.publish import partials_of
from cluster.records import RecordBook
from cluster.stitching import Stitched
from scheduler.census import Census
from scheduler.chunks import Chunk
from scheduler.classes import FaceClass
from scheduler.errors import DiskFull, storage_error
from scheduler.events import TaskDone, TaskProgress
from scheduler.failure import Failure
from scheduler.history import Event, Failed, LaneUp, Submitted, Terms, Ticked
from scheduler.instructions import Instruction, JobChanged, JobState, Kill, Start, Stop
from scheduler.jobs import Analysis, JobSpec, JobSummary
from scheduler.ledger import Ledger
from scheduler.media import VideoIndex
from scheduler.progress import JobSnapshot
from scheduler.tally import Tally
from scheduler.tasks import Kind
from scheduler.timing import added, cpu_by_stage

POLL_SECONDS: Final = 0.2
DESK: Final = "desk"
"""The ledger's name for the service, which does the film tasks itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What is known of a film before it is rendered."""

    index: VideoIndex
    stitched: Stitched
    census: Census
    cuts: int
    chunks: tuple[Chunk, ...]
    """As they would be rendered."""
    crop_size: int
    cached: bool
    """The analysis came from the cache."""
    seconds: float
    """Wall time of the analysis."""
    cpu_ms: dict[str, float]
    """CPU milliseconds by stage of the analysis, over the film."""
    embedded: int
    """Faces that the recogniser looked at."""
    classified: int
    """Faces that the classifier looked at."""
    detected: int
    """Pictures that the face detector looked at; as ``embedded`` 0 from the cache."""


class JobService:
    """Runs one job to its end.

    Args:
        open_executor: brings lanes up; called once the film and the faces have proved usable, so
            that a user with a broken film does not wait for lanes.
        watch: is told how far the job is, a few times a second.
        admit: raises a StorageError when the job does not fit; asked before lanes come up.
        check_sources, note, marking, embed_references, classify_source, analyses, records, sign:
            see `Desk`.
    """

    def __init__(
        self,
        *,
        open_executor: Callable[[], Executor],
        check_sources: Callable[[JobSpec], object],
        watch: Callable[[JobSnapshot], None],
        note: Callable[[str], None],
        marking: dict[str, str],
        embed_references: Callable[[JobSpec], NDArray[np.float64]] | None = None,
        classify_source: Callable[[JobSpec], FaceClass] | None = None,
        analyses: AnalysisCache | None = None,
        records: RecordBook | None = None,
        sign: Callable[[JobSpec, Path], None] | None = None,
        admit: Callable[[FilmWork], object] = lambda _: None,
    ) -> None:
        self._open_executor = open_executor
        self._watch = watch
        self._admit = admit
        self._desk = Desk(
            check_sources=check_sources,
            note=note,
            marking=marking,
            embed_references=embed_references,
            classify_source=classify_source,
            analyses=analyses,
            records=records,
            sign=sign,
        )
        self._ledger = Ledger()
        self._reports = LaneReports(self._ledger)
        self._tally: Tally | None = None

    def run(self, job: JobSpec, *, keep: bool = False) -> JobSummary:
        """Work the job off and publish its result.

        Whatever ends the job early (an error, Ctrl-C), its lanes, its folder and its half-written
        output are gone when this returns.

        Raises:
            SwapfarmError: why the job cannot be finished.
        """
        check_faces(job)
        with self._folder(job, keep):
            work = FilmWork(job, self._desk, lambda phase: self._announce(job, phase))
            for sentence in work.check_output():
                self._desk.note(sentence)
            self._desk.check_sources(work.job)
            self._admit(work)
            work.announce("start")
            with closing(self._open_executor()) as executor:
                self._drive(work, executor)
            standing = self._ledger.state.jobs[job.job_id]
            passed = tuple((start, stop) for _, start, stop in standing.passed())
            summary = work.summary(standing.retries, passed)
            work.keep_record(summary)
            return summary

    def survey(self, job: JobSpec) -> Survey:
        """Analyse and stitch, and render nothing: who is in the film, and what is to be done.

        Raises:
            SwapfarmError: why that is not possible.
        """
        check_faces(job)
        with self._folder(job, keep=False):
            work = FilmWork(job, self._desk, lambda phase: self._announce(job, phase))
            self._desk.check_sources(work.job)
            began = time.monotonic()
            if work.cached:
                work.stitch()
            else:
                work.announce("start")
                with closing(self._open_executor()) as executor:
                    self._drive(work, executor, survey=True)
            assert work.stitched is not None
            return Survey(
                index=work.index,
                stitched=work.stitched,
                census=work.census,
                cuts=len(work.cuts),
                chunks=work.chunks["render"],
                crop_size=work.crop_size,
                cached=work.cached,
                seconds=time.monotonic() - began,
                cpu_ms=cpu_by_stage(added(each.times for each in work.analyses.values())),
                embedded=sum(analysis.embedded for analysis in work.analyses.values()),
                classified=sum(analysis.classified for analysis in work.analyses.values()),
                detected=sum(analysis.detected for analysis in work.analyses.values()),
            )

    @contextmanager
    def _folder(self, job: JobSpec, keep: bool) -> Iterator[None]:
        """The job's folder, gone in the end unless all went well and it is to be kept."""
        self._ledger = Ledger()
        self._reports = LaneReports(self._ledger)
        self._tally = None
        folder, partials = Path(job.folder), partials_of(job)
        claim(folder, partials)
        kept = False
        try:
            yield
            kept = keep
        except OSError as error:
            raise storage_error(error, str(error.filename or folder)) from error
        finally:
            release(folder, partials, keep=kept)

    def _drive(self, work: FilmWork, executor: Executor, *, survey: bool = False) -> None:
        """The loop: events in, instructions out, until nothing is left to do.

        Args:
            survey: stop after the stitch.
        """
        self._tell(LaneUp(lane=DESK, life=1, node=DESK, role="film"))
        todo = self._tell(Submitted(terms=terms_of(work.job)))
        while True:
            for instruction in todo:
                match instruction:
                    case Start(kind="analyse" | "render"):
                        executor.start(work.task(instruction), int(instruction.lane))
                    case Start():
                        if survey and instruction.kind == "stitch":
                            work.do(instruction)
                            return
                        todo = self._film_task(work, instruction)
                        break
                    case Kill():
                        executor.kill(int(instruction.lane), instruction.why)
                    case JobChanged(state=JobState.COMPLETED):
                        return
                    case JobChanged(failure=Failure() as failure):
                        raise failure.error()
                    case Stop() if instruction.lane != DESK:
                        executor.stop(int(instruction.lane), instruction.lease)
                    case _:
                        pass  # dropped files go with the folder: no other attempt has their names
            else:
                todo = self._listen(work, executor)

    def _film_task(self, work: FilmWork, start: Start) -> list[Instruction]:
        """Do what needs the whole film, here and now, and tell of it. Where there is no room, the
        ledger has it tried again."""
        self._tally = None
        try:
            delivered = work.do(start)
        except DiskFull as error:
            self._announce(work.job, start.kind, f"{error.found}: it goes on when there is room")
            return self._tell(Failed(lease=start.lease, failure=Failure.of(error)))
        kinds: dict[Kind, Kind] = {"probe": "analyse", "stitch": "render"}
        kind = kinds.get(start.kind)
        if kind is not None and delivered.chunks:
            self._tally = Tally(
                job_id=work.job.job_id,
                kind=kind,
                chunks=work.chunks[kind],
                phases=work.phases,
            )
        return self._tell(delivered)

    def _listen(self, work: FilmWork, executor: Executor) -> list[Instruction]:
        """Wait for lanes to tell something and pass it to the ledger."""
        out: list[Instruction] = []
        for event in executor.poll(POLL_SECONDS):
            if isinstance(event, TaskProgress) and self._tally:
                self._tally.count(event)
            told = self._reports.told(event)
            if told is not None:
                out += self._tell(told)
            if isinstance(event, TaskDone):
                self._keep_result(work, event)
        out += self._tell(Ticked())
        if self._tally and self._tally.under_way:
            self._watch(self._tally.snapshot(self._ledger, time.monotonic()))
        return out

    def _keep_result(self, work: FilmWork, event: TaskDone) -> None:
        """Keep what a lane made, if the ledger counted it."""
        result = event.result
        kind: Kind = "analyse" if isinstance(result, Analysis) else "render"
        task = self._ledger.task(work.job.job_id, 0, kind, result.chunk)
        if task.winner == event.attempt:
            work.keep(result, passthrough=task.passthrough)

    def _tell(self, event: Event) -> list[Instruction]:
        return self._ledger.handle(event, time.monotonic())

    def _announce(self, job: JobSpec, phase: str, message: str = "") -> None:
        known = self._ledger.state.jobs.get(job.job_id)
        self._watch(
            JobSnapshot(
                job_id=job.job_id,
                phase=phase,
                frames_done=0,
                frames_total=0,
                retries=known.retries if known else 0,
                message=message,
            )
        )


def terms_of(job: JobSpec, user: str = "", priority: int = 50) -> Terms:
    """What the ledger has to know of a job."""
    return Terms(
        job=job.job_id,
        user=user,
        priority=priority,
        attempts=job.attempts,
        on_error=job.on_error,
    )
