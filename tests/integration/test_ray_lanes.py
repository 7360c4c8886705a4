"""Lanes on a real Ray: they work, die, come back, and keep quiet about it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from urllib.request import urlopen

import av
import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
import ray
from av.video.frame import VideoFrame

from actors.pipeline import STAGES, lane_processes
from actors.prober import probe
from actors.toolbox import LaneKit
from cluster.inline import InlineExecutor
from cluster.ray_executor import RayExecutor
from cluster.session import Session, sweep_sessions
from scheduler import hands as hand_tables
from scheduler.chunks import Chunk
from scheduler.errors import ClusterUnreachable, FramesLost, GpuFailed, LaneDied, LinkClosed
from scheduler.events import (
    ExecutorEvent,
    LaneLost,
    LaneReady,
    TaskDone,
    TaskFailed,
    TaskProgress,
)
from scheduler.jobs import EncoderSettings, JobSpec, RenderTask, Segment, SwapSettings
from scheduler.tracks import to_table

pytestmark = pytest.mark.ray

FRAMES = 240
GPUS = ("GPU-11111111-2222-3333-4444-555555555555", "MIG-c7384736-a75d-5afc-978f-d2f1294409fd")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise, slow enough to encode that a test can strike in the middle."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    noise = np.random.default_rng(1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25), options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for number in range(FRAMES):
            picture = noise.integers(0, 255, (45, 80, 3)).repeat(4, 0).repeat(4, 1)
            frame = VideoFrame.from_ndarray(picture.astype(np.uint8), format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    # Started in a folder with a package of the same name as one of ours: workers must not see it.
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "__init__.py").write_text("raise ImportError('not ours')")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        # Names that no GPU has: lanes for GPUs are given them as they are, others none.
        patch.setenv("CUDA_VISIBLE_DEVICES", "the user's own")
        patch.setenv("RAY_metrics_report_interval_ms", "500")
        with Session.open("local", cpus=2, gpus=GPUS) as session:
            assert Path.cwd() == folder
            assert os.environ["CUDA_VISIBLE_DEVICES"] == "the user's own"
            yield session


@pytest.fixture
def task(film: Path, tmp_path: Path) -> RenderTask:
    job = JobSpec(
        job_id="lanes",
        media=str(film),
        output=str(tmp_path / "out.mp4"),
        folder=str(tmp_path),
        swap=SwapSettings(sources=("nobody.jpg",)),
        encoder=EncoderSettings(codec="libx264", preset="medium"),
        hashes_output="hashes",
    )
    for part in ("analysis", "segments"):
        (tmp_path / part).mkdir()
    pq.write_table(to_table([]), job.tracks)
    pq.write_table(hand_tables.to_table([]), job.hands)
    chunk = Chunk(index=0, start=10, stop=FRAMES)
    return RenderTask(job=job, index=probe(film), chunk=chunk, attempt=1, faces=0, crop_size=0)


@pytest.fixture
def kit(tmp_path: Path) -> LaneKit:
    return LaneKit(cache_dir=tmp_path / "cache")


@pytest.fixture
def lane(session: Session, kit: LaneKit) -> Iterator[RayExecutor]:
    """One lane of five processes, up and idle."""
    executor = RayExecutor(session, kit, 1, lane_processes(5))
    try:
        (ready,) = until(executor, LaneReady)
        assert isinstance(ready, LaneReady)
        assert ready.lane == 0
        yield executor
    finally:
        executor.close()


def until(
    executor: RayExecutor | InlineExecutor,
    kind: type,
    see: Callable[[ExecutorEvent], None] = lambda _: None,
) -> list[ExecutorEvent]:
    """All events up to the first of a kind, which comes last."""
    events: list[ExecutorEvent] = []
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        for event in executor.poll(0.2):
            see(event)
            events.append(event)
            if isinstance(event, kind):
                return events
    raise AssertionError(f"no {kind.__name__} among {events}")


def metrics(task: str, frames: int) -> str:
    """What Ray's metrics say, once they know of the frames of a task."""
    (node,) = ray.nodes()
    address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    deadline = time.monotonic() + 90
    while True:
        assert time.monotonic() < deadline
        with suppress(OSError), urlopen(address, timeout=10) as answer:
            text = str(answer.read().decode())
            seen = re.findall(rf'^ray_farm_frames\S*task="{task}"\S* (\S+)$', text, re.MULTILINE)
            if sum(map(float, seen)) >= frames:
                return text
        time.sleep(0.5)


