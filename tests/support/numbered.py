"""Films that say which frame they show: a number in every frame, a click in every second.

The number stands in black and white cells at the right edge, away from the faces on the left, with
a checksum, and outlives lossy encoding. The clicks are short bursts in an otherwise silent sound.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.video.frame import PictureType, VideoFrame
from numpy.typing import NDArray

WIDTH: Final = 320
HEIGHT: Final = 192
SCENE: Final = 208
"""Pixels at the left that show the face."""
SWAY: Final = 6
"""Pixels by which the face moves to each side: pictures of it are larger than what is shown."""
UNIT: Final = Fraction(1, 600)
"""Time base of the films."""
RATE: Final = 48_000
"""Of the sound."""
FIRST_CLICK: Final = 0.25
"""Seconds; the others follow one second after the other."""

_CELL: Final = 8
_COLUMNS: Final = 12
_BITS: Final = 16
_CHECK: Final = 8
_LEFT: Final = WIDTH - _COLUMNS * _CELL - 8
_TOP: Final = 24
_DARK: Final = 30
_BRIGHT: Final = 225
_BURST: Final = 240
"""Samples of a click."""


def even_pts(frames: int) -> tuple[int, ...]:
    """25 frames a second."""
    return tuple(range(0, frames * 24, 24))


def uneven_pts(frames: int, seed: int) -> tuple[int, ...]:
    """Frames of five lengths in an order that the seed decides; about 24 a second."""
    lengths = random.Random(seed).choices((12, 20, 24, 25, 44), k=frames)
    return tuple(sum(lengths[:number]) for number in range(frames))


def write_number(picture: NDArray[np.uint8], number: int) -> None:
    """Put a number from 0 to 65,535 into a picture of the films' size.

    Args:
        picture: uint8 [HEIGHT, WIDTH, 3].
    """
    word = number << _CHECK | _checksum(number)
    total = _BITS + _CHECK
    for place in range(total):
        row, column = divmod(place, _COLUMNS)
        y, x = _TOP + row * _CELL, _LEFT + column * _CELL
        bright = word >> (total - 1 - place) & 1
        picture[y : y + _CELL, x : x + _CELL] = _BRIGHT if bright else _DARK


def read_number(luma: NDArray[np.uint8]) -> int | None:
    """The number in a frame; None where there is none that can be trusted.

    Args:
        luma: uint8 [HEIGHT, WIDTH].
    """
    word = 0
    for place in range(_BITS + _CHECK):
        row, column = divmod(place, _COLUMNS)
        y, x = _TOP + row * _CELL, _LEFT + column * _CELL
        level = float(luma[y + 1 : y + _CELL - 1, x + 1 : x + _CELL - 1].mean())
        if 90 < level < 160:
            return None
        word = word << 1 | (level >= 160)
    number, check = word >> _CHECK, word & ((1 << _CHECK) - 1)
    return number if check == _checksum(number) else None


def make_film(
    path: Path,
    faces: Sequence[NDArray[np.uint8]],
    pts: Sequence[int],
    *,
    numbers: Sequence[int] | None = None,
    quality: int = 18,
    sound_delay: float = 0.0,
) -> Path:
    """Write such a film. The same arguments give the same bytes.

    Args:
        path: .mp4.
        faces: uint8 RGB [at least HEIGHT + 2 SWAY, at least SCENE + 2 SWAY, 3], one for each shot;
            all shots have the same number of frames.
        pts: of each frame, in ``UNIT``.
        numbers: that each frame shows, and whose picture it has; default 0, 1, 2, ...
        quality: CRF of x264.
        sound_delay: seconds by which all clicks come too late.
    """
    shown = range(len(pts)) if numbers is None else numbers
    with av.open(
        str(path), "w", container_options={"video_track_timescale": str(UNIT.denominator)}
    ) as film:
        # x264's macroblock tree reads memory that nobody wrote: other bytes each time.
        options = {"crf": str(quality), "preset": "veryfast", "bf": "2", "g": "40", "mbtree": "0"}
        stream = film.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = UNIT
        stream.codec_context.thread_count = 1
        sound = film.add_stream("aac", rate=RATE, layout="mono")
        for at, number in zip(pts, shown, strict=True):
            shot = min(number * len(faces) // len(pts), len(faces) - 1)
            frame = VideoFrame.from_ndarray(_picture(faces[shot], number), format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=1, dst_color_range=1)
            frame.pict_type = PictureType.NONE
            frame.pts, frame.time_base = at, UNIT
            film.mux(stream.encode(frame))
        film.mux(stream.encode(None))
        seconds = float((pts[-1] + 24) * UNIT)
        samples = _clicks(seconds, sound_delay)
        for start in range(0, len(samples), 1024):
            block = AudioFrame.from_ndarray(
                samples[None, start : start + 1024], format="fltp", layout="mono"
            )
            block.sample_rate, block.pts, block.time_base = RATE, start, Fraction(1, RATE)
            film.mux(sound.encode(block))
        film.mux(sound.encode(None))
    return path


def _picture(face: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    picture = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    x = SWAY + round(SWAY * np.sin(number / 7))
    y = SWAY + round(SWAY * np.cos(number / 11))
    picture[:, :SCENE] = face[y : y + HEIGHT, x : x + SCENE]
    write_number(picture, number)
    return picture


def _clicks(seconds: float, delay: float) -> NDArray[np.float32]:
    samples = np.zeros(round(seconds * RATE), np.float32)
    burst = np.hanning(_BURST) * np.cos(np.arange(-_BURST // 2, _BURST // 2) * (np.pi / 12))
    middle = FIRST_CLICK + delay
    while (start := round(middle * RATE) - _BURST // 2) + _BURST <= len(samples):
        samples[start : start + _BURST] = 0.8 * burst
        middle += 1.0
    return samples


def _checksum(number: int) -> int:
    """CRC-8 (polynomial 0x07) of the two bytes, inverted so that all black is no number."""
    value = 0
    for byte in number.to_bytes(2, "big"):
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ 0x07) & 0xFF if value & 0x80 else value << 1
    return value ^ 0xFF
