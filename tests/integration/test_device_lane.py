"""A lane whose frames never leave the GPU: a real film whole through it, on a GPU that is played by
the CPU and, the same bodies, on a real one."""

from __future__ import annotations

import gc
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow.parquet as pq
import pytest

from actors.device_lane import DeviceLane
from actors.device_swapper import DeviceNetwork
from actors.encoder import SegmentEncoder
from actors.formats import picture_format
from actors.models import ModelStore
from actors.pipeline import StageRun, lane_processes, row_of
from actors.prober import probe
from actors.toolbox import LaneKit, Toolbox
from actors.transfers import Transfers
from benchmarks.standins import standin_store
from scheduler import hands as hand_tables
from scheduler.chunks import Chunk
from scheduler.devices import TENSORRT
from scheduler.errors import GpuFailed, RenderError
from scheduler.hands import HandObservation
from scheduler.jobs import (
    AnalyseSettings,
    EncoderSettings,
    JobSpec,
    RenderTask,
    Segment,
    StabilizeSettings,
)
from scheduler.tracks import FaceObservation, from_table
from tests.integration.films import planes, trim
from tests.integration.gpu_jobs import check, job, run
from tests.integration.played_lane import played_tools
from tests.support.cuda_device import Devices
from tests.support.fake_gpu import FakeDriver, Fault
from tests.support.hardware import has_nvenc, this_gpu
from tests.support.played_gpu import PlayedGpu
from tests.unit.actors.gpu_lane import ROUTES

# Sanitizers and a busy machine: minutes where seconds are usual.
pytestmark = pytest.mark.timeout(1200)

FRAMES = 3
SWAPPER = "inswapper_128"
CROP = 128
X264 = EncoderSettings(codec="libx264", preset="ultrafast", quality=0)
"""Without loss: what it is given can be compared. Takes NV12, as NVENC does."""
PLAIN = StabilizeSettings(flow=False, guard=False, seam=False)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, samples: dict[str, Path]) -> Path:
    folder = tmp_path_factory.mktemp("film")
    return trim(samples["wolfgang_langer"], folder / "film.mp4", FRAMES)


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory, models: ModelStore) -> LaneKit:
    """A kit whose swapper is a tiny stand-in of a network. Two slots: each is used again."""
    cache = tmp_path_factory.mktemp("standins")
    names = (SWAPPER, "arcface_w600k_r50")
    return LaneKit(
        cache_dir=standin_store(cache, names=names, beside=models).cache, batch=2, slots=1
    )


@pytest.fixture(scope="module")
def on_cpu(
    tmp_path_factory: pytest.TempPathFactory, film: Path, samples: dict[str, Path], kit: LaneKit
) -> JobSpec:
    """The film as the CPU makes it, with the tables that it was made by."""
    folder = tmp_path_factory.mktemp("cpu") / "run"
    spec = job(film, samples["astronaut"], folder, "cpu", SWAPPER, X264)
    run(spec, Toolbox(kit))
    return spec


def seen_faces(spec: JobSpec) -> list[FaceObservation]:
    return from_table(pq.read_table(spec.tracks))


def task_of(spec: JobSpec, folder: Path, device: str = TENSORRT, **more: Any) -> RenderTask:
    """The render of a film's last frames, with a frame of warm-up, by tables that are there."""
    shutil.copytree(spec.folder, folder)
    return RenderTask(
        job=replace(spec, folder=str(folder), device=device, **more),
        index=probe(spec.media),
        chunk=Chunk(index=0, start=1, stop=FRAMES, warmup=1),
        attempt=9,
        faces=1,
        crop_size=CROP,
    )


def rendered(task: RenderTask, tools: Toolbox) -> Segment:
    result = StageRun(task, tools, lane_processes(1), 0, uuid4().hex).run().result
    assert isinstance(result, Segment)
    return result


def alike(ours: Segment, theirs: Segment) -> None:
    """Two renders of the same frames differ by rounding only."""
    assert (ours.frames, ours.first_pts, ours.swapped_frames) == (
        theirs.frames, theirs.first_pts, theirs.swapped_frames,
    )  # fmt: skip
    assert ours.extradata_sha256 == theirs.extradata_sha256
    for one, other in zip(planes(Path(ours.path)), planes(Path(theirs.path)), strict=True):
        for a, b in zip(one, other, strict=True):
            difference = np.abs(a.astype(np.int32) - b)
            assert difference.max() <= 2
            assert difference.mean() <= 0.01