def segment(events: list[ExecutorEvent]) -> Segment:
    done = events[-1]
    assert isinstance(done, TaskDone)
    assert isinstance(done.result, Segment)
    return replace(done.result, times={}, path="")


def segments(task: RenderTask) -> list[str]:
    return sorted(os.listdir(Path(task.job.folder) / "segments"))


def test_five_processes_one_process_and_no_ray_give_the_same_bytes(
    lane: RayExecutor, session: Session, kit: LaneKit, task: RenderTask
) -> None:
    inline = InlineExecutor(kit)
    inline.poll(0)
    inline.start(task, 0)
    expected = segment(until(inline, TaskDone))
    assert expected.frames == FRAMES - 10

    lane.start(replace(task, attempt=2), 0)
    events = until(lane, TaskDone)
    assert segment(events) == expected
    assert any(isinstance(event, TaskProgress) for event in events)
    assert sorted(lane.pids()[0]) == sorted(STAGES)
    assert len(set(lane.pids()[0].values())) == 5
    lane.close()

    fused = RayExecutor(session, kit, 2, lane_processes(1))
    up = {event.lane for _ in range(2) for event in until(fused, LaneReady)}
    assert up <= {0, 1}
    fused.start(replace(task, attempt=3), max(up))
    assert segment(until(fused, TaskDone)) == expected
    assert [place.gpus for one in fused._lanes for place in one.places.values()] == [(), ()]
    told = metrics("render", FRAMES - 10)
    fused.close()
    assert re.search(r'farm_part_seconds\S*clock="wall"\S*part="encoder"', told)
    assert re.search(r'farm_part_ms_bucket\S*part="compositor.stabilise"', told)
    assert segments(task) == ["000000.a1.mp4", "000000.a2.mp4", "000000.a3.mp4"]


def test_lanes_for_gpus_share_them_by_their_names(
    session: Session, kit: LaneKit, task: RenderTask
) -> None:
    executor = RayExecutor(session, kit, 3, lane_processes(2), device="cuda")
    try:
        ready: set[int] = set()
        while len(ready) < 3:
            ready |= {e.lane for e in until(executor, LaneReady) if isinstance(e, LaneReady)}
        found = [{place.gpus for place in lane.places.values()} for lane in executor._lanes]
        assert [len(names) for names in found] == [1, 1, 1], "a lane's processes share one GPU"
        names = [name for ((name,),) in found]
        assert set(names) == set(GPUS)
        assert [lane.share.gpus for lane in executor._lanes] == [0.5] * 3

        # A GPU that fails takes its lane along: in its processes CUDA refuses all from now on.
        lane = executor._lanes[0]
        lane._task = replace(task, job=replace(task.job, device="cuda"))
        assert lane._reported(0, GpuFailed("illegal address", "none", "look"), 0.0) == []
        failed, lost = lane._reported(1, LinkClosed("gone", "there", "look"), 0.0)
        assert isinstance(failed, TaskFailed)
        assert failed.error.code == "lane.gpu"
        assert isinstance(lost, LaneLost)
        assert lane.lost is lost.error
    finally:
        executor.close()


