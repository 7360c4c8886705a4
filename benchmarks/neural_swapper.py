"""CPU milliseconds of the neural swappers' stage beside the networks, one thread, for one face;
and what batches gain.

    python benchmarks/neural_swapper.py [--quick] [--json FILE]

The networks are tiny stand-ins (benchmarks/standins.py) whose own time is left out: what remains is
cutting the crop, the network's tensors and back, and the blend mask. A crop is cut from a synthetic
720p frame. "own" is the quickest of all calls, in "crop" and "rest"; "median" what a face usually
takes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from actors.frames import Frame, FrameHandle, SlotLayout
from actors.inference.onnx import Onnx
from actors.inference.runtime import Runtime
from actors.mesh_swapper import SourceFace
from actors.models import ModelStore
from actors.neural_tools import NeuralTools
from actors.swap_needs import swap_crop_size
from actors.swapper import Swapper
from benchmarks.standins import standin_store
from kernels.cpu import CpuKernels
from kernels.mesh.canonical import canonical_face
from kernels.picture import PictureFormat
from scheduler.jobs import EnhancerSettings, SwapSettings
from scheduler.masks import MaskSettings
from scheduler.tracks import FaceObservation

WIDTH, HEIGHT, FACE = 1280, 720, 260.0

HYPERSWAP: Final = SwapSettings(model="hyperswap_1a_256", sources=("painted",))
BATCHED: Final = "hyperswap_1a_256"
"""As a small stand-in, a twentieth of what the true one is assumed to cost."""
BATCHES: Final = (1, 2, 4, 8, 16)
CASES: Final[Mapping[str, SwapSettings]] = {
    "inswapper_128": replace(HYPERSWAP, model="inswapper_128"),
    "inswapper_128 at 256": replace(HYPERSWAP, model="inswapper_128", boost=256),
    "hyperswap_1a_256": HYPERSWAP,
    "hyperswap_1a_256 at 512": replace(HYPERSWAP, boost=512),
    "simswap_unofficial_512": replace(HYPERSWAP, model="simswap_unofficial_512"),
    "mask model": replace(HYPERSWAP, masks=MaskSettings(types=("model",))),
    "mask hull": replace(HYPERSWAP, masks=MaskSettings(types=("hull",))),
    "mask box, area": replace(HYPERSWAP, masks=MaskSettings(types=("box", "area"))),
    "mask box, occlusion": replace(HYPERSWAP, masks=MaskSettings(types=("box", "occlusion"))),
    "mask box, region": replace(HYPERSWAP, masks=MaskSettings(types=("box", "region"))),
    "weight 0.3": replace(HYPERSWAP, weight=0.3),
    "gfpgan_1.4": replace(HYPERSWAP, enhancer=EnhancerSettings(model="gfpgan_1.4")),
}


class Timed:
    """A runtime that adds up the CPU time of its runs."""

    spent = 0.0

    def __init__(self, inner: Runtime) -> None:
        self._inner = inner
        self.inputs, self.outputs = inner.inputs, inner.outputs

    def run(self, *inputs: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        began = time.thread_time()
        results = self._inner.run(*inputs)
        Timed.spent += time.thread_time() - began
        return results


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A frame with a face of 260 pixels in it, and the source."""

    frame: Frame
    face: FaceObservation
    source: SourceFace


def scene(size: int) -> Scene:
    fmt = PictureFormat(width=WIDTH, height=HEIGHT)
    layout = SlotLayout(format=fmt, faces=1, crop_size=size)
    handle = FrameHandle(slot=0, generation=0, frame_index=0, pts=0)
    frame = Frame(handle, layout, memoryview(bytearray(layout.nbytes)))
    noise = np.random.default_rng(1)
    for plane in frame.picture.planes:
        plane[...] = cv2.GaussianBlur(noise.integers(0, 255, plane.shape, np.uint8), (0, 0), 3)
    mesh = canonical_face().vertices[:, :2]
    low, high = mesh.min(axis=0), mesh.max(axis=0)
    points = (mesh - (low + high) / 2) * FACE / (high - low).max()
    landmarks = (points + np.array([640, 360])).astype(np.float32)
    box = np.concatenate([landmarks.min(axis=0), landmarks.max(axis=0)])
    face = FaceObservation(frame=0, track=1, box=box, landmarks=landmarks, score=1.0, visible=1.0)
    image = noise.integers(0, 255, (500, 500, 3), np.uint8)
    return Scene(
        frame=frame,
        face=face,
        source=SourceFace(image=image, landmarks=points + np.array([250, 250])),
    )


