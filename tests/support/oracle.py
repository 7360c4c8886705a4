"""Looks at a finished film as a stranger would, and says what is wrong with it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Final

import av
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from actors.formats import picture_format, plane_views
from actors.hashes import frame_hash
from actors.prober import probe
from tests.support.numbered import read_number

_APART: Final = 0.3
"""Seconds of silence after which a new click begins."""
_LOUD: Final = 0.2
_TOLERANCE: Final = 0.001
"""Seconds that a click may be off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a film shows, and when."""

    numbers: tuple[int | None, ...]
    """Of each frame, in the order in which they are shown; None where none can be read."""
    times: tuple[Fraction, ...]
    """Of each frame, in seconds."""
    hashes: tuple[str, ...]
    """Of each frame's samples."""
    clicks: tuple[float, ...]
    """Seconds at which the sound is loudest, once for each click."""


def look(path: Path) -> Seen:
    """Decode a film of ``tests.support.numbered`` from its start to its end."""
    fmt = picture_format(probe(path))
    numbers, times, hashes = [], [], []
    with av.open(str(path)) as film:
        for frame in film.decode(video=0):
            assert frame.pts is not None
            assert frame.time_base is not None
            numbers.append(read_number(_luma(frame)))
            times.append(frame.pts * frame.time_base)
            hashes.append(frame_hash(plane_views(frame, fmt)))
    return Seen(
        numbers=tuple(numbers), times=tuple(times), hashes=tuple(hashes), clicks=_clicks(path)
    )


def faults(seen: Seen, source: Seen, calm: Seen | None = None) -> list[str]:
    """What is wrong with a film that should show what its source shows; nothing when all is well.

    Args:
        calm: the same job's film when nothing disturbed it: every sample must be the same.
    """
    found: list[str] = []
    counts = Counter(seen.numbers)
    lost = sorted(set(source.numbers) - set(counts), key=str)
    doubled = sorted((number for number, times in counts.items() if times > 1), key=str)
    foreign = sorted(set(counts) - set(source.numbers), key=str)
    if lost:
        found.append(f"lost: {_some(lost)}")
    if doubled:
        found.append(f"doubled: {_some(doubled)}")
    if foreign:
        found.append(f"not of this film: {_some(foreign)}")
    readable = [number for number in seen.numbers if number is not None]
    disorder = [after for before, after in pairwise(readable) if after < before]
    if disorder:
        found.append(f"out of order: {_some(disorder)}")
    if any(after <= before for before, after in pairwise(seen.times)):
        found.append("times do not rise")
    wanted = dict(zip(source.numbers, source.times, strict=True))
    late = [
        number
        for number, time in zip(seen.numbers, seen.times, strict=True)
        if number in wanted and time != wanted[number]
    ]
    if late:
        found.append(f"at another time: {_some(late)}")
    if len(seen.clicks) != len(source.clicks):
        found.append(f"{len(seen.clicks)} clicks instead of {len(source.clicks)}")
    else:
        off = [
            f"{click:.3f} s instead of {right:.3f} s"
            for click, right in zip(seen.clicks, source.clicks, strict=True)
            if abs(click - right) > _TOLERANCE
        ]
        if off:
            found.append(f"clicks moved: {_some(off)}")
    if calm is not None and seen.hashes != calm.hashes:
        pairs = zip(seen.hashes, calm.hashes, strict=False)
        other = [number for number, (a, b) in enumerate(pairs) if a != b]
        found.append(f"other pictures than undisturbed: {_some(other) or 'another count'}")
    return found


def _luma(frame: VideoFrame) -> NDArray[np.uint8]:
    plane = frame.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return rows[: frame.height, : frame.width]


def _clicks(path: Path) -> tuple[float, ...]:
    clicks: list[tuple[float, float]] = []  # time, loudness
    with av.open(str(path)) as film:
        if not film.streams.audio:
            return ()
        for block in film.decode(audio=0):
            assert block.pts is not None
            assert block.time_base is not None
            samples = np.abs(block.to_ndarray()).max(axis=0)
            start = float(block.pts * block.time_base)
            for place in np.flatnonzero(samples > _LOUD):
                time, loudness = start + float(place) / block.sample_rate, float(samples[place])
                if not clicks or time - clicks[-1][0] > _APART:
                    clicks.append((time, loudness))
                elif loudness > clicks[-1][1]:
                    clicks[-1] = (time, loudness)
    return tuple(time for time, _ in clicks)


def _some(what: list[object] | list[str] | list[int] | list[int | None]) -> str:
    shown = ", ".join(map(str, what[:8]))
    return f"{shown}, ... ({len(what)})" if len(what) > 8 else shown
