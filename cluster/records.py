"""Records of finished jobs for ``farm report``: a folder each, the newest that fit are kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from actors.fingerprint import file_fingerprint
from actors.recognizer import POINTS
from actors.segments import sync_file, sync_folder
from cluster.folders import discard, stale
from cluster.publish import publish_masks
from cluster.stitching import Stitched
from scheduler.chunks import Chunk, chunk_length
from scheduler.errors import MediaMissing, ReportMissing, ReportOutdated
from scheduler.jobs import JobSpec, Segment
from scheduler.media import VideoIndex
from scheduler.records import FileMark, JobRecord, digest, from_json, roles_of
from scheduler.timing import Spent

FACTS: Final = "record.json"
FACES: Final = "faces.parquet"
MASKS: Final = "masks.parquet"
ROWS: Final = 256
"""Rows of the stitched table in memory at once: a megabyte of landmarks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptJob:
    """A finished job and where its tables are."""

    record: JobRecord
    folder: Path

    @property
    def faces(self) -> Path:
        """Parquet after ``scheduler.records.SCHEMA``."""
        return self.folder / FACES

    @property
    def masks(self) -> Path:
        """Parquet after ``actors.masks.SCHEMA``."""
        return self.folder / MASKS


class RecordBook:
    """The records of the last jobs, in a folder of their own. Safe for many processes at once.

    Args:
        folder: where; made when first needed.
        limit: bytes that all records together may take; the newest one stays in any case.
        fingerprint: tells whether a file is what it was.
    """

    def __init__(
        self, folder: Path, limit: int, fingerprint: Callable[[Path], str] = file_fingerprint
    ) -> None:
        self._folder = folder
        self._limit = limit
        self._fingerprint = fingerprint

    def keep(
        self,
        job: JobSpec,
        index: VideoIndex,
        chunks: Sequence[Chunk],
        segments: Sequence[Segment],
        cuts: Sequence[int],
        stitched: Stitched,
        *,
        crop_size: int,
        retries: int,
        seconds: float,
        passed: Sequence[tuple[int, int]] = (),
        times: Mapping[str, Spent] | None = None,
    ) -> None:
        """Keep what a report on a published job needs.

        Args:
            chunks, segments: of the render, in film order; the segments with their masks.
            cuts: frames that start a shot.
            passed: frames [start, stop) that could not be worked on.
            times: what the parts of the work took.

        Raises:
            OSError: the folder cannot be written, or a file of the job has gone.
        """
        record = JobRecord(
            job_id=job.job_id,
            program=f"swapfarm {version('swapfarm')}",
            finished=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            media=self._mark(job.media),
            output=self._mark(job.output),
            people=tuple(tuple(map(self._mark, paths)) for paths in job.swap.people),
            source_face=job.swap.source_face,
            roles=roles_of(job),
            choice=job.faces,
            swapper=job.swap.model,
            codec=job.encoder.codec,
            crop_size=crop_size,
            chunk_seconds=job.chunk_seconds or float(chunk_length(index)),
            frames=index.frames,
            borders=tuple(chunk.start for chunk in chunks[1:]),
            cuts=tuple(int(cut) for cut in cuts),
            letters={
                track: identity.letter
                for identity in stitched.identities
                for track in identity.tracks
            },
            retries=retries,
            seconds=seconds,
            passed=tuple(passed),
            times=times or {},
        )
        self._folder.mkdir(parents=True, exist_ok=True)
        entry = self._folder / job.job_id
        temporary = self._folder / f".{job.job_id}.partial"
        temporary.mkdir()
        try:
            faces = digest(_rows(Path(job.tracks)), POINTS, float(index.sample_aspect_ratio))
            pq.write_table(faces, temporary / FACES, compression="zstd")
            publish_masks(segments, temporary / MASKS)
            (temporary / FACTS).write_text(json.dumps(record.to_json(), indent=1))
            for path in temporary.iterdir():
                sync_file(path)
            sync_folder(temporary)
            temporary.rename(entry)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        self._evict(entry)

    def find(self, output: Path) -> KeptJob:
        """The job that made a file, also where it was moved or renamed since.

        Raises:
            MediaMissing: there is no such file.
            ReportOutdated: it has the name of a result, but not its content.
            ReportMissing: no job is known that made it.
        """
        if not output.is_file():
            raise MediaMissing(
                f"no file at {output}", "the result of a job", "check the path of the result"
            )
        mark, jobs = self._fingerprint(output), list(self.jobs())
        for job in jobs:
            if job.record.output.fingerprint == mark:
                return job
        for job in jobs:
            if Path(job.record.output.path) == output:
                raise ReportOutdated(
                    f"{output} is not what job {job.record.job_id} left there "
                    f"({job.record.finished})",
                    "the result as it was published",
                    "submit the film again; a result that was cut or encoded anew has no report",
                )
        raise ReportMissing(
            f"no finished job is known that made {output}",
            "the result of one of this user's last jobs on this machine"
            + (f" ({len(jobs)} are known)" if jobs else " (none is known)"),
            "submit the film again; with report_gb = 0, and by older versions, nothing is kept",
        )

    def jobs(self) -> Iterator[KeptJob]:
        """Those that are kept, the newest first."""
        for entry in sorted(self._folder.glob("[!.]*"), reverse=True):
            # Another version's, or just being evicted by another process.
            with suppress(OSError, ValueError):
                yield KeptJob(
                    record=from_json(json.loads((entry / FACTS).read_text("utf-8"))), folder=entry
                )

    def _mark(self, path: str) -> FileMark:
        return FileMark(path=path, fingerprint=self._fingerprint(Path(path)))

    def _evict(self, newest: Path) -> None:
        total = 0
        for entry in sorted(self._folder.iterdir(), reverse=True):
            with suppress(FileNotFoundError):
                if entry.name.startswith("."):
                    if stale(entry):
                        shutil.rmtree(entry, ignore_errors=True)
                    continue
                total += sum(path.stat().st_size for path in entry.iterdir())
                if total > self._limit and entry != newest:
                    discard(entry)


def _rows(tracks: Path) -> Iterator[pa.Table]:
    with pq.ParquetFile(tracks) as file:
        for batch in file.iter_batches(ROWS, use_threads=False):
            yield pa.Table.from_batches([batch])
