"""Films of objects before faces: real clips with drawn objects, whose outlines are known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import cos, pi, sin
from pathlib import Path
from typing import Final

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]
Floats = NDArray[np.float32]
Colour = tuple[int, int, int]

FINE: Final = 4
"""Drawn this many times larger, then shrunk: exact shares of pixels at the edges."""
SHUTTER: Final = 0.4
"""Share of a frame's time over which its motion blurs it."""
SHADOW: Final = 0.3
"""How much of the light an object takes from what is next to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One part of an object, in face widths about the middle of the face; y goes down."""

    points: tuple[tuple[float, float], ...]
    """A polygon; of two points a stroke, of one a disc."""
    width: float = 0.0
    """Of a stroke, or a disc's diameter."""
    colour: Colour
    shade: float = 0.35
    """Share of the light lost from one side to the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownObject:
    """An object and how it moves before the face."""

    name: str
    group: str
    """coloured: to be found; hard: grey, black, white or like skin."""
    shapes: Callable[[float], list[Shape]]
    """Seconds -> its parts."""


def _microphone(ball: Colour, rod: Colour = (38, 38, 42)) -> Callable[[float], list[Shape]]:
    def shapes(t: float) -> list[Shape]:
        x, y = 0.05 + 0.14 * sin(2 * pi * 0.4 * t), 0.30 + 0.06 * sin(2 * pi * 0.7 * t)
        return [
            Shape(points=((x, y), (x + 0.2, y + 1.2)), width=0.15, colour=rod),
            Shape(points=((x, y),), width=0.30, colour=ball),
        ]

    return shapes


def _cup(colour: Colour) -> Callable[[float], list[Shape]]:
    def shapes(t: float) -> list[Shape]:
        x, y = 0.02 + 0.1 * sin(2 * pi * 0.3 * t), 0.38 + 0.2 * sin(2 * pi * 0.35 * t)
        sides = ((-0.24, -0.22), (0.24, -0.22), (0.19, 0.5), (-0.19, 0.5))
        rim = ((-0.25, -0.24), (0.25, -0.24), (0.25, -0.18), (-0.25, -0.18))
        bright = (min(colour[0] + 40, 255), min(colour[1] + 40, 255), min(colour[2] + 40, 255))
        return [
            Shape(points=tuple((x + u, y + v) for u, v in sides), colour=colour, shade=0.5),
            Shape(points=tuple((x + u, y + v) for u, v in rim), colour=bright, shade=0.3),
        ]

    return shapes


def _bar(colour: Colour, width: float = 0.16, speed: float = 0.5) -> Callable[[float], list[Shape]]:
    def shapes(t: float) -> list[Shape]:
        angle = 0.5 + 0.5 * sin(2 * pi * speed * t / 2)
        y = 0.05 + 0.3 * sin(2 * pi * speed * t)
        along = np.array([cos(angle), sin(angle)]) * 1.6
        ends = ((-along[0], y - along[1]), (along[0], y + along[1]))
        return [Shape(points=ends, width=width, colour=colour, shade=0.4)]

    return shapes


def _cloth(colour: Colour) -> Callable[[float], list[Shape]]:
    def shapes(t: float) -> list[Shape]:
        top = 0.18 + 0.12 * sin(2 * pi * 0.3 * t)
        line = [
            (u, top + 0.05 * sin(9 * u + 5 * t) + 0.02 * sin(23 * u - 3 * t))
            for u in np.linspace(-0.9, 0.9, 25).tolist()
        ]
        return [Shape(points=(*line, (0.9, 1.6), (-0.9, 1.6)), colour=colour, shade=0.35)]

    return shapes


OBJECTS: Final = tuple(
    KnownObject(name=name, group=group, shapes=shapes)
    for name, group, shapes in (
        ("red microphone", "coloured", _microphone((190, 25, 30))),
        ("blue microphone", "coloured", _microphone((30, 60, 180))),
        ("green cup", "coloured", _cup((40, 140, 60))),
        ("yellow bar", "coloured", _bar((225, 195, 25))),
        ("magenta bar", "coloured", _bar((190, 30, 150), 0.12, 0.8)),
        ("blue cloth", "coloured", _cloth((45, 80, 165))),
        ("black microphone", "hard", _microphone((28, 28, 30))),
        ("grey bar", "hard", _bar((120, 120, 122))),
        ("white cup", "hard", _cup((235, 235, 230))),
        ("wooden bar", "hard", _bar((150, 95, 60))),
        ("skin bar", "hard", _bar((205, 155, 130))),
    )
)


def draw(
    rgb: Rgb,
    shapes: list[Shape],
    centre: NDArray[np.float64],
    face: float,
    rng: np.random.Generator,
) -> tuple[Rgb, Floats]:
    """A frame with an object in it, and how much of each pixel the object covers."""
    h, w = rgb.shape[:2]
    out = rgb.astype(np.float32)
    whole = np.zeros((h, w), np.float32)
    covers = []
    for shape in shapes:
        cover = _cover(shape, centre, face, (h, w))
        covers.append(cover)
        whole = np.maximum(whole, cover)
    shadow = cv2.GaussianBlur(np.roll(whole, round(0.04 * face), axis=0), (0, 0), 0.05 * face)
    out *= (1 - SHADOW * shadow)[..., None]
    for shape, cover in zip(shapes, covers, strict=True):
        out += cover[..., None] * (_shaded(shape, centre, face, (h, w)) - out)
    grain = rng.normal(0, 1.5, (h, w, 1)).astype(np.float32)
    out += whole[..., None] * grain
    return np.clip(np.rint(out), 0, 255).astype(np.uint8), whole


def _cover(shape: Shape, centre: NDArray[np.float64], face: float, size: tuple[int, int]) -> Floats:
    h, w = size
    canvas = np.zeros((h * FINE, w * FINE), np.uint8)
    points = (centre + face * np.array(shape.points) + 0.5) * FINE - 0.5
    fixed = np.rint(points * 16).astype(np.int32)
    width = max(1, round(shape.width * face * FINE))
    if len(points) == 1:
        cv2.circle(canvas, fixed[0].tolist(), width * 8, 255, -1, cv2.LINE_8, 4)
    elif len(points) == 2:
        cv2.line(canvas, fixed[0].tolist(), fixed[1].tolist(), 255, width, cv2.LINE_8, 4)
    else:
        cv2.fillPoly(canvas, [fixed], 255, cv2.LINE_8, 4)
    small = cv2.resize(canvas, (w, h), interpolation=cv2.INTER_AREA)
    return (small.astype(np.float32) / 255).astype(np.float32)


def _shaded(
    shape: Shape, centre: NDArray[np.float64], face: float, size: tuple[int, int]
) -> Floats:
    """The part's colour, lighter on the left, with a weave of its own."""
    points = centre + face * np.array(shape.points)
    x, y = np.meshgrid(np.arange(size[1]), np.arange(size[0]))
    if len(points) == 2:
        along = (points[1] - points[0]) / np.hypot(*(points[1] - points[0]))
        side = ((x - points[0][0]) * -along[1] + (y - points[0][1]) * along[0]) / (
            shape.width * face
        )
    else:
        reach = shape.width * face if len(points) == 1 else float(np.ptp(points[:, 0]))
        side = (x - points[:, 0].mean()) / reach
    light = 1 - shape.shade * np.clip(side + 0.5, 0, 1) + 0.03 * np.sin(x * 1.1) * np.sin(y * 0.9)
    return (light[..., None] * np.array(shape.colour)).astype(np.float32)


