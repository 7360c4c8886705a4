"""Records of jobs: kept whole, found by content, and the oldest make room."""

from __future__ import annotations

import os
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actors.masks import MaskWriter, PastedFace, pasted_faces
from cluster.records import RecordBook
from cluster.stitching import Stitched
from kernels.api import Patch
from kernels.picture import Roi
from scheduler.chunks import Chunk
from scheduler.errors import MediaMissing, ReportMissing, ReportOutdated
from scheduler.identities import Identity
from scheduler.jobs import JobSpec, Segment, SwapSettings
from scheduler.media import ColourTags, VideoIndex
from scheduler.points import MESH
from scheduler.timing import Spent
from scheduler.tracks import STITCHED_SCHEMA, FaceObservation, to_table

INDEX = VideoIndex(
    path="film.mp4", container="mp4", stream=0, codec="h264", width=64, height=48,
    pix_fmt="yuv420p", time_base=Fraction(1, 25), pts=tuple(range(20)), durations=(1,) * 20,
    keyframes=(0,), average_rate=Fraction(25), colour=ColourTags(),
)  # fmt: skip
TIMES = {"render.swapper": Spent(calls=20, wall_ms=3.5, cpu_ms=3.0, device_ms=1.25)}
CHUNKS = (Chunk(index=0, start=0, stop=10), Chunk(index=1, start=10, stop=20))


def finish(folder: Path, job_id: str, book: RecordBook) -> JobSpec:
    """Keep a record of a job that put 20 faces on."""
    work = folder / job_id
    work.mkdir()
    film, face, output = folder / "film.mp4", folder / "face.png", folder / f"{job_id}.mp4"
    film.write_bytes(b"film" * 999)
    face.write_bytes(b"face")
    output.write_bytes(f"the result of {job_id}".encode() * 99)
    job = JobSpec(
        job_id=job_id, media=str(film), output=str(output), folder=str(work), report=True,
        swap=SwapSettings(sources=(str(face),)),
    )  # fmt: skip
    points = np.zeros((MESH.count, 2), np.float32)
    faces = [
        FaceObservation(
            frame=at, track=0, box=np.zeros(4, np.float32), landmarks=points, score=1, visible=1
        )
        for at in range(20)
    ]
    persons = pa.array([0] * 20, pa.int32())
    table = to_table(faces).append_column(STITCHED_SCHEMA.field("person"), persons)
    pq.write_table(table, job.tracks)
    segments = []
    for chunk in CHUNKS:
        masks = work / f"{chunk.index}.masks"
        with MaskWriter(masks) as writer:
            for at in range(chunk.start, chunk.stop):
                patch = Patch(roi=Roi(x0=0, y0=0, x1=4, y1=2), touched=np.ones((2, 4), np.bool_))
                writer.add([PastedFace(frame=at, track=0, patch=patch, strength=1, hidden=0)])
        segments.append(
            Segment(
                chunk=chunk.index,
                path="",
                frames=10,
                first_pts=0,
                sha256="",
                extradata_sha256="",
                swapped_frames=10,
                masks_path=str(masks),
            )
        )
    one = Identity(letter="A", tracks=(0,), frames=20, first=0, embedding=np.zeros(128))
    stitched = Stitched(tracks=1, identities=(one,), unknown=0, samples={})
    book.keep(
        job,
        INDEX,
        CHUNKS,
        segments,
        [7],
        stitched,
        crop_size=256,
        retries=1,
        seconds=3.0,
        times=TIMES,
    )
    shutil.rmtree(work)
    return job


def test_what_is_kept_is_found(tmp_path: Path) -> None:
    book = RecordBook(tmp_path / "reports", 10**9)
    job = finish(tmp_path, "job-1", book)
    kept = book.find(Path(job.output))
    record = kept.record
    assert (record.job_id, record.frames, record.borders, record.cuts) == ("job-1", 20, (10,), (7,))
    assert (record.letters, record.retries, record.crop_size) == ({0: "A"}, 1, 256)
    assert [mark.path for marks in record.people for mark in marks] == [str(tmp_path / "face.png")]
    assert record.times == TIMES
    assert pq.read_table(kept.faces).num_rows == 20
    assert [face.frame for face in pasted_faces(kept.masks)] == list(range(20))


def test_a_result_is_found_where_it_was_moved_to(tmp_path: Path) -> None:
    book = RecordBook(tmp_path / "reports", 10**9)
    jobs = [finish(tmp_path, f"job-{n}", book) for n in range(3)]
    moved = tmp_path / "elsewhere.mp4"
    Path(jobs[1].output).rename(moved)
    assert book.find(moved).record.job_id == "job-1"
    assert [kept.record.job_id for kept in book.jobs()] == ["job-2", "job-1", "job-0"]


def test_what_cannot_be_found_is_said_clearly(tmp_path: Path) -> None:
    book = RecordBook(tmp_path / "reports", 10**9)
    stranger = tmp_path / "stranger.mp4"
    stranger.write_bytes(b"not ours")
    with pytest.raises(ReportMissing, match="none is known"):
        book.find(stranger)
    job = finish(tmp_path, "job-1", book)
    with pytest.raises(ReportMissing, match="1 are known"):
        book.find(stranger)
    with pytest.raises(MediaMissing, match="no file at"):
        book.find(tmp_path / "gone.mp4")
    Path(job.output).write_bytes(b"encoded anew")
    with pytest.raises(ReportOutdated, match="job-1"):
        book.find(Path(job.output))


def test_the_oldest_make_room_and_half_records_are_none(tmp_path: Path) -> None:
    root = tmp_path / "reports"
    book = RecordBook(root, 10**9)
    finish(tmp_path, "job-0", book)
    size = sum(path.stat().st_size for path in (root / "job-0").iterdir())
    small = RecordBook(root, int(2.5 * size))
    dead = root / ".dead.partial"
    dead.mkdir()
    os.utime(dead, (1, 1))
    for number in (1, 2, 3):
        finish(tmp_path, f"job-{number}", small)
    assert sorted(path.name for path in root.iterdir()) == ["job-2", "job-3"]
    (root / "job-3" / "record.json").write_text('{"version": 1, "job')
    assert [kept.record.job_id for kept in book.jobs()] == ["job-2"]
    finish(tmp_path, "job-4", RecordBook(root, 1))
    assert [path.name for path in root.iterdir()] == ["job-4"], "the newest stays in any case"


def test_a_record_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    def forgetful(path: Path) -> str:
        if path.suffix == ".png":
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return "x"

    with pytest.raises(FileNotFoundError):
        finish(tmp_path, "job-0", RecordBook(tmp_path / "reports", 1, forgetful))
    assert not list(tmp_path.glob("reports/*"))