@dataclass
class Copies:
    """What crosses between host and device, frame by frame."""

    sizes: list[int] = field(default_factory=list)
    """Of the copies since the last frame came to the encoder."""
    frames: list[list[int]] = field(default_factory=list)

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        count, encode = Transfers.count, SegmentEncoder.encode

        def counted(transfers: Transfers, direction: Any, nbytes: int) -> None:
            if direction != "across":
                self.sizes.append(nbytes)
            count(transfers, direction, nbytes)

        def encoded(stage: SegmentEncoder[Any], frame: Any) -> None:
            encode(stage, frame)
            self.frames.append(self.sizes)
            self.sizes = []

        monkeypatch.setattr(Transfers, "count", counted)
        monkeypatch.setattr(SegmentEncoder, "encode", encoded)


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> Copies:
    copies = Copies()
    copies.watch(monkeypatch)
    return copies


# One body for the played GPU and a real one.


def no_copy_at_all(spec: JobSpec, tools: Toolbox, copies: Copies, folder: Path) -> None:
    """With NVDEC and NVENC, and nothing that the CPU must look at: transfers per frame == 0."""
    quiet = AnalyseSettings(occlusion=False, objects=False)
    task = task_of(spec, folder, stabilize=PLAIN, analysis=quiet)
    rendered(task, tools)
    first, *others = copies.frames
    assert len(first) <= 6, "tables, masks, the source: once for the task"
    assert others == [[]] * (FRAMES - 2)
    assert copies.sizes == [4], "was all that the network gave a colour?"


def no_copy_of_a_picture(spec: JobSpec, tools: Toolbox, copies: Copies, folder: Path) -> None:
    """With the filters and with what is before the face: sums and small pictures of it only."""
    rendered(task_of(spec, folder), tools)
    small_copies(spec, copies)


def small_copies(spec: JobSpec, copies: Copies) -> None:
    """What was copied for a frame is less than one chroma plane, all in all."""
    index = probe(spec.media)
    for frame in copies.frames[1:]:
        assert frame, "the filters read sums"
        assert sum(frame) < index.width * index.height / 4


# Played.


def test_a_film_whole_through_a_lane_on_a_gpu_is_the_cpus(
    on_cpu: JobSpec,
    film: Path,
    samples: dict[str, Path],
    kit: LaneKit,
    played: PlayedGpu,
    copies: Copies,
    tmp_path: Path,
) -> None:
    tools = played_tools(kit, played)
    spec = job(film, samples["astronaut"], tmp_path / "run", TENSORRT, SWAPPER, X264)
    launched = len(played.kernels.launched)
    check(spec, run(spec, tools), on_cpu)
    assert len(copies.frames) == FRAMES
    small_copies(spec, copies)
    steps = {"cell_pairs8", "crop_cells", "pack_floats", "unpack_floats", "flow_blend"}
    assert steps <= set(played.kernels.launched[launched:])
    tools.close()
    gc.collect()
    assert (played.driver.used(), played.driver.events()) == (0, 0)


def test_nothing_crosses_between_decoder_and_encoder(
    on_cpu: JobSpec, kit: LaneKit, played: PlayedGpu, copies: Copies, tmp_path: Path
) -> None:
    no_copy_at_all(on_cpu, played_tools(kit, played), copies, tmp_path / "job")


@pytest.mark.slow
@pytest.mark.parametrize("how", ["nvdec-download", "upload-nvenc", "upload-download"])
def test_pictures_cross_as_often_as_the_route_says(
    on_cpu: JobSpec, kit: LaneKit, played: PlayedGpu, copies: Copies, tmp_path: Path, how: str
) -> None:
    task, route = task_of(on_cpu, tmp_path / "ours", stabilize=PLAIN), ROUTES[how]
    ours = rendered(task, played_tools(kit, played, route))
    spans = [row * rows for _, row, rows in route.layout(picture_format(task.index), 0, 0).spans]
    up, down = route.transfers
    of_pictures = [n for frame in copies.frames for n in frame if n in spans]
    assert sorted(of_pictures) == sorted(spans * (FRAMES * up + (FRAMES - 1) * down))
    theirs = rendered(task_of(on_cpu, tmp_path / "theirs", "cpu", stabilize=PLAIN), Toolbox(kit))
    alike(ours, theirs)


