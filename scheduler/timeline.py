"""Which frames of a film are worked on, and when the result shows them: pure functions of both.

Two indices say it. The *cut* film's names the frames that lanes decode, at the film's own times, as
if it had no others: all that is found and planned counts its frames. The *result's* names the
pictures that the result shows, each with a frame of the cut film; with a rate of its own it may
show a frame several times.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from math import floor, lcm
from typing import Final

from scheduler.errors import SettingInvalid
from scheduler.jobs import JobSpec
from scheduler.media import VideoIndex
from scheduler.output import CutSettings

_LARGEST: Final = 2**31 - 1
"""Of a time unit's denominator: containers keep it in 32 bits with a sign."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The part of a film that a trimmed result shows, in seconds on the film's clock."""

    begin: Fraction
    end: Fraction
    shift: Fraction
    """What the result's times are earlier than the film's: it starts when the film does."""


def kept_frames(index: VideoIndex, settings: CutSettings) -> tuple[int, ...]:
    """The film's frames that lanes decode, rising.

    A stop behind the film's end is its end.

    Raises:
        SettingInvalid: the trim begins behind the film's end.
    """
    stop = _stop(index, settings)
    if settings.start >= stop:
        raise SettingInvalid(
            f"a trim that begins with frame {settings.start} of {index.path}",
            f"a frame from 0 to {stop - 1}: the film has {index.frames}",
            "correct --trim-frame-start",
        )
    if settings.rate is None:
        return tuple(range(settings.start, stop))
    trimmed = _part(index, tuple(range(settings.start, stop)), stop)
    return tuple(settings.start + at for at in sorted(set(shown_frames(trimmed, settings.rate))))


def cut(index: VideoIndex, settings: CutSettings) -> VideoIndex:
    """The index of what lanes decode of a film: the film's own where nothing is left out.

    Raises:
        SettingInvalid: see ``kept_frames``.
    """
    kept = kept_frames(index, settings)
    return index if len(kept) == index.frames else _part(index, kept, _stop(index, settings))


def _stop(index: VideoIndex, settings: CutSettings) -> int:
    return index.frames if settings.stop is None else min(settings.stop, index.frames)


def _part(index: VideoIndex, kept: tuple[int, ...], stop: int) -> VideoIndex:
    """The index of a film that has only some of its frames; the last lasts until ``stop``."""
    pts = tuple(index.pts[frame] for frame in kept)
    end = index.pts[stop - 1] + index.durations[stop - 1]
    keys = set(index.keyframes)
    return replace(
        index,
        pts=pts,
        durations=(*(after - before for before, after in pairwise(pts)), end - pts[-1]),
        keyframes=tuple(at for at, frame in enumerate(kept) if frame in keys),
        entries=index.entries or tuple(index.pts[frame] for frame in index.keyframes),
        made_pts=(index.made_pts or index.pts) if index.counted else (),
    )


def shown_frames(index: VideoIndex, rate: Fraction | None) -> tuple[int, ...]:
    """The frame that each picture of the result shows, rising, all pictures in order.

    Without a rate each frame once. With one, as many pictures as come nearest to the film's length;
    each shows the last frame that is due by its time, where a frame that comes late by less than
    half a frame still counts as due: times rounded to milliseconds must not make a picture skip.
    The first frame is always shown. The frames that are shown give the same answer without the
    others.
    """
    if rate is None:
        return tuple(range(index.frames))
    tick = 1 / (rate * index.time_base)
    late = min(tick, 1 / (index.average_rate * index.time_base)) / 2
    # Whole numbers, in parts of the time base: a film has many pictures.
    parts = lcm(tick.denominator, late.denominator)
    step, start = int(tick * parts), index.pts[0] * parts + int(late * parts)
    shows = [0]
    frame = 0
    for picture in range(1, _pictures(index, rate)):
        due = start + picture * step
        while frame + 1 < index.frames and index.pts[frame + 1] * parts < due:
            frame += 1
        shows.append(frame)
    return tuple(shows)


def _pictures(index: VideoIndex, rate: Fraction) -> int:
    """How many pictures at a rate come nearest to the film's length; at least one."""
    length = (index.pts[-1] + index.durations[-1] - index.pts[0]) * index.time_base
    return max(1, floor(length * rate + Fraction(1, 2)))