@pytest.mark.parametrize("stage", ["detector", "encoder"])
def test_a_process_killed_at_work_fails_the_task_and_the_lane_comes_back(
    stage: str, lane: RayExecutor, task: RenderTask, capfd: pytest.CaptureFixture[str]
) -> None:
    before = lane.pids()[0]

    def strike(event: ExecutorEvent) -> None:
        if isinstance(event, TaskProgress) and event.frames and psutil.pid_exists(before[stage]):
            os.kill(before[stage], signal.SIGKILL)

    lane.start(task, 0)
    *_, failed, lost = until(lane, LaneLost, strike)
    assert isinstance(failed, TaskFailed)
    assert isinstance(failed.error, LaneDied)
    assert f"{stage} (pid {before[stage]}) died" in failed.error.found
    assert isinstance(lost, LaneLost)
    assert segments(task) == []
    for pid in before.values():
        psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=10)
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie"
    (ready,) = until(lane, LaneReady)
    assert isinstance(ready, LaneReady)
    assert ready.lane == 0
    lane.start(replace(task, attempt=2), 0)
    until(lane, TaskDone)
    assert segments(task) == ["000000.a2.mp4"]
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def test_an_idle_process_is_missed_and_a_task_for_its_lane_fails_at_once(
    lane: RayExecutor, task: RenderTask
) -> None:
    os.kill(lane.pids()[0]["swapper"], signal.SIGKILL)
    (lost,) = until(lane, LaneLost)
    assert isinstance(lost, LaneLost)
    assert lane.pids() == {}
    lane.start(task, 0)
    (failed,) = lane.poll(0)
    assert isinstance(failed, TaskFailed)
    assert isinstance(failed.error, LaneDied)
    until(lane, LaneReady)
    assert lane.poll(0.5) == []


def test_an_error_of_the_film_fails_the_task_and_spares_the_lane(
    lane: RayExecutor, task: RenderTask
) -> None:
    before = lane.pids()
    pts = [*task.index.pts]
    pts[120] += 1
    lane.start(replace(task, index=replace(task.index, pts=tuple(pts))), 0)
    failed = until(lane, TaskFailed)[-1]
    assert isinstance(failed, TaskFailed)
    assert isinstance(failed.error, FramesLost), "an echo hid the cause"
    assert segments(task) == []
    lane.start(replace(task, attempt=2), 0)
    until(lane, TaskDone)
    assert lane.pids() == before


def test_closing_at_work_leaves_no_process(lane: RayExecutor, task: RenderTask) -> None:
    pids = lane.pids()[0]
    lane.start(task, 0)
    until(lane, TaskProgress)
    lane.close()
    alive = [psutil.Process(pid) for pid in pids.values() if psutil.pid_exists(pid)]
    _, alive = psutil.wait_procs(alive, timeout=10)
    assert [p for p in alive if p.status() != "zombie"] == []


def test_a_private_ray_listens_on_the_loopback_only(session: Session) -> None:
    ours = psutil.Process().children(recursive=True)
    listening = {
        connection.laddr.ip
        for process in ours
        if process.status() != "zombie"
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening
    assert listening <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    assert session.local
    assert session.cpus == 2
    assert not (Path.home() / ".ray" / "auth_token").exists()


HOLD = """
import sys, time
from cluster.session import Session
session = Session.open("local", cpus=1)
print(session._folder, flush=True)
time.sleep(120)
"""


def test_what_a_killed_session_left_goes_with_the_next(session: Session) -> None:
    root = Path(__file__).parents[2]
    environment = {k: v for k, v in os.environ.items() if k != "RAY_AUTH_TOKEN"}
    with subprocess.Popen(
        [sys.executable, "-c", HOLD],
        env=environment | {"PYTHONPATH": str(root)},
        cwd=root,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout
        folder = Path(program.stdout.readline().strip())
        children = psutil.Process(program.pid).children(recursive=True)
        program.kill()
    assert folder.name.startswith("swapfarm-ray-")
    assert folder.is_dir()
    assert len(children) > 3
    sweep_sessions()
    assert not folder.exists()
    assert ray.is_initialized()
    assert session._folder
    assert session._folder.exists(), "the sweep took a session that lives"
    _, alive = psutil.wait_procs(children, timeout=10)
    assert [p for p in alive if p.status() != "zombie"] == []


def test_an_address_where_nobody_answers_is_one_clear_error() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    began = time.monotonic()
    with pytest.raises(ClusterUnreachable, match=address):
        Session.open(address)
    with pytest.raises(ClusterUnreachable, match="nonsense"):
        Session.open("nonsense")
    assert time.monotonic() - began < 10
