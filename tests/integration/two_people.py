"""A film of two people whose places are known: they cross, are cut away from, and come back."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from actors.sources import read_picture

WIDTH, HEIGHT, RATE = 640, 360, 25
Image = NDArray[np.uint8]

HEADS = {"multi_face": (360, 290, 70, 100), "astronaut": (222, 120, 85, 112)}
"""Centre x, y and half sizes of heads in the sample pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """Where the two people's faces are in a frame, by name; who is hidden is missing."""

    centres: dict[str, tuple[float, float]]


def head(picture: Path, box: tuple[int, int, int, int], size: int) -> tuple[Image, Image]:
    """A head cut out as a soft oval: R'G'B' and weight, ``size`` pixels high."""
    x, y, w, h = box
    rgb = read_picture(picture)[y - h : y + h, x - w : x + w]
    width = round(size * rgb.shape[1] / rgb.shape[0])
    rgb = cv2.resize(rgb, (width, size), interpolation=cv2.INTER_AREA)
    mask = np.zeros(rgb.shape[:2], np.uint8)
    cv2.ellipse(mask, (width // 2, size // 2), (width // 2 - 4, size // 2 - 4), 0, 0, 360, 255, -1)
    return rgb, cv2.GaussianBlur(mask, (0, 0), 3)


def put(canvas: Image, cut: tuple[Image, Image], x: float, y: float) -> None:
    """Lay a head on a picture, its centre at sub-pixel x y."""
    rgb, mask = cut
    h, w = mask.shape
    shift = np.array([[1, 0, x - w / 2], [0, 1, y - h / 2]], np.float64)
    size = (canvas.shape[1], canvas.shape[0])
    over = cv2.warpAffine(rgb, shift, size, flags=cv2.INTER_LINEAR)
    weight = cv2.warpAffine(mask, shift, size, flags=cv2.INTER_LINEAR)[..., None] / 255.0
    canvas[...] = np.rint(canvas * (1 - weight) + over * weight)


def two_people(
    path: Path, first: tuple[Image, Image], second: tuple[Image, Image], frames: int = 50
) -> list[Truth]:
    """Write the film: ``frames`` in which the two cross, the first in front; a shot of nobody;
    ``frames`` in which they are back on swapped sides, another size."""
    rng = np.random.default_rng(3)
    walls = [
        cv2.resize(rng.integers(40, 200, (6, 10, 3), np.uint8), (WIDTH, HEIGHT)) for _ in range(3)
    ]
    truths = []
    pictures = []
    for at in range(frames):
        canvas = walls[0].copy()
        t = at / (frames - 1)
        one, two = 130 + 380 * t, 510 - 380 * t
        put(canvas, second, two, 190)
        put(canvas, first, one, 175)
        centres = {"first": (one, 175.0)}
        if abs(one - two) > 60:
            centres["second"] = (two, 190.0)
        truths.append(Truth(centres=centres))
        pictures.append(canvas)
    for at in range(12):
        pictures.append(np.roll(walls[1], 2 * at, axis=1))
        truths.append(Truth(centres={}))
    for at in range(frames // 2):
        canvas = walls[2].copy()
        put(canvas, first, 150 + at, 170)
        put(canvas, second, 480 - at, 190)
        pictures.append(canvas)
        truths.append(Truth(centres={"first": (150.0 + at, 170.0), "second": (480.0 - at, 190.0)}))
    write(path, pictures)
    return truths


def write(path: Path, pictures: list[Image]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "12", "g": "12"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.time_base = Fraction(1, RATE)
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