def source_frames(index: VideoIndex, settings: CutSettings) -> tuple[int, ...]:
    """The film's frame that each picture of the result shows, counted as the film counts."""
    kept = kept_frames(index, settings)
    return tuple(kept[at] for at in shown_frames(cut(index, settings), settings.rate))


def result_of(index: VideoIndex, rate: Fraction | None, scale: float = 1.0) -> VideoIndex:
    """The index of the result: when each picture is shown, and how large it is.

    The last picture lasts until the film's end, so that the length stays to the tick. The size is
    rounded to even numbers where it is not the film's own.

    Args:
        index: of the cut film.
    """
    if scale != 1.0:
        index = replace(
            index,
            width=max(2, round(index.width * scale / 2) * 2),
            height=max(2, round(index.height * scale / 2) * 2),
        )
    if rate is None:
        return index
    pictures = _pictures(index, rate)
    base = Fraction(1, lcm(rate.numerator, index.time_base.denominator))
    if base.denominator > _LARGEST:
        base = Fraction(1, rate.numerator * max(1, _LARGEST // rate.numerator))
    first = round(index.pts[0] * index.time_base / base)
    step = 1 / (rate * base)
    end = round((index.pts[-1] + index.durations[-1]) * index.time_base / base)
    pts = tuple(first + round(picture * step) for picture in range(pictures))
    return replace(
        index,
        time_base=base,
        pts=pts,
        durations=(*(after - before for before, after in pairwise(pts)), max(1, end - pts[-1])),
        keyframes=(0,),
        average_rate=rate,
        entries=(),
        made_pts=(),
    )


def span_of(whole: VideoIndex, index: VideoIndex) -> Span | None:
    """The part of a film that the result shows; None: from its first frame to its last.

    Args:
        whole: index of the film.
        index: of the cut film.
    """

    def end(of: VideoIndex) -> int:
        return of.pts[-1] + of.durations[-1]

    if index.pts[0] == whole.pts[0] and end(index) == end(whole):
        return None
    return Span(
        begin=index.pts[0] * index.time_base,
        end=end(index) * index.time_base,
        shift=(index.pts[0] - whole.pts[0]) * index.time_base,
    )


def part_of(whole: VideoIndex, index: VideoIndex, shown: VideoIndex) -> Span | None:
    """The part of a film that the first pictures of a result show; None: all of it.

    Args:
        whole: index of the film.
        index: of the cut film.
        shown: of these pictures.
    """
    end = (shown.pts[-1] + shown.durations[-1]) * shown.time_base
    span = span_of(whole, index)
    if span is None and end >= (whole.pts[-1] + whole.durations[-1]) * whole.time_base:
        return None
    return Span(
        begin=index.pts[0] * index.time_base,
        end=end,
        shift=(index.pts[0] - whole.pts[0]) * index.time_base,
    )


def localised(job: JobSpec, whole: VideoIndex) -> JobSpec:
    """The job with its reference frame counted as the cut film counts.

    Raises:
        SettingInvalid: the result does not show that frame.
    """
    frame = job.faces.reference_frame
    if frame is None or job.cut.whole:
        return job
    kept = kept_frames(whole, job.cut)
    at = bisect_left(kept, frame)
    if at == len(kept) or (kept[at] != frame and (at == 0 or job.cut.rate is None)):
        raise SettingInvalid(
            f"the reference frame {frame}",
            f"one of the frames {kept[0]} to {kept[-1]} that are worked on",
            "correct --reference-frame-number, or trim less",
        )
    return replace(job, faces=replace(job.faces, reference_frame=at))
