"""One job's film: what needs the whole of it, and what its lanes have delivered so far.

Whoever drives the job (``cluster.service``) asks the ledger what is to be done, and this for how:
the tasks of lanes, and the film tasks, which are done here and now.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from actors.lane_files import LaneFiles
from actors.muxer import check_container, join
from actors.prober import probe
from actors.stages import analysis_halo
from actors.stills import Still, check_still, read_still, write_still, write_target
from actors.swap_needs import swap_crop_size
from cluster.analyses import AnalysisCache
from cluster.appearances import write_appearances
from cluster.publish import publish_film, publish_hashes, publish_masks, send
from cluster.records import RecordBook
from cluster.stitching import FilmStitch, Stitched
from kernels.cuts import find_cuts
from kernels.geometry import display_affine
from scheduler.census import Census
from scheduler.chunks import Chunk, plan_chunks
from scheduler.classes import FaceClass
from scheduler.errors import STORAGE_ERRNOS, storage_error
from scheduler.hands import SCHEMA as HANDS
from scheduler.history import Delivered
from scheduler.instructions import Start
from scheduler.jobs import (
    AnalyseTask,
    Analysis,
    JobSpec,
    JobSummary,
    LaneTask,
    RenderTask,
    Segment,
)
from scheduler.media import VideoIndex
from scheduler.tasks import Kind
from scheduler.timeline import cut, localised, result_of, span_of
from scheduler.timing import added, cpu_by_stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What a film's work needs from outside, the same for all that a service does for a job."""

    check_sources: Callable[[JobSpec], object]
    """Raises an InputError when the job's source pictures cannot be used."""
    note: Callable[[str], None]
    """Is told what the user should know though it stops nothing."""
    marking: dict[str, str]
    """Container metadata for the result (says that faces were altered, and by what)."""
    embed_references: Callable[[JobSpec], NDArray[np.float64]] | None = None
    """[n, d] embeddings of the pictures in ``job.faces.references``; only jobs that have some
    need it."""
    classify_source: Callable[[JobSpec], FaceClass] | None = None
    """How the face that is put on looks; only jobs with "auto" need it."""
    analyses: AnalysisCache | None = None
    """Where analyses are kept; None: nowhere."""
    records: RecordBook | None = None
    """Where what reports need is kept of jobs that ask for it; None: nowhere."""
    sign: Callable[[JobSpec, Path], None] | None = None
    """Signs a result that is whole, under the name that it has until it is published."""


