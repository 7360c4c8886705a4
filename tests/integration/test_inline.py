"""A real film through the stages of one process: chunks and attempts change no frame."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actors.models import ModelStore
from actors.prober import probe
from actors.stages import analysis_halo
from actors.toolbox import LaneKit
from cluster.appearances import write_appearances
from cluster.inline import InlineExecutor
from scheduler.chunks import Chunk
from scheduler.errors import FramesLost, SwapfarmError
from scheduler.events import SOME_MEMORY, LaneReady, TaskDone, TaskFailed, TaskProgress
from scheduler.hands import SCHEMA as HANDS
from scheduler.jobs import (
    AnalyseSettings,
    AnalyseTask,
    Analysis,
    EncoderSettings,
    JobSpec,
    LaneTask,
    RenderTask,
    Segment,
    StabilizeSettings,
    SwapSettings,
)
from scheduler.media import VideoIndex
from scheduler.tracks import SCHEMA
from tests.integration.films import trim

FRAMES = 40


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, samples: dict[str, Path]) -> VideoIndex:
    folder = tmp_path_factory.mktemp("film")
    return probe(trim(samples["wolfgang_langer"], folder / "film.mp4", FRAMES))


@pytest.fixture
def job(index: VideoIndex, samples: dict[str, Path], tmp_path: Path) -> JobSpec:
    for part in ("analysis", "segments"):
        (tmp_path / part).mkdir()
    return JobSpec(
        job_id="inline",
        media=index.path,
        output=str(tmp_path / "out.mp4"),
        folder=str(tmp_path),
        swap=SwapSettings(sources=(str(samples["astronaut"]),)),
        encoder=EncoderSettings(codec="ffv1"),
        hashes_output="hashes",
    )


@pytest.fixture
def executor(models: ModelStore) -> InlineExecutor:
    executor = InlineExecutor(LaneKit(cache_dir=models.cache))
    assert executor.poll(0) == [LaneReady(lane=0, gpu_memory=SOME_MEMORY)]
    return executor


def run(executor: InlineExecutor, task: LaneTask) -> Analysis | Segment:
    executor.start(task, 0)
    frames = 0
    while True:
        for event in executor.poll(0.05):
            match event:
                case TaskProgress():
                    assert frames <= event.frames <= task.chunk.frames
                    frames = event.frames
                case TaskDone():
                    assert (event.key, event.attempt) == (task.key, task.attempt)
                    return event.result
                case TaskFailed():
                    raise event.error
                case _:
                    raise AssertionError(event)


def film(
    executor: InlineExecutor, job: JobSpec, index: VideoIndex, *borders: int
) -> tuple[pa.Table, pa.Table, list[str]]:
    """Faces, changes and frame hashes of the film cut at ``borders``."""
    edges = [0, *borders, FRAMES]
    chunks = [Chunk(index=n, start=a, stop=b) for n, (a, b) in enumerate(pairwise(edges))]
    halo = analysis_halo(job)
    analyses = [
        run(
            executor,
            AnalyseTask(
                job=job, index=index, chunk=replace(chunk, warmup=halo, tail=halo), attempt=1
            ),
        )
        for chunk in chunks
    ]
    assert all(isinstance(a, Analysis) for a in analyses)
    faces = pa.concat_tables([pq.read_table(a.faces_path) for a in analyses])
    changes = pa.concat_tables([pq.read_table(a.frames_path) for a in analyses])
    assert faces.schema == SCHEMA
    assert sum(a.faces for a in analyses) == faces.num_rows
    pq.write_table(faces, job.tracks, row_group_size=11)
    write_appearances(analyses, Path(job.tracks), Path(job.appearances))
    hands = pa.concat_tables([pq.read_table(a.hands_path) for a in analyses])
    assert hands.schema == HANDS
    pq.write_table(hands, job.hands)
    hashes: list[str] = []
    for chunk in chunks:
        task = RenderTask(job=job, index=index, chunk=chunk, attempt=1, faces=2, crop_size=192)
        segment = run(executor, task)
        assert isinstance(segment, Segment)
        assert segment.swapped_frames == segment.frames == chunk.frames
        assert segment.first_pts == index.pts[chunk.start]
        assert set(segment.cpu_ms) == {"decoder", "swapper", "compositor", "encoder"}
        hashes += segment.frame_hashes
    return faces, changes, hashes


def test_where_a_film_is_cut_changes_no_number_and_no_frame(
    executor: InlineExecutor, job: JobSpec, index: VideoIndex
) -> None:
    # Filters that look back need a warm-up before each border: tests/integration/test_steady.py.
    job = replace(job, stabilize=StabilizeSettings(flow=False, guard=False, seam=False))
    whole = film(executor, job, index)
    assert len(set(whole[2])) == FRAMES
    assert whole[1].column("change").to_pylist()[1] > 0
    cut = film(executor, job, index, 13, 14, 29)
    assert cut[0].equals(whole[0])
    assert cut[1].equals(whole[1])
    assert cut[2] == whole[2]


def test_a_failed_task_leaves_nothing_and_the_lane_goes_on(
    executor: InlineExecutor, job: JobSpec, index: VideoIndex
) -> None:
    broken = replace(index, pts=(*index.pts[:20], index.pts[20] + 1, *index.pts[21:]))
    task = AnalyseTask(job=job, index=broken, chunk=Chunk(index=0, start=5, stop=30), attempt=1)
    with pytest.raises(FramesLost):
        run(executor, task)
    assert os.listdir(Path(job.folder) / "analysis") == []
    analysis = run(executor, replace(task, index=index, attempt=2))
    assert isinstance(analysis, Analysis)
    assert analysis.frames == 25
    assert analysis.faces >= 25


def test_what_nobody_foresaw_is_an_internal_error_with_its_trace(
    executor: InlineExecutor, job: JobSpec, index: VideoIndex
) -> None:
    Path(job.tracks).write_bytes(b"PAR1 no table PAR1")
    task = RenderTask(
        job=replace(job, analysis=AnalyseSettings(occlusion=False, objects=False)),
        index=index,
        chunk=Chunk(index=0, start=0, stop=5),
        attempt=1,
        faces=1,
        crop_size=64,
    )
    with pytest.raises(SwapfarmError, match=r"ArrowInvalid(.|\n)*read_faces") as caught:
        run(executor, task)
    assert (caught.value.code, caught.value.transient) == ("internal", False)
    assert os.listdir(Path(job.folder) / "segments") == []


def test_closing_in_the_middle_leaves_no_file(
    executor: InlineExecutor, job: JobSpec, index: VideoIndex
) -> None:
    executor.start(
        AnalyseTask(job=job, index=index, chunk=Chunk(index=0, start=0, stop=FRAMES), attempt=1),
        0,
    )
    assert any(isinstance(event, TaskProgress) for event in executor.poll(0.05))
    executor.close()
    assert os.listdir(Path(job.folder) / "analysis") == []
