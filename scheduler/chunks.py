"""The chunk plan: a pure function of the film and the settings, never of the cluster."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor, isfinite

from scheduler.errors import SettingInvalid
from scheduler.media import VideoIndex


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Frames [start, stop): the unit of retry."""

    index: int
    start: int
    stop: int
    warmup: int = 0
    """Frames before ``start`` that are decoded to settle filters but not encoded."""
    tail: int = 0
    """Frames after ``stop`` that are decoded as context but not encoded."""

    @property
    def frames(self) -> int:
        return self.stop - self.start


def plan_chunks(
    index: VideoIndex,
    *,
    seconds: float | None = None,
    cuts: Sequence[int] = (),
    reach_seconds: float | None = None,
    halo: int = 0,
    warmup: int = 0,
) -> tuple[Chunk, ...]:
    """Divide a film into chunks of about ``seconds``.

    Each multiple of ``seconds`` after the first PTS is a border: at the first frame shown at or
    after it, or at the nearest scene cut where one is within reach (of two as near the earlier).
    Where nobody says how many, the parts are equal with what is decoded around them, so that
    lanes end together.
    Where the film shows one frame for long, several borders fall together and count once. The
    rest at the end is a chunk of its own only if it lasts at least half of ``seconds``. Exact
    integers throughout: the same film and settings give the same plan everywhere.

    Args:
        seconds: None: by the film's length (`chunk_length`).
        cuts: frame indices that start a new shot, in any order.
        reach_seconds: how far a border may move to meet a cut; None: a quarter of ``seconds``.
        halo: frames decoded around each chunk, as far as the film has them.
        warmup: frames decoded before each chunk, as far as its shot goes back: none where the chunk
            starts at a cut.

    Returns:
        Chunks that partition the frames, in order, each with at least one frame.

    Raises:
        SettingInvalid: ``seconds`` not above 0, reach not in 0..half of it, or a negative halo or
            warm-up.
    """
    wanted = chunk_length(index) if seconds is None else seconds
    reach = wanted / 4 if reach_seconds is None else reach_seconds
    _check(float(wanted), float(reach), min(halo, warmup))
    pts, end = index.pts, _end(index)
    length = Fraction(wanted) / index.time_base
    first, parts = Fraction(pts[0]), 0
    if seconds is None:
        parts = round((end - pts[0]) / length)
        frame = Fraction(end - pts[0], len(pts))
        around = (warmup + 2 * halo) * frame
        if 2 * around < end - pts[0]:
            first, length = first + (warmup + halo) * frame, (end - pts[0] - around) / parts
    span = Fraction(reach) / index.time_base
    shots = sorted({cut for cut in cuts if 0 < cut < len(pts)})

    borders = [0]
    step = 1
    while seconds is not None or step < parts:
        ideal = first + step * length
        at = bisect_left(pts, ceil(ideal))
        if at == len(pts):
            break
        border = _nearest_shot(pts, shots, ideal, span, at)
        if border > borders[-1]:
            borders.append(border)
        # Over a frame that is shown for long, go straight to the last multiple it covers.
        step = max(step + 1, floor((pts[at] - first) / length))
    if len(borders) > 1 and end - pts[borders[-1]] < length / 2:
        borders.pop()
    borders.append(len(pts))
    return tuple(
        Chunk(
            index=number,
            start=start,
            stop=stop,
            warmup=max(min(halo, start), min(warmup, start - _shot_start(shots, start))),
            tail=min(halo, len(pts) - stop),
        )
        for number, (start, stop) in enumerate(pairwise(borders))
    )


def chunk_length(index: VideoIndex) -> Fraction:
    """Seconds of a chunk where nobody says how many: equal parts, at most 8 s.

    One part up to 2 s, two up to 8, four up to 32, then a multiple of eight: a film of few chunks
    leaves no lane without work while the last one is done, on 1, 2, 4 or 8 lanes, and a short film
    is not warmed up more often than that is worth (docs/performance.md, with the arithmetic).
    """
    seconds = max((_end(index) - index.pts[0]) * index.time_base, index.time_base)
    if seconds > 32:
        parts = 8 * ceil(seconds / 64)
    else:
        parts = 4 if seconds > 8 else 2 if seconds > 2 else 1
    return seconds / parts


def _end(index: VideoIndex) -> int:
    """PTS at which the last frame ends."""
    return index.pts[-1] + max(index.durations[-1], 0)


def _nearest_shot(
    pts: Sequence[int], shots: Sequence[int], ideal: Fraction, span: Fraction, otherwise: int
) -> int:
    """The frame that starts the shot nearest to ``ideal`` within ``span``, or ``otherwise``."""
    first = bisect_left(shots, bisect_left(pts, ceil(ideal - span)))
    stop = bisect_right(shots, bisect_right(pts, floor(ideal + span)) - 1)
    near = shots[first:stop]
    return min(near, key=lambda shot: (abs(pts[shot] - ideal), shot)) if near else otherwise


def _shot_start(shots: Sequence[int], frame: int) -> int:
    """The frame with which the shot of ``frame`` starts."""
    at = bisect_right(shots, frame)
    return shots[at - 1] if at else 0


def _check(seconds: float, reach: float, halo: int) -> None:
    if not (isfinite(seconds) and seconds > 0):
        raise SettingInvalid(
            f"chunks of {seconds} seconds",
            "a length above 0",
            "leave it out: the film's length then decides",
        )
    if not (isfinite(reach) and 0 <= 2 * reach <= seconds):
        raise SettingInvalid(
            f"a reach of {reach} seconds for chunks of {seconds} seconds",
            "between 0 and half of the chunk length",
            "leave the reach at its default",
        )
    if halo < 0:
        raise SettingInvalid(f"a halo of {halo} frames", "0 or more", "leave the halo out")