class FilmWork:
    """The film of one job, from its probe to its summary.

    Args:
        job: its folder is there.
        announce: told each time that a part of the work begins.
        look: take the analysis from the cache where it is there.

    Raises:
        SwapfarmError: the film cannot be read.
    """

    def __init__(
        self, job: JobSpec, desk: Desk, announce: Callable[[str], None], *, look: bool = True
    ) -> None:
        self.desk = desk
        self._announce_to = announce
        self._began = time.monotonic()
        self.phases: dict[str, float] = {}
        """When each part of the work began."""
        self.announce("probe")
        still = read_still(Path(job.media)) if job.still else None
        if still is not None:
            write_target(still, Path(job.still_target))
        self._still: Still | None = still
        self.whole: VideoIndex = probe(job.still_target if still else job.media)
        """Of the file."""
        self.index: VideoIndex = cut(self.whole, job.cut)
        """Of the frames that are worked on (``scheduler.timeline``)."""
        self.result = result_of(self.index, job.cut.rate, job.encoder.scale)
        """Of the result."""
        self.job = localised(job, self.whole)
        self.chunks: dict[Kind, tuple[Chunk, ...]] = {}
        self.analyses: dict[int, Analysis] = {}
        self.segments: dict[int, Segment] = {}
        self.passed: dict[int, tuple[int, int]] = {}
        """Frames [start, stop) of analyses for which nobody was looked for, by chunk."""
        self.census = Census(self.index.frames)
        self.cuts: tuple[int, ...] = ()
        self.stitched: Stitched | None = None
        self.crop_size = 0
        self.cached = False
        """The analysis came from the cache."""
        self._told: set[str] = set()
        """What segments had to remark."""
        self._key = ""
        """Of the analysis in the cache; empty: not asked for yet."""
        if look:
            self._find_analysis()

    def announce(self, phase: str) -> None:
        """A part of the work begins."""
        self._enter(phase)
        self._announce_to(phase)

    def _enter(self, phase: str) -> None:
        """Phases stand in the order of their begin: what was only planned before begins again."""
        self.phases.pop(phase, None)
        self.phases[phase] = time.monotonic()

    def check_output(self) -> tuple[str, ...]:
        """What of the film the result will not have; asked before any work is done."""
        job, output = self.job, Path(self.job.output)
        if self._still is not None:
            return check_still(self._still, output, job.image)
        span = span_of(self.whole, self.index)
        return check_container(self.result, output, job.encoder, job.sound, span)

    # Film tasks

    def do(self, start: Start) -> Delivered:
        """Do a task that needs the whole film, here and now. It may be done again.

        Raises:
            SwapfarmError: why it cannot be done; DiskFull: it can, once there is room.
        """
        try:
            return self._do(start)
        except OSError as error:
            if error.errno not in STORAGE_ERRNOS:
                raise
            raise storage_error(error, str(error.filename or self.job.folder)) from error

    def _do(self, start: Start) -> Delivered:
        chunks: tuple[Chunk, ...] = ()
        match start.kind:
            case "probe":
                chunks = self.plan_analyses()
            case "stitch":
                self._keep_analyses()
                chunks = self.stitch()
            case "join":
                self._join()
            case _:
                self._publish()
        ranges = tuple((chunk.start, chunk.stop) for chunk in chunks)
        return Delivered(lease=start.lease, chunks=ranges)

    def plan_analyses(self) -> tuple[Chunk, ...]:
        """The chunks to analyse; none where the analysis is there already."""
        if self.cached:
            return ()
        halo = analysis_halo(self.job)
        chunks = plan_chunks(self.index, seconds=self.job.chunk_seconds, halo=halo)
        self.chunks["analyse"] = chunks  # it begins when a lane is there to begin it
        return chunks

    def stitch(self) -> tuple[Chunk, ...]:
        """Join the chunk tables, find the cuts and plan the renders.

        What was stitched once is not again: analyses done anew give the same tables (law 2).
        """
        if self.stitched is not None:
            return self.chunks["render"]
        job = self.job
        self.announce("stitch")
        self.census = Census(self.index.frames)  # an earlier try may have counted some of it
        analyses = [self.analyses[chunk.index] for chunk in self.chunks["analyse"]]
        changes = [
            pq.read_table(a.frames_path, columns=["change"]).column("change").to_numpy()
            for a in analyses
        ]
        cuts = find_cuts(np.concatenate(changes).astype(np.float32))
        ratio = float(self.index.sample_aspect_ratio)
        display = display_affine(self.index.width, self.index.height, ratio, self.index.rotation)
        references = None
        if job.faces.references and self.desk.embed_references is not None:
            references = self.desk.embed_references(job)
        wanted = job.faces.wanted
        if wanted.auto and self.desk.classify_source is not None:
            wanted = wanted.like(self.desk.classify_source(job))
        stitch = FilmStitch(analyses, cuts, display)
        self.stitched = stitch.write(job, references, self.census.add, wanted=wanted)
        self.cuts = tuple(map(int, cuts))
        if job.occlusion:
            with pq.ParquetWriter(job.hands, HANDS) as writer:
                for analysis in analyses:
                    writer.write_table(pq.read_table(analysis.hands_path, schema=HANDS))
        if job.objects:
            write_appearances(analyses, Path(job.tracks), Path(job.appearances))
        self.crop_size = swap_crop_size(job.swap, self.census.crop_size())
        chunks = plan_chunks(
            self.index, seconds=job.chunk_seconds, cuts=cuts, warmup=job.stabilize.warmup
        )
        self.chunks["render"] = chunks
        self._enter("render")
        return chunks

    def take_plan(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Take where the renders' borders are, of a film that is rendered but not stitched here."""
        self.chunks["render"] = tuple(
            Chunk(index=number, start=start, stop=stop)
            for number, (start, stop) in enumerate(ranges)
        )

    def _join(self) -> None:
        self.announce("join")
        job = self.job
        if self._still is not None:
            write_still(self._still, self._film(), Path(job.partial), job.image, self.desk.marking)
        else:
            join(
                self.result,
                self._film(),
                Path(job.partial),
                marking=self.desk.marking,
                sound=job.sound,
                span=span_of(self.whole, self.index),
            )
        if self.desk.sign is not None:
            self.desk.sign(job, Path(job.partial))

    def _publish(self) -> None:
        """Give the film and what goes with it their names: fsync, then rename."""
        self.announce("publish")
        job = self.job
        if not Path(job.partial).exists():
            self._join()  # it had its name already when the service that gave it died
        if job.hashes_output:
            publish_hashes(self.index, self._film(), Path(job.hashes_output))
        if job.masks_output:
            publish_masks(self._film(), Path(job.masks_output))
        publish_film(Path(job.partial), Path(job.output))
        if job.destination is not None:
            send(Path(job.output), job.destination)

    def _film(self) -> list[Segment]:
        return [self.segments[chunk.index] for chunk in self.chunks["render"]]

    # Tasks of lanes

    def task(self, start: Start) -> LaneTask:
        """What a lane is to do."""
        if start.kind not in self.phases:
            self._enter(start.kind)
        chunk = self.chunks[start.kind][start.chunk]
        if start.kind == "analyse":
            return AnalyseTask(
                job=self.job,
                index=self.index,
                chunk=chunk,
                attempt=start.lease,
                passthrough=start.passthrough,
            )
        return RenderTask(
            job=self.job,
            index=self.index,
            chunk=chunk,
            attempt=start.lease,
            faces=self.census.most_swaps(chunk.start - chunk.warmup, chunk.stop),
            crop_size=self.crop_size,
            batch_divisor=start.batch_divisor,
            passthrough=start.passthrough,
        )

    def keep(self, result: Analysis | Segment, *, passthrough: bool = False) -> None:
        """Keep what a lane made and the ledger counted."""
        if isinstance(result, Segment):
            for remark in result.remarks:
                if remark not in self._told:  # each chunk says the same
                    self.desk.note(f"frames on the GPU: {remark}")
                    self._told.add(remark)
            self.segments[result.chunk] = result
            return
        self.analyses[result.chunk] = result
        self.passed.pop(result.chunk, None)
        if passthrough:
            chunk = self.chunks["analyse"][result.chunk]
            self.passed[result.chunk] = (chunk.start, chunk.stop)

    def drop(self, kind: Kind, chunk: int, attempt: int) -> None:
        """Remove the files of an attempt that did not count."""
        found = self.chunks[kind][chunk]
        task = AnalyseTask(job=self.job, index=self.index, chunk=found, attempt=attempt)
        LaneFiles(task if kind == "analyse" else self._render(found, attempt)).remove()

    def _render(self, chunk: Chunk, attempt: int) -> RenderTask:
        return RenderTask(
            job=self.job, index=self.index, chunk=chunk, attempt=attempt, faces=0, crop_size=0
        )

    # What stays

    def _find_analysis(self) -> None:
        cache, job = self.desk.analyses, self.job
        if cache is None:
            return
        found = cache.find(
            self._key_in(cache),
            portraits=job.portraits,
            occlusion=job.occlusion,
            objects=job.objects,
            folder=Path(job.folder),
        )
        if found is not None and found.frames == self.index.frames:
            self.desk.note("analysis from cache")
            self.use(found)

    def _key_in(self, cache: AnalysisCache) -> str:
        if not self._key:
            job = self.job
            self._key = cache.key(Path(job.media), job.analysis, job.cut, job.device)
        return self._key

    def use(self, analysis: Analysis) -> None:
        """Take an analysis of the whole film."""
        self.cached = True
        self.analyses = {0: analysis}
        self.chunks["analyse"] = (Chunk(index=0, start=0, stop=self.index.frames),)

    def _keep_analyses(self) -> None:
        cache = self.desk.analyses
        # What was not looked at must not be believed another time.
        if cache is None or self.cached or self.passed:
            return
        analyses = [self.analyses[chunk.index] for chunk in self.chunks["analyse"]]
        try:
            cache.keep(self._key_in(cache), analyses, self.job.portraits)
        except OSError as error:
            self.desk.note(f"the analysis could not be kept for another time ({error.strerror})")

    def keep_record(self, summary: JobSummary) -> None:
        """Leave behind what a report needs, where the job asks for it."""
        records = self.desk.records
        if records is None or not self.job.report or self.stitched is None:
            return
        try:
            records.keep(
                self.job,
                self.index,
                self.chunks["render"],
                self._film(),
                self.cuts,
                self.stitched,
                crop_size=summary.crop_size,
                retries=summary.retries,
                seconds=summary.seconds,
                passed=summary.passed,
                times=summary.times,
            )
        except OSError as error:
            self.desk.note(f"`farm report` will not know this job ({error.strerror or error})")

    def summary(self, retries: int, rendered_as_is: tuple[tuple[int, int], ...]) -> JobSummary:
        """What was done, once all is.

        Args:
            retries: attempts that failed and were tried again.
            rendered_as_is: frames [start, stop) of renders that kept the film's own frames.
        """
        results: dict[Kind, list[Analysis] | list[Segment]] = {
            "analyse": list(self.analyses.values()),
            "render": list(self.segments.values()),
        }
        sums = {kind: added(each.times for each in done) for kind, done in results.items()}
        now = time.monotonic()
        times = [*self.phases.items(), ("end", now)]
        return JobSummary(
            job_id=self.job.job_id,
            output=self.job.goal,
            frames=self.index.frames,
            faces=self.census.faces,
            tracks=self.stitched.tracks if self.stitched else 0,
            frames_with_faces=self.census.frames_with_faces,
            swapped_frames=sum(s.swapped_frames for s in self.segments.values()),
            cuts=len(self.cuts),
            chunks=len(self.segments),
            retries=retries,
            crop_size=self.crop_size,
            seconds=now - self._began,
            phase_seconds={name: after - at for (name, at), (_, after) in pairwise(times)},
            cpu_ms_per_frame={
                f"{kind}.{stage}": ms / self.index.frames
                for kind, times in sums.items()
                for stage, ms in cpu_by_stage(times).items()
            },
            times={
                f"{kind}.{part}": spent
                for kind, times in sums.items()
                for part, spent in times.items()
            },
            swaps=self.census.swaps,
            megapixels=self.index.width * self.index.height / 1e6,
            analysis_cached=self.cached,
            embedded=sum(analysis.embedded for analysis in self.analyses.values()),
            classified=sum(analysis.classified for analysis in self.analyses.values()),
            detected=sum(analysis.detected for analysis in self.analyses.values()),
            passed=_together((*self.passed.values(), *rendered_as_is)),
        )


def _together(ranges: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    """The same frames as few ranges in order."""
    out: list[tuple[int, int]] = []
    for start, stop in sorted(ranges):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(stop, out[-1][1]))
        else:
            out.append((start, stop))
    return tuple(out)
