"""Drives one job: asks the ledger what to do, lets lanes and rooms do it, tells the ledger.

What lanes do (analyse, render) goes to the executor; what needs the whole film (probe, stitch,
join, publish) is done here.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from actors.face_networks import check_faces
from actors.muxer import check_container, join
from actors.prober import probe
from actors.stages import analysis_halo
from actors.stills import Still, check_still, read_still, write_still, write_target
from actors.swap_needs import swap_crop_size
from cluster.analyses import AnalysisCache
from cluster.appearances import write_appearances
from cluster.executor import Executor
from cluster.folders import claim, release
from cluster.publish import partial_of, publish_film, publish_hashes, publish_masks
from cluster.records import RecordBook
from cluster.stitching import FilmStitch, Stitched
from kernels.cuts import find_cuts
from kernels.geometry import display_affine
from scheduler.census import Census
from scheduler.chunks import Chunk, plan_chunks
from scheduler.classes import FaceClass
from scheduler.errors import FramesLost, storage_error
from scheduler.events import TaskDone, TaskProgress
from scheduler.hands import SCHEMA as HANDS
from scheduler.jobs import AnalyseTask, Analysis, JobSpec, JobSummary, RenderTask, Segment
from scheduler.ledger import (
    Event,
    Fail,
    Finish,
    Instruction,
    Join,
    Joined,
    Kind,
    Ledger,
    Planned,
    Start,
    Stitch,
    Tick,
)
from scheduler.media import VideoIndex
from scheduler.progress import JobSnapshot
from scheduler.tally import Tally
from scheduler.timeline import cut, localised, result_of, span_of

POLL_SECONDS: Final = 0.2


@dataclass(slots=True)
class _Film:
    """What the service learns of the film while the job goes on."""

    whole: VideoIndex
    """Of the file."""
    index: VideoIndex
    """Of the frames that are worked on (``scheduler.timeline``)."""
    result: VideoIndex
    """Of the result."""
    still: Still | None = None
    """The picture, where the target is one."""
    chunks: dict[Kind, tuple[Chunk, ...]] = field(default_factory=dict)
    analyses: dict[int, Analysis] = field(default_factory=dict)
    segments: dict[int, Segment] = field(default_factory=dict)
    census: Census = field(default_factory=lambda: Census(0))
    cuts: tuple[int, ...] = ()
    stitched: Stitched | None = None
    crop_size: int = 0
    key: str = ""
    """Of its analysis in the cache; empty: without one."""
    cached: bool = False
    """The analysis came from the cache."""


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
        check_sources: raises an InputError when the job's source pictures cannot be used.
        watch: is told how far the job is, a few times a second.
        note: is told what the user should know though it stops nothing.
        marking: container metadata for the result (says that faces were altered, and by what).
        embed_references: [n, d] embeddings of the pictures in ``job.faces.references``;
            only jobs that have some need it.
        classify_source: how the face that is put on looks; only jobs with "auto" need it.
        analyses: where analyses are kept; None: nowhere.
        records: where what reports need is kept of jobs that ask for it; None: nowhere.
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
    ) -> None:
        self._open_executor = open_executor
        self._check_sources = check_sources
        self._watch = watch
        self._note = note
        self._marking = marking
        self._embed_references = embed_references
        self._classify_source = classify_source
        self._analyses = analyses
        self._records = records
        self._ledger = Ledger()
        self._tally: Tally | None = None
        self._phases: dict[str, float] = {}

    def run(self, job: JobSpec, *, keep: bool = False) -> JobSummary:
        """Work the job off and publish its result.

        Whatever ends the job early (an error, Ctrl-C), its lanes, its folder and its half-written
        output are gone when this returns.

        Raises:
            SwapfarmError: why the job cannot be finished.
        """
        began = time.monotonic()
        check_faces(job)
        with self._folder(job, keep):
            film = self._probe(job)
            job = localised(job, film.whole)
            for sentence in self._check_output(job, film):
                self._note(sentence)
            self._check_sources(job)
            self._announce(job, "start")
            with closing(self._open_executor()) as executor:
                self._drive(job, film, executor)
            summary = self._summary(job, film, time.monotonic() - began)
            self._keep_record(job, film, summary)
            return summary

    def survey(self, job: JobSpec) -> Survey:
        """Analyse and stitch, and render nothing: who is in the film, and what is to be done.

        Raises:
            SwapfarmError: why that is not possible.
        """
        check_faces(job)
        with self._folder(job, keep=False):
            film = self._probe(job)
            job = localised(job, film.whole)
            self._check_sources(job)
            began = time.monotonic()
            if film.cached:
                self._stitch(job, film)
            else:
                self._announce(job, "start")
                with closing(self._open_executor()) as executor:
                    self._drive(job, film, executor, survey=True)
            assert film.stitched is not None
            cpu: defaultdict[str, float] = defaultdict(float)
            for analysis in film.analyses.values():
                for stage, ms in analysis.cpu_ms.items():
                    cpu[stage] += ms
            return Survey(
                index=film.index,
                stitched=film.stitched,
                census=film.census,
                cuts=len(film.cuts),
                chunks=film.chunks["render"],
                crop_size=film.crop_size,
                cached=film.cached,
                seconds=time.monotonic() - began,
                cpu_ms=dict(cpu),
                embedded=sum(analysis.embedded for analysis in film.analyses.values()),
                classified=sum(analysis.classified for analysis in film.analyses.values()),
                detected=sum(analysis.detected for analysis in film.analyses.values()),
            )

    @contextmanager
    def _folder(self, job: JobSpec, keep: bool) -> Iterator[None]:
        """The job's folder, gone in the end unless all went well and it is to be kept."""
        self._ledger = Ledger(attempts=job.attempts)
        folder, partials = Path(job.folder), [Path(job.partial)]
        extras = [path for path in (job.hashes_output, job.masks_output) if path]
        partials += [partial_of(Path(path)) for path in extras]
        claim(folder, partials)
        kept = False
        try:
            yield
            kept = keep
        except OSError as error:
            raise storage_error(error, str(error.filename or folder)) from error
        finally:
            release(folder, partials, keep=kept)

    def _probe(self, job: JobSpec) -> _Film:
        self._announce(job, "probe")
        still = read_still(Path(job.media)) if job.still else None
        if still is not None:
            write_target(still, Path(job.still_target))
        whole = probe(job.still_target if still else job.media)
        index = cut(whole, job.cut)
        film = _Film(
            whole=whole,
            index=index,
            result=result_of(index, job.cut.rate, job.encoder.scale),
            census=Census(index.frames),
            still=still,
        )
        if self._analyses is not None:
            film.key = self._analyses.key(Path(job.media), job.analysis, job.cut)
            found = self._analyses.find(
                film.key,
                portraits=job.portraits,
                occlusion=job.occlusion,
                objects=job.objects,
                folder=Path(job.folder),
            )
            if found is not None and found.frames == index.frames:
                self._note("analysis from cache")
                film.cached = True
                film.analyses = {0: found}
                film.chunks["analyse"] = (Chunk(index=0, start=0, stop=index.frames),)
        return film

    def _check_output(self, job: JobSpec, film: _Film) -> tuple[str, ...]:
        """What of the film the result will not have; asked before any work is done."""
        output = Path(job.output)
        if film.still is not None:
            return check_still(film.still, output, job.image)
        span = span_of(film.whole, film.index)
        return check_container(film.result, output, job.encoder, job.sound, span)

    def _drive(
        self, job: JobSpec, film: _Film, executor: Executor, *, survey: bool = False
    ) -> None:
        """The loop: events in, instructions out, until nothing is left to do.

        Args:
            survey: stop after the stitch.
        """
        if film.cached:
            todo = self._stitch(job, film)
        else:
            halo = analysis_halo(job)
            chunks = plan_chunks(film.index, seconds=job.chunk_seconds, halo=halo)
            todo = self._plan(job, film, "analyse", chunks)
        while True:
            for instruction in todo:
                match instruction:
                    case Start():
                        executor.start(self._task(job, film, instruction), instruction.lane)
                    case Stitch():
                        self._keep_analyses(job, film)
                        todo = self._stitch(job, film)
                        if survey:
                            return
                        break
                    case Join():
                        todo = self._join(job, film)
                        break
                    case Fail():
                        raise instruction.error
                    case Finish():
                        return
            else:
                todo = self._listen(film, executor)

    def _listen(self, film: _Film, executor: Executor) -> list[Instruction]:
        """Wait for lanes to tell something and pass it to the ledger."""
        out: list[Instruction] = []
        for event in executor.poll(POLL_SECONDS):
            if isinstance(event, TaskProgress):
                if self._tally:
                    self._tally.count(event)
                continue
            out += self._tell(event)
            if isinstance(event, TaskDone):
                self._keep_result(film, event)
        out += self._tell(Tick())
        if self._tally:
            self._watch(self._tally.snapshot(self._ledger, time.monotonic()))
        return out

    def _keep_result(self, film: _Film, event: TaskDone) -> None:
        result = event.result
        kind: Kind = "analyse" if isinstance(result, Analysis) else "render"
        # A stale attempt may report too; the ledger knows which lease is current.
        if self._ledger.state(kind, result.chunk)[1] != event.attempt:
            return
        wanted = film.chunks[kind][result.chunk].frames
        if result.frames != wanted:
            raise FramesLost(
                f"chunk {result.chunk} came back from {kind} with {result.frames} frames",
                f"{wanted} frames",
                "report this with the film's `farm doctor --json`; nothing was published",
            )
        if isinstance(result, Analysis):
            film.analyses[result.chunk] = result
        else:
            film.segments[result.chunk] = result

    def _plan(
        self, job: JobSpec, film: _Film, kind: Kind, chunks: tuple[Chunk, ...]
    ) -> list[Instruction]:
        film.chunks[kind] = chunks
        self._phases[kind] = time.monotonic()
        todo = self._tell(Planned(kind=kind, chunks=len(chunks)))
        self._tally = Tally(job_id=job.job_id, kind=kind, chunks=chunks, began=self._phases[kind])
        return todo

    def _task(self, job: JobSpec, film: _Film, start: Start) -> AnalyseTask | RenderTask:
        chunk = film.chunks[start.kind][start.chunk]
        if start.kind == "analyse":
            return AnalyseTask(job=job, index=film.index, chunk=chunk, attempt=start.attempt)
        return RenderTask(
            job=job,
            index=film.index,
            chunk=chunk,
            attempt=start.attempt,
            faces=film.census.most_swaps(chunk.start - chunk.warmup, chunk.stop),
            crop_size=film.crop_size,
        )

    def _keep_analyses(self, job: JobSpec, film: _Film) -> None:
        if self._analyses is None:
            return
        analyses = [film.analyses[chunk.index] for chunk in film.chunks["analyse"]]
        try:
            self._analyses.keep(film.key, analyses, job.portraits)
        except OSError as error:
            self._note(f"the analysis could not be kept for another time ({error.strerror})")

    def _keep_record(self, job: JobSpec, film: _Film, summary: JobSummary) -> None:
        if self._records is None or not job.report or film.stitched is None:
            return
        chunks = film.chunks["render"]
        try:
            self._records.keep(
                job,
                film.index,
                chunks,
                [film.segments[chunk.index] for chunk in chunks],
                film.cuts,
                film.stitched,
                crop_size=summary.crop_size,
                retries=summary.retries,
                seconds=summary.seconds,
            )
        except OSError as error:
            self._note(f"`farm report` will not know this job ({error.strerror or error})")

    def _stitch(self, job: JobSpec, film: _Film) -> list[Instruction]:
        """Join the chunk tables, find the cuts and plan the renders."""
        self._announce(job, "stitch")
        analyses = [film.analyses[chunk.index] for chunk in film.chunks["analyse"]]
        changes = [
            pq.read_table(a.frames_path, columns=["change"]).column("change").to_numpy()
            for a in analyses
        ]
        cuts = find_cuts(np.concatenate(changes).astype(np.float32))
        ratio = float(film.index.sample_aspect_ratio)
        display = display_affine(film.index.width, film.index.height, ratio, film.index.rotation)
        references = None
        if job.faces.references and self._embed_references is not None:
            references = self._embed_references(job)
        wanted = job.faces.wanted
        if wanted.auto and self._classify_source is not None:
            wanted = wanted.like(self._classify_source(job))
        stitch = FilmStitch(analyses, cuts, display)
        film.stitched = stitch.write(job, references, film.census.add, wanted=wanted)
        film.cuts = tuple(map(int, cuts))
        if job.occlusion:
            with pq.ParquetWriter(job.hands, HANDS) as writer:
                for analysis in analyses:
                    writer.write_table(pq.read_table(analysis.hands_path, schema=HANDS))
        if job.objects:
            write_appearances(analyses, Path(job.tracks), Path(job.appearances))
        film.crop_size = swap_crop_size(job.swap, film.census.crop_size())
        chunks = plan_chunks(
            film.index, seconds=job.chunk_seconds, cuts=cuts, warmup=job.stabilize.warmup
        )
        return self._plan(job, film, "render", chunks)

    def _join(self, job: JobSpec, film: _Film) -> list[Instruction]:
        """Join the segments and publish the film: fsync, then rename."""
        self._tally = None
        self._announce(job, "join")
        segments = [film.segments[chunk.index] for chunk in film.chunks["render"]]
        if film.still is not None:
            write_still(film.still, segments, Path(job.partial), job.image, self._marking)
        else:
            join(
                film.result,
                segments,
                Path(job.partial),
                marking=self._marking,
                sound=job.sound,
                span=span_of(film.whole, film.index),
            )
        self._announce(job, "publish")
        if job.hashes_output:
            publish_hashes(film.index, segments, Path(job.hashes_output))
        if job.masks_output:
            publish_masks(segments, Path(job.masks_output))
        publish_film(Path(job.partial), Path(job.output))
        return self._tell(Joined())

    def _tell(self, event: Event) -> list[Instruction]:
        return self._ledger.handle(event, time.monotonic())

    def _announce(self, job: JobSpec, phase: str) -> None:
        self._phases[phase] = time.monotonic()
        self._watch(
            JobSnapshot(
                job_id=job.job_id,
                phase=phase,
                frames_done=0,
                frames_total=0,
                retries=self._ledger.retries,
            )
        )

    def _summary(self, job: JobSpec, film: _Film, seconds: float) -> JobSummary:
        cpu: defaultdict[str, float] = defaultdict(float)
        results: dict[Kind, list[Analysis] | list[Segment]] = {
            "analyse": list(film.analyses.values()),
            "render": list(film.segments.values()),
        }
        for kind, done in results.items():
            for result in done:
                for stage, ms in result.cpu_ms.items():
                    cpu[f"{kind}.{stage}"] += ms
        times = [*self._phases.items(), ("end", time.monotonic())]
        return JobSummary(
            job_id=job.job_id,
            output=job.output,
            frames=film.index.frames,
            faces=film.census.faces,
            tracks=film.stitched.tracks if film.stitched else 0,
            frames_with_faces=film.census.frames_with_faces,
            swapped_frames=sum(s.swapped_frames for s in film.segments.values()),
            cuts=len(film.cuts),
            chunks=len(film.segments),
            retries=self._ledger.retries,
            crop_size=film.crop_size,
            seconds=seconds,
            phase_seconds={name: after - at for (name, at), (_, after) in pairwise(times)},
            cpu_ms_per_frame={stage: ms / film.index.frames for stage, ms in cpu.items()},
            swaps=film.census.swaps,
            megapixels=film.index.width * film.index.height / 1e6,
            analysis_cached=film.cached,
            embedded=sum(analysis.embedded for analysis in film.analyses.values()),
            classified=sum(analysis.classified for analysis in film.analyses.values()),
            detected=sum(analysis.detected for analysis in film.analyses.values()),
        )
