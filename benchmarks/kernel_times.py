"""Milliseconds of each kernel of the CPU back end and of smoothing a face, one thread.

    python benchmarks/kernel_times.py [--quick] [--json FILE]

(Not named kernels.py: a script's own folder comes first on the import path and would hide the
package.) "best" is the quickest of many calls, "median" what a call usually takes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import cv2
import numpy as np

from kernels.cpu import CpuKernels
from kernels.geometry import Affine, resize
from kernels.picture import Picture, PictureFormat
from kernels.pyramid import blend, mask_levels
from scheduler.points import MESH
from scheduler.smooth import Smoother
from scheduler.tracks import FaceObservation, to_table

CROP = 256


def picture(width: int, height: int, depth: int = 8) -> Picture:
    """Smooth noise, 4:2:0."""
    fmt = PictureFormat(width=width, height=height, depth=depth)
    rng = np.random.default_rng(0)
    planes = []
    for plane in range(fmt.planes):
        noise = cv2.GaussianBlur(rng.random(fmt.plane_shape(plane)), (0, 0), 2)
        planes.append((noise * ((1 << depth) - 1)).astype(fmt.dtype))
    return Picture(format=fmt, planes=tuple(planes))


def face(fmt: PictureFormat, pixels: int) -> Affine:
    """Frame -> crop of a face of so many pixels in the frame's middle, turned by ten degrees."""
    factor = CROP / pixels
    turn = factor * np.array([[0.985, 0.174], [-0.174, 0.985]])
    middle = np.array([fmt.width / 2, fmt.height / 2])
    return np.column_stack([turn, np.array([CROP / 2, CROP / 2]) - turn @ middle])


def oval() -> np.ndarray:
    y, x = (np.mgrid[:CROP, :CROP] - (CROP - 1) / 2) / CROP
    return np.clip((1 - np.hypot(x / 0.38, y / 0.46)) / 0.12, 0, 1).astype(np.float32)


def timed(call: Callable[[], object], calls: int) -> dict[str, float]:
    for _ in range(2):
        call()
    taken = []
    for _ in range(calls):
        start = time.perf_counter()
        call()
        taken.append((time.perf_counter() - start) * 1e3)
    return {"best": round(min(taken), 3), "median": round(median(taken), 3)}


def smoothing(calls: int) -> dict[str, float]:
    """Of one row of a table, a face that trembles; ten come at a time."""
    rng, smoother = np.random.default_rng(0), Smoother()
    mesh = rng.uniform(0, 200, (MESH.count, 2))
    tables = iter(
        [
            to_table(
                FaceObservation(
                    frame=frame,
                    track=0,
                    box=np.array([0, 0, 200, 200], np.float32),
                    landmarks=(mesh + rng.normal(0, 0.4, mesh.shape)).astype(np.float32),
                    score=1.0,
                    visible=1.0,
                )
                for frame in range(10 * part, 10 * part + 10)
            )
            for part in range(calls + 2)
        ]
    )
    times = timed(lambda: smoother.extend(next(tables)), calls)
    return {name: round(ms / 10, 3) for name, ms in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="5 calls each instead of 60")
    parser.add_argument("--json", type=Path, help="write the numbers there")
    given = parser.parse_args()
    calls = 5 if given.quick else 60

    cv2.setNumThreads(1)
    kernels, mask = CpuKernels(), oval()
    times: dict[str, dict[str, float]] = {}
    for name, shown in {
        "640x360": picture(640, 360),
        "1080p": picture(1920, 1080),
        "1080p 10 bit": picture(1920, 1080, depth=10),
    }.items():
        shrink = 192 / shown.format.width
        times[f"thumbnail of the frame, {name}"] = timed(
            lambda shown=shown, shrink=shrink: kernels.thumbnail(
                shown, resize(shrink, shrink), 192, 192
            ),
            calls,
        )
        for pixels in (64, 256, 800):
            if pixels > shown.format.height:
                continue
            affine = face(shown.format, pixels)
            crop = kernels.crop(shown, affine, CROP)
            other = np.clip(crop * np.float32(0.9) + np.float32(0.05), 0, 1)
            label = f"{pixels} px face, {name}"
            times[f"thumbnail of a {label}"] = timed(
                lambda shown=shown, affine=affine: kernels.thumbnail(
                    shown, affine * (192 / CROP), 192, 192
                ),
                calls,
            )
            times[f"crop of a {label}"] = timed(
                lambda shown=shown, affine=affine: kernels.crop(shown, affine, CROP), calls
            )
            times[f"paste of a {label}"] = timed(
                lambda shown=shown, affine=affine, other=other: kernels.paste(
                    shown, other, mask, affine
                ),
                calls,
            )
    change = np.random.default_rng(0).normal(size=(CROP, CROP, 3)).astype(np.float32)
    times["blend of a 256 px crop"] = timed(lambda: blend(change, mask_levels(mask)), calls)
    times["smoothing of a face"] = smoothing(calls)

    machine = f"{os.cpu_count()} cores, {platform.machine()}, OpenCV {cv2.__version__}"
    print(f"milliseconds a call, one thread ({machine})")
    for name, found in times.items():
        print(f"{name:42} best {found['best']:7.2f}   median {found['median']:7.2f}")
    if given.json:
        result = {"machine": machine, "crop_size": CROP, "ms": times}
        given.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
