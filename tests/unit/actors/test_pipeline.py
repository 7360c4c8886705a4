"""Rendering in one, two and five real processes: the same frames, the same bytes, nothing left."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from uuid import uuid4

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from av.video.frame import VideoFrame

from actors.hands import HALO
from actors.lane_files import LaneFiles
from actors.pipeline import (
    STAGES,
    Processes,
    StageReport,
    StageRun,
    lane_processes,
    merge,
    row_of,
)
from actors.prober import probe
from actors.profiler import Profiler, host_clock
from actors.stages import (
    analysis_halo,
    read_faces,
    read_hands,
    slots_needed,
    span,
    swap_batch,
    swapper_hold,
)
from actors.toolbox import LaneKit, Toolbox
from actors.tracker import held_back, reach
from actors.transport.chain import Chain
from actors.transport.shm import MOST_SLOTS
from scheduler import hands as hand_tables
from scheduler.chunks import Chunk
from scheduler.errors import Cancelled, FramesLost
from scheduler.hands import HandObservation
from scheduler.jobs import (
    AnalyseSettings,
    AnalyseTask,
    EncoderSettings,
    JobSpec,
    RenderTask,
    Segment,
    SwapSettings,
)
from scheduler.tracks import SCHEMA, FaceObservation, to_table

FRAMES = 40


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    noise = np.random.default_rng(1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25), options={"g": "12"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for number in range(FRAMES):
            picture = noise.integers(0, 255, (8, 12, 3)).repeat(8, 0).repeat(8, 1)
            frame = VideoFrame.from_ndarray(picture.astype(np.uint8), format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def task(film: Path, tmp_path: Path) -> RenderTask:
    job = JobSpec(
        job_id="test",
        media=str(film),
        output=str(tmp_path / "out.mp4"),
        folder=str(tmp_path),
        swap=SwapSettings(sources=("nobody.jpg",)),
        encoder=EncoderSettings(codec="ffv1"),
        masks_output="masks",
        hashes_output="hashes",
    )
    for part in ("analysis", "segments"):
        (tmp_path / part).mkdir()
    pq.write_table(to_table([]), job.tracks)
    pq.write_table(hand_tables.to_table([]), job.hands)
    chunk = Chunk(index=3, start=7, stop=35)
    return RenderTask(job=job, index=probe(film), chunk=chunk, attempt=2, faces=0, crop_size=0)


@pytest.fixture
def kit(tmp_path: Path) -> LaneKit:
    return LaneKit(cache_dir=tmp_path / "cache", slots=4, patience=20.0)


def spawn(
    task: RenderTask,
    kit: LaneKit,
    processes: Processes,
    folder: Path,
    name: str,
    without: int = -1,
) -> dict[int, subprocess.Popen[bytes]]:
    root = Path(__file__).parents[3]
    folder.mkdir()
    programs = {}
    for process in row_of(processes, task):
        if process == without:
            continue
        work = folder / f"{process}.task"
        work.write_bytes(pickle.dumps((task, kit, processes, process, name)))
        command = [
            sys.executable,
            str(Path(__file__).with_name("lane_process.py")),
            str(work),
            str(folder / f"{process}.report"),
        ]
        programs[process] = subprocess.Popen(
            command, env={**os.environ, "PYTHONPATH": str(root)}, stderr=subprocess.PIPE
        )
    return programs


def finish(programs: dict[int, subprocess.Popen[bytes]], folder: Path) -> Segment:
    for program in programs.values():
        _, errors = program.communicate(timeout=60)
        assert program.returncode == 0, errors.decode()
    reports = [pickle.loads((folder / f"{p}.report").read_bytes()) for p in programs]
    result = merge(reports)
    assert isinstance(result, Segment)
    return result


@pytest.mark.parametrize("count", [2, 5])
def test_processes_give_what_one_gives(
    task: RenderTask, kit: LaneKit, count: int, tmp_path: Path
) -> None:
    alone = StageRun(task, Toolbox(kit), lane_processes(1), 0, "alone")
    expected = merge([alone.run()])
    assert isinstance(expected, Segment)
    assert alone.frames == expected.frames == len(expected.frame_hashes) == 28
    assert len(set(expected.frame_hashes)) == 28
    content = Path(expected.path).read_bytes()
    assert pq.read_table(expected.masks_path).num_rows == 0

    work = tmp_path / "work"
    segment = finish(spawn(task, kit, lane_processes(count), work, uuid4().hex), work)
    assert set(segment.cpu_ms) == {"decoder", "swapper", "compositor", "encoder"}
    assert segment == replace(expected, times=segment.times)
    assert Path(segment.path).read_bytes() == content


def test_one_that_dies_ends_the_others_and_leaves_nothing(
    task: RenderTask, kit: LaneKit, tmp_path: Path
) -> None:
    shm, work = set(os.listdir("/dev/shm")), tmp_path / "work"
    processes = lane_processes(5)
    row, compositor = row_of(processes, task), STAGES.index("compositor")
    name = uuid4().hex
    # This process takes the compositor's place: it goes away at a frame that a test can choose.
    with Chain(name, row.index(compositor), len(row), patience=20.0) as chain:
        programs = spawn(task, kit, processes, work, name, without=compositor)
        chain.open(lambda: pytest.fail("the decoder makes the ring"))
        for frame in chain.frames():
            if frame.handle.frame_index == 15:
                break
            chain.pass_on(frame)
    began = time.monotonic()
    for process, program in programs.items():
        _, errors = program.communicate(timeout=30)
        assert program.returncode == 1, STAGES[process]
        assert b"LinkClosed" in errors
    assert time.monotonic() - began < 10, "noticed by patience only"
    LaneFiles(task).remove()
    assert os.listdir(tmp_path / "segments") == []
    assert set(os.listdir("/dev/shm")) == shm


def test_a_failing_stage_leaves_no_half_file(task: RenderTask, kit: LaneKit) -> None:
    pts = [*task.index.pts]
    pts[30] += 1  # the film is not what it was when it was probed
    task = replace(task, index=replace(task.index, pts=tuple(pts)))
    with pytest.raises(FramesLost, match="frame 30"):
        StageRun(task, Toolbox(kit), lane_processes(1), 0, "fails").run()
    assert os.listdir(Path(task.job.folder) / "segments") == []


def test_a_run_can_be_left_at_any_frame(task: RenderTask, kit: LaneKit) -> None:
    run = StageRun(task, Toolbox(kit), lane_processes(1), 0, "left")
    steps = run.steps()
    for _ in range(5):
        next(steps)
    assert run.frames == 5
    run.cancel()
    with pytest.raises(Cancelled):
        list(steps)
    assert os.listdir(Path(task.job.folder) / "segments") == []


def test_halo_frames_are_decoded_but_not_in_the_segment(task: RenderTask, kit: LaneKit) -> None:
    haloed = replace(task, chunk=replace(task.chunk, warmup=3, tail=100))
    assert span(haloed) == (4, FRAMES)
    plain, wide = (
        merge([StageRun(each, Toolbox(kit), lane_processes(1), 0, "halo").run()])
        for each in (task, haloed)
    )
    assert isinstance(plain, Segment)
    assert isinstance(wide, Segment)
    assert wide.frame_hashes == plain.frame_hashes


def test_an_analysis_sees_what_decides_its_faces_and_hands(task: RenderTask) -> None:
    job = replace(task.job, analysis=AnalyseSettings(interval=1))
    assert analysis_halo(job) == HALO > reach(1)
    assert analysis_halo(
        replace(job, analysis=AnalyseSettings(interval=1, occlusion=False))
    ) == reach(1)
    assert analysis_halo(replace(job, analysis=AnalyseSettings(interval=24))) == reach(24)


def test_only_the_chunks_own_hands_are_read(task: RenderTask) -> None:
    hands = [
        HandObservation(frame=at, landmarks=np.full((21, 2), at, np.float32), presence=1.0)
        for at in range(0, FRAMES, 3)
    ]
    pq.write_table(hand_tables.to_table(hands), task.job.hands, row_group_size=4)
    blind = replace(task.job, analysis=AnalyseSettings(occlusion=False))
    read = read_hands(task)
    assert list(read) == [at for at in range(0, FRAMES, 3) if 7 <= at < 35]
    assert (read[9][0].landmarks == 9).all()
    assert read_hands(replace(task, job=blind)) == {}


def test_an_analysis_has_slots_for_what_it_holds_back(task: RenderTask, kit: LaneKit) -> None:
    for interval in (1, 6, 24):
        job = replace(task.job, analysis=AnalyseSettings(interval=interval))
        analysis = AnalyseTask(job=job, index=task.index, chunk=task.chunk, attempt=1)
        assert held_back(interval) < slots_needed(analysis, replace(kit, slots=1)) <= MOST_SLOTS
        assert slots_needed(analysis, replace(kit, slots=60)) == 60


@pytest.mark.parametrize("slots", [1, 3, 8, 63, 64])
@pytest.mark.parametrize("batch", [1, 2, 16, 64])
def test_a_render_has_slots_for_the_batch_that_its_swapper_gathers(
    task: RenderTask, kit: LaneKit, slots: int, batch: int
) -> None:
    kit = replace(kit, slots=slots, batch=batch)
    needed = slots_needed(task, kit)
    assert slots <= needed <= MOST_SLOTS
    # With all that may be held back, there is a slot for the frame that is asked for.
    assert 0 <= swapper_hold(kit, kit.batch) < needed
    if batch == 1:
        assert (needed, swapper_hold(kit, kit.batch)) == (slots, 0)
    if slots + batch <= MOST_SLOTS:
        assert swapper_hold(kit, kit.batch) == batch - 1


def test_batches_are_smaller_where_memory_has_run_out(task: RenderTask, kit: LaneKit) -> None:
    kit = replace(kit, batch=8)
    sizes = [swap_batch(replace(task, batch_divisor=by), kit) for by in (1, 2, 4, 8, 16)]
    assert sizes == [8, 4, 2, 1, 1]


def test_only_the_chunks_own_faces_are_read(task: RenderTask) -> None:
    faces = [
        FaceObservation(
            frame=frame,
            track=track,
            box=np.arange(4, dtype=np.float32),
            landmarks=np.full((468, 2), frame, np.float32),
            score=0.5,
            visible=1.0,
        )
        for frame in range(FRAMES)
        for track in range(frame % 3)
    ]
    with pq.ParquetWriter(task.job.tracks, SCHEMA) as writer:
        for start in range(0, len(faces), 7):
            writer.write_table(to_table(faces[start : start + 7]))
    read = read_faces(task)
    assert {frame: len(rows) for frame, rows in read.items()} == {
        frame: frame % 3 for frame in range(7, 35) if frame % 3
    }
    assert [face.track for face in read[8]] == [0, 1]
    assert (read[8][0].landmarks == 8).all()


@pytest.mark.parametrize("count", range(1, 6))
def test_a_lane_has_each_stage_once_and_skips_idle_processes(task: RenderTask, count: int) -> None:
    processes = lane_processes(count)
    assert len(processes) == count
    assert sum(processes, ()) == STAGES
    row = row_of(processes, task)
    assert [s for p in row for s in processes[p] if s != "detector"] == [
        s for s in STAGES if s != "detector"
    ]
    analysis = AnalyseTask(job=task.job, index=task.index, chunk=task.chunk, attempt=1)
    assert row_of(processes, analysis) == ((0, 1) if count == 5 else (0,))


def test_cpu_times_of_a_stage_do_not_hold_those_of_the_stages_before(
    task: RenderTask, kit: LaneKit
) -> None:
    run = StageRun(task, Toolbox(kit), lane_processes(1), 0, "times")
    began = time.thread_time()
    report = run.run()
    spent = (time.thread_time() - began) * 1000
    assert isinstance(report, StageReport)
    assert min(report.cpu_ms.values()) >= 0
    assert sum(report.cpu_ms.values()) <= spent


def test_what_is_measured_costs_two_readings_a_part(task: RenderTask, kit: LaneKit) -> None:
    read: list[None] = []

    def clock() -> tuple[float, float]:
        read.append(None)
        return host_clock()

    tools = Toolbox(kit)
    tools.profiler = Profiler(clock=clock)
    report = StageRun(task, tools, lane_processes(1), 0, "readings").run()
    parts = {"decoder", "swapper", "compositor", "compositor.stabilise", "encoder"}
    assert set(report.times) == parts | {"compositor.occlude"}
    frames = task.chunk.frames
    assert {spent.calls for spent in report.times.values()} == {frames, frames + 1}
    assert len(read) == 2 * sum(spent.calls for spent in report.times.values())
    assert len(read) <= 12 * (frames + 1)
    assert all(spent.device_ms is None for spent in report.times.values())


def test_what_is_waited_for_is_told_apart(task: RenderTask, kit: LaneKit, tmp_path: Path) -> None:
    work = tmp_path / "work"
    programs = spawn(task, kit, lane_processes(2), work, uuid4().hex)
    segment = finish(programs, work)
    assert isinstance(segment, Segment)
    assert segment.times["waiting"].calls >= task.chunk.frames
    assert "waiting" not in segment.cpu_ms