def hand_over(spec: JobSpec, folder: Path) -> None:
    """A hand before the face, in all frames."""
    fingers = [
        [(-0.5 + 0.2 * finger, -0.1 - 0.22 * joint) for joint in range(4)] for finger in range(5)
    ]
    shape = np.array([(0.0, 0.5), *(point for finger in fingers for point in finger)])
    rows = []
    for face in seen_faces(spec):
        low, high = face.box.reshape(2, 2).astype(np.float64)
        joints = (low + high) / 2 + shape * (high - low) * 0.7 + (0.3 * (high - low)[0], 0)
        rows.append(
            HandObservation(frame=face.frame, landmarks=joints.astype(np.float32), presence=1.0)
        )
    pq.write_table(hand_tables.to_table(rows), folder / Path(spec.hands).name)


def test_what_is_before_the_face_stays_there_and_masks_are_recorded(
    on_cpu: JobSpec, kit: LaneKit, played: PlayedGpu, copies: Copies, tmp_path: Path
) -> None:
    found = []
    for device, tools in (("cpu", Toolbox(kit)), (TENSORRT, played_tools(kit, played))):
        folder = tmp_path / device
        copies.frames.clear()
        task = task_of(on_cpu, folder, device, masks_output="masks")
        hand_over(on_cpu, folder)
        run_ = StageRun(task, tools, lane_processes(1), 0, uuid4().hex)
        report = run_.run()
        assert isinstance(report.result, Segment)
        found.append((report.result, pq.read_table(report.masks_path).to_pylist()))
    for *frame, touched in copies.frames[1:]:
        assert max(frame) <= 4 * CROP**2, "a plane of the crop"
        assert touched < task.index.width * task.index.height, "for the record: a part of luma"
    (theirs, wanted), (ours, masks) = found
    alike(ours, theirs)
    assert [row["track"] for row in masks] == [row["track"] for row in wanted]
    for row, other in zip(masks, wanted, strict=True):
        assert other["hidden"] > 0.05, "the hand is before the face"
        assert abs(row["hidden"] - other["hidden"]) < 0.01
        assert abs(row["strength"] - other["strength"]) < 0.01


