"""A whole film with neural networks: how near it comes to the swapper's own time.

    python benchmarks/throughput.py [--networks full|small|tiny] [--clip FILM] [--height 720]
        [--swapper NAME] [--frames N] [--apart-frames N] [--lanes N] [--processes N]
        [--threads N] [--batch N] [--no-apart] [--quick] [--json FILE]

The networks are stand-ins (benchmarks/standins.py): true signatures and costs, random weights, no
knowledge of faces. Faces are found by the embedded networks, which are the true ones.

Two runs of the same job. The first is a user's: Ray, lanes as on this machine; it gives ``fps``,
``peak_rss_mb`` (proportional set size of the whole tree) and, held against as many processes as
there are lanes that run nothing but the swapper (some seconds before and some after, scaled to as
many faces), the ``floor_ratio``. The second is one process without Ray, in which each run of a
network is timed apart. It runs twice, each time in one chunk, over the first quarter of
``--apart-frames`` and over all of them: ``own_ms_per_frame`` is all CPU time but networks and
encoder of the frames by which they differ, so without what is done once for a job (``once_ms``:
networks loaded, the face laid flat, tables). ``startup_s`` is the time from the command to the
first rendered frame, without the analysis before it, of the shorter one; the machine code of loops
is on disk then, as after any first job.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil

from actors.inference.litert import LiteRt
from actors.inference.onnx import Onnx
from actors.models import ModelStore
from actors.threads import limit_threads
from benchmarks.standins import standin_store
from cluster.layout import choose_layout
from farm.config import load_settings
from farm.runner import FarmOptions, run_job
from farm.submission import build_job
from scheduler.jobs import JobSpec, JobSummary, StabilizeSettings
from scheduler.output import CutSettings
from scheduler.progress import JobSnapshot

FLOOR_SECONDS = 20.0
"""How long the swapper runs by itself, once before the job and once after it."""


class FirstFrame:
    """A display that notes when the first frame of the render was done."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self.seconds = 0.0

    def update(self, snapshot: JobSnapshot) -> None:
        if snapshot.phase == "render" and snapshot.frames_done and not self.seconds:
            self.seconds = time.perf_counter() - self._began

    def event(self, name: str, message: str = "", **facts: object) -> None:
        pass

    def close(self) -> None:
        pass


class Memory:
    """Peak of what this process and its children hold, shared pages counted once."""

    def __init__(self) -> None:
        self.peak = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._done.wait(2.0):
            total = 0
            for process in (me, *me.children(recursive=True)):
                try:
                    total += process.memory_full_info().pss
                except (psutil.NoSuchProcess, psutil.AccessDenied):
                    continue  # it ended while it was looked at
            self.peak = max(self.peak, total)


