"""Small charts over a film's time as SVG text. Colours and strokes are the page's CSS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from math import ceil, floor, log10
from typing import Final

WIDTH: Final = 960
LEFT: Final = 52
RIGHT: Final = 14
TOP: Final = 10
BOTTOM: Final = 24
HEIGHT: Final = 170
BAR: Final = 18
"""Height of a bar of the timeline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeAxis:
    """What all charts of a film share."""

    frames: int
    seconds: float
    borders: Sequence[int] = ()
    """Frames at which chunks begin."""
    cuts: Sequence[int] = ()
    """Frames at which shots begin."""

    def x(self, frame: float) -> float:
        """Place of a frame's beginning."""
        return LEFT + (WIDTH - LEFT - RIGHT) * frame / max(self.frames, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a chart."""

    name: str
    style: str
    """CSS class."""
    values: Sequence[float | None]
    """Means of equal stretches of the film; None where there is nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """Frames [start, stop) of one kind."""

    start: int
    stop: int
    style: str
    title: str


def line_chart(
    title: str,
    axis: TimeAxis,
    lines: Sequence[Line] = (),
    dots: Sequence[tuple[int, float, str]] = (),
    threshold: float | None = None,
) -> str:
    """An SVG picture of values over time, from 0 up.

    Args:
        title: what screen readers say.
        dots: (frame, value, what it is) of single values.
        threshold: a level to mark.
    """
    values = [v for line in lines for v in line.values if v is not None]
    values += [value for _, value, _ in dots] + ([] if threshold is None else [threshold])
    steps = ticks(max(values, default=1.0))
    top = steps[-1] or 1.0

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(max(value, 0.0), top) / top

    parts = [_opening(title, _in_words(lines, dots), HEIGHT)]
    for step in steps:
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(step):.1f}" '
            f'y2="{y(step):.1f}"/><text class="tick" x="{LEFT - 6}" y="{y(step) + 4:.1f}" '
            f'text-anchor="end">{step:g}</text>'
        )
    parts += _marks(axis, HEIGHT)
    if threshold is not None:
        level = f"{y(threshold):.1f}"
        parts.append(
            f'<line class="level" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{level}" y2="{level}"/>'
        )
    for line in lines:
        parts.append(_path(line, axis, y))
    for frame, value, what in dots:
        parts.append(
            f'<circle class="dot" cx="{axis.x(frame + 0.5):.1f}" cy="{y(value):.1f}" r="4">'
            f"<title>{escape(what)}</title></circle>"
        )
    return "".join([*parts, "</svg>"])


def timeline(title: str, axis: TimeAxis, rows: Sequence[tuple[str, Sequence[Bar]]]) -> str:
    """An SVG picture of bars over time, a row each.

    Args:
        title: what screen readers say.
        rows: name and bars.
    """
    height = TOP + len(rows) * (BAR + 6) + BOTTOM
    parts = [_opening(title, f"{len(rows)} rows; the table below has the numbers.", height)]
    for place, (name, bars) in enumerate(rows):
        top = TOP + place * (BAR + 6)
        parts.append(
            f'<text class="tick" x="{LEFT - 6}" y="{top + 13}" text-anchor="end">'
            f"{escape(name)}</text>"
        )
        for bar in bars:
            # A single frame of a long film is still to be seen.
            wide = max(axis.x(bar.stop) - axis.x(bar.start), 1.5)
            parts.append(
                f'<rect class="{bar.style}" x="{axis.x(bar.start):.1f}" y="{top}" '
                f'width="{wide:.1f}" height="{BAR}"><title>{escape(bar.title)}</title></rect>'
            )
    return "".join([*parts, *_marks(axis, height), "</svg>"])


def ticks(largest: float, most: int = 5) -> list[float]:
    """Round steps from 0 to the first one at or above ``largest``."""
    if not largest > 0:
        return [0.0, 1.0]
    rough = largest / (most - 1)
    power = 10.0 ** floor(log10(rough))
    step = next(power * nice for nice in (1, 2, 2.5, 5, 10) if power * nice >= rough * (1 - 1e-9))
    return [round(step * at, 10) for at in range(ceil(largest / step - 1e-9) + 1)]


def _opening(title: str, words: str, height: int) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" xmlns="http://www.w3.org/2000/svg">'
        f"<title>{escape(title)}</title><desc>{escape(words)}</desc>"
    )


def _marks(axis: TimeAxis, height: int) -> list[str]:
    """Chunk borders, cuts and the time below."""
    parts = [
        f'<line class="{style}" x1="{axis.x(at):.1f}" x2="{axis.x(at):.1f}" y1="{TOP}" '
        f'y2="{height - BOTTOM}"><title>{what} at frame {at}</title></line>'
        for style, what, frames in (("border", "chunk", axis.borders), ("cut", "cut", axis.cuts))
        for at in frames
    ]
    for seconds in ticks(axis.seconds, 9):
        if seconds <= axis.seconds:
            x = LEFT + (WIDTH - LEFT - RIGHT) * seconds / axis.seconds
            parts.append(
                f'<text class="tick" x="{x:.1f}" y="{height - 6}" text-anchor="middle">'
                f"{clock(seconds)}</text>"
            )
    return parts


def clock(seconds: float) -> str:
    """Seconds as a time axis shows them: 2.5 s, 1:05, 1:02:00."""
    if seconds < 60:
        return f"{seconds:g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _path(line: Line, axis: TimeAxis, y: Callable[[float], float]) -> str:
    bins = len(line.values)
    runs: list[str] = []
    for known, run in groupby(enumerate(line.values), lambda item: item[1] is not None):
        if not known:
            continue
        points = [
            f"{axis.x((at + 0.5) * axis.frames / bins):.1f},{y(value or 0.0):.1f}"
            for at, value in run
        ]
        # A lone value is drawn as a short stroke: round caps make a dot of it.
        runs.append("M" + "L".join(points if len(points) > 1 else points * 2))
    return (
        f'<path class="{line.style}" d="{"".join(runs)}"><title>{escape(line.name)}</title></path>'
    )


def _in_words(lines: Sequence[Line], dots: Sequence[tuple[int, float, str]]) -> str:
    said = []
    for line in lines:
        known = [value for value in line.values if value is not None]
        if known:
            mean = sum(known) / len(known)
            said.append(f"{line.name}: mean {mean:.2f}, at most {max(known):.2f}.")
    if dots:
        said.append(f"{len(dots)} values, from {min(v for _, v, _ in dots):.2f}.")
    return " ".join(said) or "No values."