def test_a_task_that_fails_leaves_the_lane_as_it_was(
    on_cpu: JobSpec, kit: LaneKit, played: PlayedGpu, tmp_path: Path
) -> None:
    route = replace(ROUTES["nvdec-nvenc"], reasons=("it said so",))
    tools = played_tools(kit, played, route)
    task = task_of(on_cpu, tmp_path / "job", stabilize=PLAIN)
    true, calls = DeviceNetwork.swap, iter(range(100))

    def fails(network: DeviceNetwork, *values: Any) -> None:
        if next(calls) == 1:
            raise GpuFailed("an illegal address", "none", "look")
        true(network, *values)

    def overflows(network: DeviceNetwork, faces: Any, source: Any) -> None:
        """As half floats do. Clipped it would look like a black face."""
        values = played.device.array(source.pointer, (source.nbytes // 4,), "float32")
        kept = values.copy()
        values[...] = np.inf
        true(network, faces, source)
        values[...] = kept

    for attempt, how in ((9, fails), (10, overflows)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(DeviceNetwork, "swap", how)
            with pytest.raises((GpuFailed, RenderError), match=r"illegal address|not finite"):
                rendered(replace(task, attempt=attempt), tools)
    segment = rendered(replace(task, attempt=11), tools)
    assert segment.remarks == route.reasons
    theirs = rendered(task_of(on_cpu, tmp_path / "theirs", "cpu", stabilize=PLAIN), Toolbox(kit))
    alike(segment, theirs)
    there = {path.name for path in (Path(task.job.folder) / "segments").iterdir()}
    had = {path.name for path in (Path(on_cpu.folder) / "segments").iterdir()}
    assert there - had == {Path(segment.path).name}, "nothing is left of what failed"
    tools.close()
    gc.collect()
    assert (played.driver.used(), played.driver.events()) == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("forgotten", ["computed", "passed", "skip"])
def test_planted_a_stage_that_forgets_an_event(
    on_cpu: JobSpec,
    kit: LaneKit,
    played: PlayedGpu,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    forgotten: str,
) -> None:
    """It reads poison, or writes where another stream is still at work. One slot: the decoder
    comes back to it at once."""
    monkeypatch.setattr(DeviceLane, forgotten, lambda lane, frames: frames)
    task, single = task_of(on_cpu, tmp_path / "job", stabilize=PLAIN), replace(kit, batch=1)
    theirs = rendered(task_of(on_cpu, tmp_path / "theirs", "cpu", stabilize=PLAIN), Toolbox(kit))
    with pytest.raises((Fault, AssertionError)):
        alike(rendered(task, played_tools(single, played)), theirs)


def processes_of(
    task: RenderTask, kit: LaneKit, count: int, folder: Path, program: Path
) -> list[subprocess.Popen[str]]:
    """A lane of real processes on one played GPU."""
    processes, name, started = lane_processes(count), uuid4().hex, []
    folder.mkdir(exist_ok=True)
    for process in row_of(processes, task):
        work, report = folder / f"{name} {process}", folder / f"{name} {process} report"
        work.write_bytes(
            pickle.dumps((task, kit, processes, process, name, folder / "gpu", program))
        )
        root = Path(__file__).parents[2]
        command = [sys.executable, "-m", "tests.integration.device_process", work, report]
        environment = {**os.environ, "PYTHONPATH": str(root)}
        started.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root, env=environment)
        )
    return started


@pytest.fixture
def ended() -> Iterator[Callable[[list[subprocess.Popen[str]]], None]]:
    """Ends processes that a test that fails has left."""
    known: list[subprocess.Popen[str]] = []
    yield known.extend
    for process in known:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_a_lane_of_several_processes_makes_the_same_bytes_and_a_dead_one_leaves_nothing(
    on_cpu: JobSpec,
    kit: LaneKit,
    played: PlayedGpu,
    devices: Devices,
    tmp_path: Path,
    ended: Callable[[list[subprocess.Popen[str]]], None],
) -> None:
    task, program = task_of(on_cpu, tmp_path / "job", stabilize=PLAIN), devices.program()
    lane = processes_of(task, kit, 2, tmp_path / "row", program)
    ended(lane)
    assert lane[1].stdout is not None
    assert lane[1].stdout.readline() == "frame 0\n"
    lane[0].kill()
    assert lane[1].wait(120) != 0, "the other one's link is cut"
    left = FakeDriver(tmp_path / "row" / "gpu")
    assert (left.used(), left.events()) == (0, 0)

    lane = processes_of(replace(task, attempt=10), kit, 2, tmp_path / "row", program)
    ended(lane)
    assert [process.wait(300) for process in lane] == [0, 0]
    report = next((tmp_path / "row").glob("* 1 report"))
    found = pickle.loads(report.read_bytes()).result
    alone = rendered(replace(task, attempt=11), played_tools(kit, played))
    assert found.sha256 == alone.sha256
    assert (left.used(), left.events()) == (0, 0)


# On a GPU.


@pytest.mark.cuda
def test_a_film_whole_through_a_lane_on_a_real_gpu_is_the_cpus(
    gpu: Callable[[], object],
    on_cpu: JobSpec,
    film: Path,
    samples: dict[str, Path],
    kit: LaneKit,
    tmp_path: Path,
) -> None:
    gpu()
    tools = Toolbox(kit)
    spec = job(film, samples["astronaut"], tmp_path / "run", TENSORRT, SWAPPER, X264)
    check(spec, run(spec, tools), on_cpu)
    tools.close()


@pytest.mark.cuda
@pytest.mark.parametrize("body", [no_copy_at_all, no_copy_of_a_picture])
def test_nothing_crosses_on_a_real_gpu(
    gpu: Callable[[], object],
    on_cpu: JobSpec,
    kit: LaneKit,
    copies: Copies,
    tmp_path: Path,
    body: Callable[[JobSpec, Toolbox, Copies, Path], None],
) -> None:
    gpu()
    tools = Toolbox(kit, TENSORRT)
    spec = replace(on_cpu, encoder=EncoderSettings(codec="h264_nvenc"))
    route = tools._process_gpu.lane.route(probe(spec.media), spec.encoder)
    driver = tools._process_gpu.gpu.driver
    assert driver is not None
    encodes = has_nvenc(this_gpu(driver.uuid))
    assert route.transfers == (0, int(not encodes)), route.reasons
    if encodes:
        body(spec, tools, copies, tmp_path / "job")
    tools.close()
