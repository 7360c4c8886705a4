"""What a GPU does with this program: kernels, networks, and a whole film.

    python benchmarks/gpu.py [--quick] [--json FILE] [--clip FILM] [--real] [--self-test]

Kernels: GB/s on pictures that lie in the GPU's memory, beside what the card copies. Networks: the
swapper (a stand-in of hyperswap's shape and cost, or the true one with --real) on ONNX Runtime's
CUDA and on TensorRT. Film: frames a second of the reference command, a clip of 240 rows with one
face, box mask, libx264 ultrafast; what each part of the work takes (docs/gpu-lane.md), and the
GPU's memory. What is not installed is said in its row.

Without a GPU it ends with one error. --self-test runs the same program on kernels played by the
CPU, to show that it works; it shows no figures, since they would be nobody's.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Final, Protocol

import numpy as np

from actors.gpu import Gpu, open_gpu
from actors.models import ModelStore
from actors.profiler import DeviceClock
from actors.toolbox import LaneKit, Toolbox
from benchmarks.kernel_times import face, oval, picture
from benchmarks.standins import standin_store
from benchmarks.throughput import FirstFrame, busy, scaled
from cluster.inline import InlineExecutor
from farm.config import Settings, load_settings
from farm.progress import Display
from farm.runner import FarmOptions, run_job
from farm.submission import build_job
from kernels.cuda.crops import Crops
from kernels.cuda.device import Device, DevicePicture
from kernels.cuda.launcher import Launcher
from kernels.cuda.pastes import Pastes, Pixels
from kernels.cuda.sampled import sent_plane
from kernels.cuda.steps import Batch, pack
from kernels.geometry import invert, resize
from kernels.pasting import blend_box, frame_roi, survey
from kernels.picture import Roi
from scheduler.devices import DEVICES, on_gpu
from scheduler.errors import GpuUnavailable, SwapfarmError
from scheduler.jobs import JobSpec
from scheduler.output import CutSettings

CROP: Final = 256
SWAPPER: Final = "hyperswap_1a_256"
BATCHES: Final = (1, 4, 16, 64)
ROWS: Final = 240
WARM: Final = 2


class Card(Protocol):
    """What is measured."""

    gpu: Gpu

    def copy_rate(self, nbytes: int, calls: int) -> float:
        """GB/s of a copy within its memory, read and written bytes counted."""
        ...


class RealCard:
    """The first visible GPU."""

    def __init__(self, folder: Path) -> None:
        self.gpu = open_gpu(folder)

    def copy_rate(self, nbytes: int, calls: int) -> float:
        import cupy

        one, other = (cupy.empty(nbytes, cupy.uint8) for _ in range(2))
        start, stop = cupy.cuda.Event(), cupy.cuda.Event()
        cupy.copyto(other, one)
        start.record()
        for _ in range(calls):
            cupy.copyto(other, one)
        stop.record()
        stop.synchronize()
        return float(2 * nbytes * calls / cupy.cuda.get_elapsed_time(start, stop) / 1e6)


class HostClock:
    """Marks of a device that has done all when it returns."""

    def mark(self) -> float:
        return time.perf_counter()

    def between(self, one: float, other: float) -> float:
        return 1000 * (other - one)

    def wait(self) -> None:
        """It is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayedCard:
    """Kernels played by the CPU, for --self-test."""

    gpu: Gpu

    def copy_rate(self, nbytes: int, calls: int) -> float:
        return 1.0