def moving(
    rgb: Rgb,
    thing: KnownObject,
    seconds: float,
    frame_time: float,
    centre: NDArray[np.float64],
    face: float,
    rng: np.random.Generator,
) -> tuple[Rgb, Floats]:
    """A frame of a moving object: the mean of three instants while the shutter is open."""
    total = np.zeros(rgb.shape, np.float32)
    cover = np.zeros(rgb.shape[:2], np.float32)
    for part in (-0.5, 0.0, 0.5):
        shapes = thing.shapes(seconds + part * SHUTTER * frame_time)
        picture, whole = draw(rgb, shapes, centre, face, rng)
        total += picture
        cover += whole
    return np.rint(total / 3).astype(np.uint8), cover / 3


def read_rgb(path: Path, start: int, stop: int) -> Iterator[Rgb]:
    """Frames [start, stop) of a film in R'G'B'."""
    with av.open(str(path)) as film:
        for at, frame in enumerate(film.decode(video=0)):
            if at >= stop:
                return
            if at >= start:
                yield frame.to_ndarray(format="rgb24", src_colorspace="ITU709")


def write_film(path: Path, frames: Iterator[Rgb], crf: int = 21) -> None:
    """The frames as an H.264 film of 25 a second, BT.709."""
    with av.open(str(path), "w") as film:
        stream = film.add_stream("libx264", rate=25, options={"crf": str(crf), "preset": "fast"})
        stream.codec_context.thread_count = 1
        stream.pix_fmt = "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = 1, 1
        for number, rgb in enumerate(frames):
            if number == 0:
                stream.height, stream.width = rgb.shape[:2]
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
                format="yuv420p", dst_colorspace="ITU709"
            )
            frame.pts, frame.time_base = number, Fraction(1, 25)
            film.mux(stream.encode(frame))
        film.mux(stream.encode(None))
