"""How well lanes of more nodes share a film out: figures of measured runs, as words and files."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final

_STUDENT: Final = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23)
"""97.5 % quantiles of Student's t by degrees of freedom, from 1."""
_NORMAL: Final = 1.96


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One film on lanes that are up."""

    nodes: int
    lanes: int
    frames: int
    chunks: int
    seconds: float
    """From the probe to the published film."""
    rendering: float
    """Seconds of it in which lanes had chunks to render, from the first given to the last done."""
    busy: float
    """Lane seconds from chunks given to chunks done, those of other attempts included."""
    halo: float
    """Share of these that warm-up frames took, by their number."""
    gaps: tuple[float, ...]
    """Seconds between a chunk that is done and the next one on the same lane."""
    retries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean, and how far from it the true one may be with 95 % confidence."""

    mean: float
    half: float

    def __truediv__(self, other: Interval) -> Interval:
        """Of two independent figures, by the first order of their errors."""
        mean = self.mean / other.mean
        relative = sqrt((self.half / self.mean) ** 2 + (other.half / other.mean) ** 2)
        return Interval(mean=mean, half=mean * relative)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What was measured on a number of nodes. Intervals: 95 %, over the repeats."""

    nodes: int
    lanes: int
    repeats: int
    chunks: int
    fps: float
    fps_ci: float
    speedup: float
    """Over the smallest number of nodes, times that number."""
    speedup_ci: float
    efficiency: float
    """Speed-up a node."""
    efficiency_ci: float
    chunk_s: float
    """Seconds of a lane for a chunk."""
    idle: float
    """Share of all lanes' seconds in which a lane had nothing while others still rendered, the
    scheduler's time included."""
    scheduler: float
    """Seconds between two chunks of a lane over the seconds of a chunk."""
    halo: float
    """Share of all lanes' seconds that went into warm-up frames."""
    film: float
    """Share in which all lanes waited for what needs the whole film: probe, stitch, join, publish.
    """
    start_s: float
    """Until all lanes were up; paid once, in none of the figures above."""
    retries: int


def interval(values: Sequence[float]) -> Interval:
    """Of repeated measurements; of a single one nothing is known but itself."""
    if len(values) < 2:
        return Interval(mean=values[0], half=0.0)
    free = len(values) - 1
    quantile = _STUDENT[free - 1] if free <= len(_STUDENT) else _NORMAL
    return Interval(mean=fmean(values), half=quantile * stdev(values) / sqrt(len(values)))


def rows_of(runs: Sequence[Run], starts: dict[int, float]) -> list[Row]:
    """A row for each number of nodes, rising.

    Args:
        runs: of all numbers of nodes, those of one with as many frames each.
        starts: seconds until all lanes were up, by the number of nodes.
    """
    sizes = sorted({run.nodes for run in runs})
    of = {size: [run for run in runs if run.nodes == size] for size in sizes}
    base = interval([run.frames / run.seconds / sizes[0] for run in of[sizes[0]]])
    rows = []
    for size in sizes:
        some = of[size]
        fps = interval([run.frames / run.seconds for run in some])
        speedup = fps / base
        lane_seconds = sum(run.lanes * run.seconds for run in some)
        rendering = sum(run.lanes * run.rendering for run in some)
        busy = sum(run.busy for run in some)
        chunks = sum(run.chunks for run in some)
        gaps = [gap for run in some for gap in run.gaps]
        chunk = busy / chunks
        first = size == sizes[0]
        rows.append(
            Row(
                nodes=size,
                lanes=some[0].lanes,
                repeats=len(some),
                chunks=some[0].chunks,
                fps=fps.mean,
                fps_ci=fps.half,
                speedup=speedup.mean,
                speedup_ci=0.0 if first else speedup.half,
                efficiency=speedup.mean / size,
                efficiency_ci=0.0 if first else speedup.half / size,
                chunk_s=chunk,
                idle=(rendering - busy) / lane_seconds,
                scheduler=fmean(gaps) / chunk if gaps else 0.0,
                halo=sum(run.busy * run.halo for run in some) / lane_seconds,
                film=(lane_seconds - rendering) / lane_seconds,
                start_s=starts[size],
                retries=sum(run.retries for run in some),
            )
        )
    return rows


def lines(rows: Sequence[Row], about: dict[str, Any]) -> list[str]:
    """The figures in words."""
    out = []
    if about["standin"]:
        out.append(
            f"STAND-IN: {about['swap']} waits instead of swapping; only how lanes share work is "
            "measured"
        )
    out += [
        f"{about['chunk_frames']} frames a chunk, {about['chunks_a_node']} chunks a node, "
        f"{about['repeats']} repeats, 95 % intervals; {about['analysis']}",
        "nodes lanes          fps       speed-up    efficiency  chunk   idle  sched.   halo   film"
        "   start",
    ]
    for row in rows:
        out.append(
            f"{row.nodes:5} {row.lanes:5} {row.fps:8.2f} ±{row.fps_ci:5.2f} "
            f"{row.speedup:6.2f} ±{row.speedup_ci:4.2f} "
            f"{row.efficiency:7.3f} ±{row.efficiency_ci:5.3f} {row.chunk_s:5.2f}s "
            f"{row.idle:6.2%} {row.scheduler:6.2%} {row.halo:6.2%} {row.film:6.2%} "
            f"{row.start_s:6.1f}s"
        )
    retries = sum(row.retries for row in rows)
    if retries:
        out.append(f"{retries} chunks had to be tried again: the figures contain that")
    return out


def result_of(rows: Sequence[Row], about: dict[str, Any]) -> dict[str, Any]:
    """All of it, for JSON."""
    return {**about, "nodes": [asdict(row) for row in rows]}


def write_files(folder: Path, rows: Sequence[Row], about: dict[str, Any]) -> list[Path]:
    """``scaling.csv``, ``.json`` and ``.png`` in a folder, which is made; their paths."""
    from farm.scaling_plot import draw

    folder.mkdir(parents=True, exist_ok=True)
    table, facts, plot = (folder / f"scaling.{kind}" for kind in ("csv", "json", "png"))
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    facts.write_text(json.dumps(result_of(rows, about), indent=1) + "\n")
    plot.write_bytes(draw(rows, f"{about['swap']} on {about['where']}"))
    return [table, facts, plot]