class Counting:
    """A device that counts the kernels that are started on it."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self.launches = 0

    def launch(self, *arguments: Any) -> None:
        self.launches += 1
        self._device.launch(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)


def timed(clock: DeviceClock, call: Callable[[], object], calls: int) -> float:
    """Milliseconds of one call of many that follow each other."""
    for _ in range(WARM):
        call()
    begin = clock.mark()
    for _ in range(calls):
        call()
    end = clock.mark()
    clock.wait()
    return (clock.between(begin, end) or 0.0) / calls


def kernels(card: Card, calls: int, width: int, height: int) -> Iterator[dict[str, Any]]:
    """Steps on pictures that are there already; MB as the notes in the kernels' files count."""
    assert card.gpu.clock is not None
    device, clock = Counting(card.gpu.device), card.gpu.clock
    launcher = Launcher(device)
    crops, pastes = Crops(launcher), Pastes(launcher)
    shown = picture(width, height)
    planes = [
        sent_plane(
            launcher, f"film {number}", plane, Roi(x0=0, y0=0, x1=plane.shape[1], y1=len(plane))
        )
        for number, plane in enumerate(shown.planes)
    ]
    there = DevicePicture(format=shown.format, planes=tuple(planes))
    out = launcher.memory("out", 12 * max(CROP * CROP, width * height // 3))
    whole = Roi(x0=0, y0=0, x1=CROP, y1=CROP)

    def row(step: str, megabytes: float, call: Callable[[], object]) -> dict[str, Any]:
        before = device.launches
        ms = timed(clock, call, calls)
        launches = (device.launches - before) // (calls + WARM)
        return {"step": step, "launches": launches, "mb": megabytes, "us": 1000 * ms}

    for words, pixels, megabytes in (("same size", CROP, 0.9), ("box means", 700, 1.5)):
        to_frame = invert(face(shown.format, min(pixels, height)))
        yield row(
            f"crop, {words}", megabytes,
            lambda to_frame=to_frame: crops.crop(there, to_frame, whole, CROP, out),
        )  # fmt: skip
    small = (width // 3, height // 3)
    yield row(
        "thumbnail, a third of the frame", 14.9 * width * height / (1920 * 1080),
        lambda: crops.thumbnail(there, invert(resize(1 / 3, 1 / 3)), *small, out),
    )  # fmt: skip
    affine, mask = face(shown.format, min(400, height)), oval()
    before = np.random.default_rng(0).random((CROP, CROP, 3), np.float32)
    after = np.clip(before * np.float32(0.9) + np.float32(0.05), 0, 1)
    size, support = survey(after, mask)
    roi, box = frame_roi(support, invert(affine), shown.format), blend_box(support, size)
    sent = {
        name: launcher.sent(name, each) for name, each in (("b", before), ("a", after), ("m", mask))
    }
    pixels = [
        Pixels(pointer=sent["b"], row=3 * CROP, step=3),
        Pixels(pointer=sent["a"], row=3 * CROP, step=3),
        Pixels(pointer=sent["m"], row=CROP, step=1),
    ]
    yield row(
        "blend and paste", 10.3,
        lambda: pastes.paste(there, *pixels, size, affine, box, roi),
    )  # fmt: skip
    count = 64 if calls > 20 else 8
    crops_of = launcher.memory("crops", 12 * count * CROP * CROP)
    tensor = launcher.memory("tensor", 12 * count * CROP * CROP)
    batch = Batch(pointer=crops_of, count=count, width=CROP, height=CROP)
    yield row(
        f"{count} crops to a tensor", 24 * count * CROP * CROP / 1e6,
        lambda: pack(launcher, batch, tensor),
    )  # fmt: skip


def networks(
    store: ModelStore, devices: tuple[str, ...], largest: int, calls: int
) -> Iterator[dict[str, Any]]:
    """The swapper's own time on each device, for a batch and for a face of it."""
    kit = LaneKit(cache_dir=store.cache, batch=largest)
    for device in devices:
        try:
            network = Toolbox(kit, device).network(SWAPPER)
        except SwapfarmError as error:
            yield {"device": device, "lacks": error.found}
            continue
        rng = np.random.default_rng(0)
        for batch in (each for each in BATCHES if each <= largest):
            inputs = [rng.random((batch, *spec.shape), np.float32) for spec in network.inputs]
            network.run(*inputs)
            taken = []
            for _ in range(calls):
                began = time.perf_counter()
                network.run(*inputs)
                taken.append(time.perf_counter() - began)
            ms = 1000 * median(taken)
            yield {"device": device, "batch": batch, "ms": ms, "faces_per_s": 1000 * batch / ms}


class Held:
    """A lane in this process, for --self-test."""

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools

    def open(self, display: Display) -> InlineExecutor:
        return InlineExecutor(self._tools.kit, self._tools)


@contextmanager
def memory_watched() -> Iterator[Callable[[], int]]:
    """The most MiB of the first GPU's memory that were in use; whatever else runs there counts."""
    peak, done = [0], threading.Event()
    ask = ("nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "--id=0")

    def watch() -> None:
        while not done.wait(0.5):
            said = subprocess.run(ask, capture_output=True, text=True, check=False).stdout.strip()
            peak[0] = max(peak[0], int(said) if said.isdecimal() else 0)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: peak[0]
    finally:
        done.set()
        thread.join()


def film(
    job: JobSpec, settings: Settings, device: str, batch: int, lanes: Held | None
) -> dict[str, Any]:
    """One run of the reference command on a device."""
    path = Path(job.output)
    job = replace(job, job_id=f"{job.job_id}-{device}", output=str(path.with_stem(device)))
    job = replace(job, folder=f"{job.folder}-{device}", device=device)
    options = FarmOptions(device=device, batch=batch, processes=1)
    try:
        with ExitStack() as stack:
            peak = stack.enter_context(memory_watched()) if on_gpu(device) and not lanes else None
            summary = run_job(job, settings, options, FirstFrame(), lanes)
    except GpuUnavailable as error:
        return {"device": device, "lacks": error.found}
    return {
        "device": device,
        "frames": summary.frames,
        "faces": summary.swaps,
        "fps": summary.frames / busy(summary),
        "vram_mib": peak() if peak else 0,
        "parts": {
            part: {
                "ms_per_frame": spent.wall_ms / summary.frames,
                "gpu_ms_per_frame": (
                    None if spent.device_ms is None else spent.device_ms / summary.frames
                ),
            }
            for part, spent in summary.times.items()
        },
    }


def reference(
    settings: Settings, store: ModelStore, given: argparse.Namespace, folder: Path
) -> JobSpec:
    """The job of the reference command."""
    samples = ModelStore(settings.cache_dir)
    clip = scaled(given.clip or samples.path("single_face"), ROWS, folder / "clip.mp4")
    job = build_job(
        settings, video=clip, sources=[samples.path("astronaut")], output=folder / "out.mp4"
    )
    swapper = "mesh" if given.self_test else SWAPPER
    job = replace(
        job,
        swap=replace(job.swap, model=swapper),
        encoder=replace(job.encoder, codec="libx264", preset="ultrafast"),
        analysis=replace(job.analysis, expression=given.self_test),
    )
    frames = 2 if given.self_test else 48 if given.quick else 0
    return replace(job, cut=CutSettings(stop=frames)) if frames else job


def measure(card: Card, given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All figures, as --json has them."""
    settings = load_settings()
    samples = ModelStore(settings.cache_dir)
    for name in (
        "face_detection_full_range",
        "face_landmark",
        "palm_detection_lite",
        "hand_landmark_full",
    ):
        samples.path(name)
    store = samples
    if not given.real:
        size = "tiny" if given.self_test or given.quick else "full"
        names = (SWAPPER, "arcface_w600k_r50")
        store = standin_store(folder / "cache", size=size, names=names, beside=samples)
    settings = settings.model_copy(
        update={
            "analysis_gb": 0.0,
            "report_gb": 0.0,
            "work_dir": folder / "jobs",
            "state_dir": folder,
        }
    )
    job = reference(settings, store, given, folder)
    settings = settings.model_copy(update={"cache_dir": store.cache})
    quick = given.quick or given.self_test
    devices = ("cpu",) if given.self_test else tuple(each for each in DEVICES if on_gpu(each))
    width, height = (192, 108) if given.self_test else (1920, 1080)
    copied = card.copy_rate(1 << (24 if quick else 30), 5 if quick else 50)
    rows = list(kernels(card, 2 if given.self_test else 20 if given.quick else 200, width, height))
    for row in rows:
        row["gb_per_s"] = row["mb"] / row["us"] * 1000
        row["share_of_copy"] = row["gb_per_s"] / copied
    held = None
    if given.self_test:
        tools = Toolbox(LaneKit(cache_dir=settings.cache_dir), open_gpu=lambda _: card.gpu)
        held = Held(tools)
    runs = ("cuda",) if given.self_test else ("cpu", *devices)
    return {
        "machine": platform.processor() or platform.machine(),
        "networks_are": "the true ones" if given.real else "stand-ins",
        "copy_gb_per_s": copied,
        "kernels": rows,
        "networks": list(networks(store, devices, 4 if quick else 64, 2 if quick else 20)),
        "film": [film(job, settings, device, 1 if quick else 16, held) for device in runs],
    }


def show(result: dict[str, Any]) -> None:
    """The figures as a table."""
    print(f"copy within the card's memory: {result['copy_gb_per_s']:.0f} GB/s")
    for row in result["kernels"]:
        print(
            f"  {row['step']:34} {row['launches']:2} launches {row['us']:9.1f} us "
            f"{row['gb_per_s']:8.1f} GB/s {100 * row['share_of_copy']:5.1f} % of a copy"
        )
    print(f"{SWAPPER} ({result['networks_are']})")
    for row in result["networks"]:
        if "lacks" in row:
            print(f"  {row['device']:10} not measured: {row['lacks']}")
        else:
            print(
                f"  {row['device']:10} batch {row['batch']:3} {row['ms']:9.2f} ms "
                f"{row['faces_per_s']:9.1f} faces/s"
            )
    print("reference command, milliseconds of a lane for each frame of the film")
    for row in result["film"]:
        if "lacks" in row:
            print(f"  {row['device']:10} not measured: {row['lacks']}")
            continue
        print(f"  {row['device']:10} {row['fps']:8.2f} fps, {row['vram_mib']} MiB of GPU memory")
        for part, spent in row["parts"].items():
            gpu = spent["gpu_ms_per_frame"]
            on_it = "" if gpu is None else f"  GPU {gpu:8.2f}"
            print(f"    {part:28} {spent['ms_per_frame']:8.2f}{on_it}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny networks, 48 frames")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--clip", type=Path, help="a film with a face [a sample of 72 frames]")
    parser.add_argument("--real", action="store_true", help="the true networks of this machine")
    parser.add_argument("--self-test", action="store_true", help="does this program work? No GPU")
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="swapfarm-gpu-")))
        try:
            card = played(stack, folder) if given.self_test else RealCard(folder)
            result = measure(card, given, folder)
        except SwapfarmError as error:
            print(f"error[{error.code}]: {error}", file=sys.stderr)
            sys.exit(error.exit_code)
    if given.self_test:
        done = {name: len(result[name]) for name in ("kernels", "networks", "film")}
        lacking = [row["lacks"] for row in (*result["networks"], *result["film"]) if "lacks" in row]
        result = {"self_test": True, "rows": done, "lacking": lacking}
        print("self-test, on kernels played by the CPU: all parts ran; there are no figures")
    else:
        show(result)
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n")


def played(stack: ExitStack, folder: Path) -> PlayedCard:
    """The kernels, compiled for the CPU."""
    from tests.support.cuda_device import Devices  # of a source tree only

    devices = stack.enter_context(Devices(folder))
    return PlayedCard(gpu=Gpu(device=devices.usual(), clock=HostClock()))


if __name__ == "__main__":
    main()