@contextmanager
def inference_clock() -> Iterator[dict[str, float]]:
    """CPU seconds that networks take in this process's threads, by runtime."""
    spent = {"litert": 0.0, "onnx": 0.0}

    def timed(name: str, run: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            began = time.thread_time()
            try:
                return run(*arguments)
            finally:
                spent[name] += time.thread_time() - began

        return call

    kept = LiteRt.run, Onnx.run
    LiteRt.run = timed("litert", LiteRt.run)  # type: ignore[method-assign]
    Onnx.run = timed("onnx", Onnx.run)  # type: ignore[method-assign]
    try:
        yield spent
    finally:
        LiteRt.run, Onnx.run = kept  # type: ignore[method-assign]


def alone(path: str, threads: int, ready: Any, seconds: Any) -> None:
    """One process of the floor: the swapper alone, for a while; how long it takes for a face."""
    limit_threads(threads)
    network = Onnx.load(Path(path), threads=threads)
    rng = np.random.default_rng(0)
    inputs = [rng.random((1, *spec.shape), np.float32) for spec in network.inputs]
    network.run(*inputs)
    ready.wait()
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < FLOOR_SECONDS:
        network.run(*inputs)
        done += 1
    seconds.put((time.perf_counter() - began) / done)


def floor(path: Path, lanes: int, threads: int) -> float:
    """Seconds of wall time for a face of ``lanes`` processes with nothing but the swapper."""
    context = multiprocessing.get_context("spawn")
    ready, seconds = context.Barrier(lanes), context.Queue()
    workers = [
        context.Process(target=alone, args=(str(path), threads, ready, seconds))
        for _ in range(lanes)
    ]
    for worker in workers:
        worker.start()
    rate = sum(1 / seconds.get(timeout=FLOOR_SECONDS + 120) for _ in workers)
    for worker in workers:
        worker.join()
    return 1 / rate


def scaled(film: Path, height: int, out: Path) -> Path:
    """The film's pictures at another height, as another film."""
    with av.open(str(film)) as source, av.open(str(out), "w") as target:
        shown = source.streams.video[0]
        width = round(shown.width * height / shown.height / 2) * 2
        stream = target.add_stream("libx264", rate=Fraction(shown.average_rate or 25))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": "16", "preset": "veryfast"}
        for number, frame in enumerate(source.decode(shown)):
            picture = frame.reformat(width, height)
            picture.pts, picture.time_base = number, 1 / Fraction(shown.average_rate or 25)
            target.mux(stream.encode(picture))
        target.mux(stream.encode())
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--networks", choices=("full", "small", "tiny"), default="small")
    parser.add_argument("--clip", type=Path, help="default: a sample of 72 frames")
    parser.add_argument("--height", type=int, default=0, help="scale the clip first")
    parser.add_argument("--swapper", default="hyperswap_1a_256")
    parser.add_argument("--precision", choices=("fp32", "int8", "auto"), default="fp32")
    parser.add_argument("--frames", type=int, default=0, help="the clip's first ones only")
    parser.add_argument("--apart-frames", type=int, default=72, help="of the one-process run")
    parser.add_argument("--no-apart", action="store_true", help="the user's run only")
    parser.add_argument("--threads", type=int, default=1, help="of the networks in each process")
    parser.add_argument("--batch", type=int, default=1, help="faces that the swapper sees at once")
    parser.add_argument("--lanes", type=int, default=0)
    parser.add_argument("--processes", type=int, default=0)
    parser.add_argument("--no-stabilize", action="store_true")
    parser.add_argument("--quick", action="store_true", help="tiny networks")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    settings = load_settings()
    samples = ModelStore(settings.cache_dir)
    size = "tiny" if given.quick else given.networks
    film = given.clip or samples.path("single_face")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if given.height:
            film = scaled(film, given.height, folder / f"{film.stem}-{given.height}p.mp4")
        for name in ("face_detection_full_range", "face_landmark"):
            samples.path(name)
        names = (given.swapper, "arcface_w600k_r50", "crossface_simswap", "crossface_ghost")
        store = standin_store(folder / "cache", size=size, names=names, beside=samples)
        settings = settings.model_copy(
            update={"analysis_gb": 0.0, "cache_dir": store.cache, "work_dir": folder / "jobs"}
        )
        job = build_job(
            settings,
            video=film,
            sources=[samples.path("astronaut")],
            output=folder / "out.mp4",
        )
        job = replace(
            job,
            swap=replace(job.swap, model=given.swapper, precision=given.precision),
            analysis=replace(job.analysis, expression=False),
        )
        if given.no_stabilize:
            plain = StabilizeSettings(flow=False, guard=False, seam=False)
            job = replace(job, stabilize=plain)
        if given.frames:
            job = replace(job, cut=CutSettings(stop=given.frames))
        options = FarmOptions(
            lanes=given.lanes, processes=given.processes, threads=given.threads, batch=given.batch
        )
        result = measure(job, settings, store, options)
        if not given.no_apart:
            stop = min(given.apart_frames, result["frames"])
            result |= apart(job, settings, stop)
    result = {"film": film.name, "swapper": given.swapper, "networks": size, **result}
    for name, value in result.items():
        print(f"{name:22}", json.dumps(value))
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n")


def measure(job: JobSpec, settings: Any, store: ModelStore, options: FarmOptions) -> dict[str, Any]:
    """The user's run, and its floor."""
    lanes, processes = choose_layout(
        len(os.sched_getaffinity(0)), lanes=options.lanes, processes=options.processes
    )
    options = replace(options, lanes=lanes, processes=processes)
    network = store.path(job.swap.model)
    before = floor(network, lanes, options.threads)
    with Memory() as memory:
        summary = run_job(job, settings, options, FirstFrame())
    # A shared machine is faster at one time than at another: the mean of before and after.
    after = floor(network, lanes, options.threads)
    least = summary.swaps * (before + after) / 2
    work = busy(summary)
    return {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "lanes": f"{lanes} x {processes}",
        "threads": options.threads,
        "batch": options.batch,
        "frames": summary.frames,
        "faces": summary.swaps,
        "fps": summary.frames / work,
        "floor_s": least,
        "floor_ms_before_after": [1000 * before, 1000 * after],
        "floor_ratio": least / work,
        "cpu_ms_per_frame": summary.cpu_ms_per_frame,
        "peak_rss_mb": memory.peak / 1e6,
        "phase_seconds": summary.phase_seconds,
    }


def apart(job: JobSpec, settings: Any, stop: int) -> dict[str, Any]:
    """What one process takes besides networks and encoder, by frame and once."""
    clock = FirstFrame()
    few, own_few, _ = alone_run(job, settings, max(stop // 4, 1), clock)
    many, own_many, inference = alone_run(job, settings, stop, FirstFrame())
    own = (own_many - own_few) / max(many.frames - few.frames, 1)
    return {
        "alone_cpu_ms_per_frame": many.cpu_ms_per_frame,
        "inference_ms_per_frame": inference / many.frames,
        "own_ms_per_frame": own,
        "once_ms": own_many - own * many.frames,
        "startup_s": clock.seconds - few.phase_seconds["analyse"],
    }


def alone_run(
    job: JobSpec, settings: Any, stop: int, clock: FirstFrame
) -> tuple[JobSummary, float, float]:
    """A run of the job's first frames in this process: what it says, and CPU milliseconds of all
    but networks and encoder, and of the networks."""
    path = Path(job.output)
    job = replace(
        job,
        output=str(path.with_stem(f"{path.stem}-{stop}")),
        cut=CutSettings(stop=stop),
        chunk_seconds=600.0,
    )
    with inference_clock() as spent:
        summary = run_job(job, settings, FarmOptions(ray=False), clock)
    inference = 1000 * sum(spent.values())
    cpu = summary.cpu_ms_per_frame
    own = (sum(cpu.values()) - cpu.get("render.encoder", 0.0)) * summary.frames - inference
    return summary, own, inference


def busy(summary: JobSummary) -> float:
    """Seconds of work on the film: without the start of Ray and of the lanes."""
    return sum(summary.phase_seconds[name] for name in ("analyse", "stitch", "render", "join"))


if __name__ == "__main__":
    main()