def tools(swap: SwapSettings, store: ModelStore, kernels: CpuKernels, size: int) -> Any:
    """A swapper whose networks' time is left out."""
    made = NeuralTools(
        swap,
        load=lambda name: Timed(Onnx.load(store.path(name))),  # type: ignore[arg-type, return-value]
        path=store.path,
        kernels=kernels,
    )
    (inner,) = made.swappers([[scene(64).source]])
    return made.enhanced(inner, size) if swap.enhancer.model else inner


def timed(call: Callable[[], object], calls: int) -> Iterator[tuple[float, float]]:
    """(milliseconds beside the networks, milliseconds of the networks) of each call."""
    for _ in range(calls):
        Timed.spent, began = 0.0, time.thread_time()
        call()
        whole = time.thread_time() - began
        yield (whole - Timed.spent) * 1e3, Timed.spent * 1e3


def measure(swap: SwapSettings, store: ModelStore, calls: int) -> dict[str, float]:
    kernels = CpuKernels()
    size = swap_crop_size(swap, 256)
    place = scene(size)
    stage = Swapper({0: tools(swap, store, kernels, size)}, kernels, np.eye(2, 3))
    stage.swap(place.frame, [place.face])
    taken = list(timed(lambda: stage.swap(place.frame, [place.face]), calls))
    crop = [ms for ms, _ in timed(lambda: stage.prepare(place.frame, place.face), calls)]
    own = [ms for ms, _ in taken]
    return {
        "crop": round(min(crop), 2),
        "rest": round(min(own) - min(crop), 2),
        "own": round(min(own), 2),
        "median": round(median(own), 2),
        "networks": round(median(ms for _, ms in taken), 2),
    }


def batches(store: ModelStore, quick: bool) -> dict[str, float]:
    """CPU milliseconds of a swapper's network for one face, by how many it sees at once.

    The sizes take turns, and the quickest of all turns counts: other work on the machine, which
    only ever adds, is then left out.
    """
    network = Onnx.load(store.path(BATCHED))
    random = np.random.default_rng(1)
    best: dict[str, float] = {}
    for _ in range(2 if quick else 8):
        for count in BATCHES:
            rows = random.random((count, 512), np.float32)
            pictures = random.random((count, 3, 256, 256), np.float32)
            began = time.thread_time()
            network.run(rows, pictures)
            ms = (time.thread_time() - began) * 1e3 / count
            best[str(count)] = round(min(ms, best.get(str(count), ms)), 1)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="fewer calls: only shows that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        names = {"arcface_w600k_r50", "xseg_1", "bisenet_resnet_34", "gfpgan_1.4"}
        names |= {"crossface_simswap", *(swap.model for swap in CASES.values())}
        store = standin_store(Path(folder), names=sorted(names))
        times = {
            name: measure(swap, store, 5 if arguments.quick else 60) for name, swap in CASES.items()
        }
        small = standin_store(Path(folder) / "small", size="small", names=[BATCHED])
        gain = batches(small, arguments.quick)
    print(f"{'':26}{'crop':>8}{'rest':>8}{'own':>8}{'median':>8}{'(networks)':>12}")
    for name, row in times.items():
        print(
            f"{name:26}"
            + "".join(f"{row[key]:8.2f}" for key in ("crop", "rest", "own", "median"))
            + f"{row['networks']:12.2f}"
        )
    print("\nthe network alone, ms a face by batch:", gain)
    if arguments.json:
        machine = {"processor": platform.processor(), "cores": os.cpu_count()}
        arguments.json.write_text(
            json.dumps({"machine": machine, "ms": times, "batch_ms": gain}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
