"""CPU milliseconds of the mesh swapper, one thread: set-up, each size, and the steps of one swap.

    python benchmarks/swapper.py [--quick] [--json FILE]

The faces are those of the sample clip. "best" is the quickest call, "median" what a call usually
takes; the steps are those of one 256-px face, measured from inside a swap.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

import actors.mesh_swapper as mesh_swapper
from actors.decoder import Decoder
from actors.detector import FaceDetector
from actors.formats import picture_format
from actors.frames import SlotLayout
from actors.landmarker import FaceLandmarker
from actors.mesh_swapper import MeshSwapper, SourceFace
from actors.models import ModelStore
from actors.observer import FaceObserver
from actors.prober import probe
from actors.sources import load_sources
from actors.swapper import Swapper
from actors.transport.shm import Ring
from farm.config import load_settings
from kernels.cpu import CpuKernels
from kernels.geometry import display_affine
from scheduler.jobs import SwapSettings

SIZES = (128, 256, 384, 512)
STEPS = ("invert", "resample", "_look_up", "_inside", "wear")
"""Functions of the swapper's module that are timed inside a swap; "other" is the rest."""
FRAMES = (0, 235, 350, 446)

Case = tuple[NDArray[np.float32], NDArray[np.float64]]


def faces(store: ModelStore) -> tuple[SourceFace, dict[int, list[Case]]]:
    """The source, and by crop size the crops and landmarks of some frames of the clip."""
    kernels = CpuKernels()
    detector = FaceDetector(store.path("face_detection_full_range"))
    landmarker = FaceLandmarker(store.path("face_landmark"))
    settings = SwapSettings(sources=(str(store.path("astronaut")),))
    (source,) = load_sources(settings, detector, landmarker, kernels)
    index = probe(store.path("wolfgang_langer"))
    display = display_affine(
        index.width, index.height, float(index.sample_aspect_ratio), index.rotation
    )
    observer = FaceObserver(detector, landmarker, kernels, display)
    swappers = {size: Swapper(MeshSwapper([source], size), kernels, display) for size in SIZES}
    cases: dict[int, list[Case]] = {size: [] for size in SIZES}
    ring = Ring.create(SlotLayout(format=picture_format(index), faces=0, crop_size=1), 2)
    for frame in Decoder(index).decode(0, max(FRAMES) + 1, ring):
        if frame.handle.frame_index in FRAMES:
            (face,) = observer.observe(frame.picture, frame.handle.frame_index)
            for size, swapper in swappers.items():
                _, crop, landmarks = swapper.prepare(frame, face)
                cases[size].append((crop, landmarks))
        ring.release(frame.handle.slot)
    ring.close()
    return source, cases


def summary(seconds: list[float]) -> dict[str, float]:
    return {"best": round(min(seconds) * 1e3, 2), "median": round(median(seconds) * 1e3, 2)}


def timed(call: Callable[[], object], calls: int) -> list[float]:
    taken = []
    for _ in range(calls):
        began = time.thread_time()
        call()
        taken.append(time.thread_time() - began)
    return taken


def swaps(swapper: MeshSwapper, cases: list[Case], rounds: int) -> list[float]:
    out = np.zeros((swapper.size, swapper.size, 4), np.float32)
    for crop, landmarks in cases:
        swapper.swap(crop, landmarks, out)
    return [
        seconds
        for crop, landmarks in cases
        for seconds in timed(lambda c=crop, p=landmarks: swapper.swap(c, p, out), rounds)  # type: ignore[misc]
    ]


@contextmanager
def watched(spent: dict[str, float]) -> Iterator[None]:
    """Adds up the time inside the steps' functions while the block runs."""
    kept = {name: getattr(mesh_swapper, name) for name in STEPS}

    def watch(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            began = time.thread_time()
            answer = function(*args)
            spent[name] = spent.get(name, 0.0) + time.thread_time() - began
            return answer

        return call

    for name, function in kept.items():
        setattr(mesh_swapper, name, watch(name, function))
    try:
        yield
    finally:
        for name, function in kept.items():
            setattr(mesh_swapper, name, function)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="few calls: does it run at all")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    rounds = 3 if options.quick else 30
    cv2.setNumThreads(1)
    source, cases = faces(ModelStore(load_settings().cache_dir))

    result: dict[str, Any] = {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "setup_ms": summary(timed(lambda: MeshSwapper([source], 256), 2 if options.quick else 5)),
        "swap_ms": {},
    }
    print(f"set-up at 256 px: best {result['setup_ms']['best']:.0f} ms")
    for size in SIZES:
        result["swap_ms"][size] = summary(swaps(MeshSwapper([source], size), cases[size], rounds))
        figures = result["swap_ms"][size]
        print(f"{size:4} px: best {figures['best']:6.2f} ms, median {figures['median']:6.2f} ms")
    spent: dict[str, float] = {}
    with watched(spent):
        total = swaps(MeshSwapper([source], 256), cases[256], rounds)
    calls = len(total) + len(cases[256])
    spent["other"] = calls * float(np.mean(total)) - sum(spent.values())
    result["steps_ms"] = {name: round(s / calls * 1e3, 2) for name, s in spent.items()}
    print("steps of a 256-px face:", result["steps_ms"])
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
