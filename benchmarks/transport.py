"""What it costs to pass frames through the processes of a lane, with no work in between.

    python benchmarks/transport.py [--quick] [--json FILE]

For rows of 1, 2 and 5 processes: microseconds of wall time for each frame of 16x16 pixels (the cost
of the message itself), and 1280x720 YUV 4:2:0 frames a second, of which the first process writes
and the last one reads every sample.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import numpy as np

from actors.frames import Frame, SlotLayout
from actors.transport.chain import Chain
from actors.transport.shm import Ring
from kernels.picture import PictureFormat

SLOTS = 8
TINY = PictureFormat(width=16, height=16)
FILM = PictureFormat(width=1280, height=720)


def made(ring: Ring, frames: int) -> Iterator[Frame]:
    """Frames of which every sample was written, as a decoder does it."""
    source = [
        np.full(ring.layout.format.plane_shape(plane), 90, np.uint8)
        for plane in range(ring.layout.format.planes)
    ]
    for number in range(frames):
        frame = ring.acquire(number, number)
        for target, plane in zip(frame.picture.planes, source, strict=True):
            np.copyto(target, plane)
        yield frame


def host(position: int, processes: int, name: str, fmt: PictureFormat, frames: int) -> float:
    """One process of a row; gives the seconds from its first frame to its last."""
    layout = SlotLayout(format=fmt, faces=0, crop_size=0)
    copies = [np.empty(fmt.plane_shape(plane), np.uint8) for plane in range(fmt.planes)]
    with Chain(name, position, processes) as chain:
        ring = chain.open(lambda: Ring.create(layout, SLOTS))
        began = time.perf_counter()
        for frame in made(ring, frames) if chain.first else chain.frames():
            if chain.last:
                for copy, plane in zip(copies, frame.picture.planes, strict=True):
                    np.copyto(copy, plane)
            chain.pass_on(frame)
        chain.end()
        return time.perf_counter() - began


def measure(processes: int, fmt: PictureFormat, frames: int) -> float:
    """Seconds for each frame, seen from the end of the row; the best of three runs."""
    spawn = multiprocessing.get_context("spawn")
    best = float("inf")
    with spawn.Pool(processes) as pool:
        for _ in range(3):
            name = uuid4().hex
            places = [(place, processes, name, fmt, frames) for place in range(processes)]
            seconds = pool.starmap(host, places, chunksize=1)
            best = min(best, seconds[-1] / frames)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the frames")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    share = 10 if given.quick else 1
    rows = (1, 2, 5)
    result = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "slots": SLOTS,
        "tiny_us": {str(n): measure(n, TINY, 20_000 // share) * 1e6 for n in rows},
        "fps_720p": {str(n): 1 / measure(n, FILM, 3_000 // share) for n in rows},
    }
    for name, value in result.items():
        print(f"{name:10}", json.dumps(value))
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
