"""How long chunks take: from chunk to chunk, from try to try, and what it costs to part a film.

    python benchmarks/chunk_times.py [FILM ...] [--source FACE] [--chunk-seconds 8] [--repeats 3]
                                     [--swapper NAME] [--quick] [--json FILE]

One lane in this process, without Ray, analyses each film in chunks and then renders it again and
again: as one chunk; in chunks in order, where it goes on where it was and has the swapped frames
before a chunk still; and in chunks from the last to the first, where it has them never and swaps
them again: the halo. The three take turns, so that what the machine does meanwhile falls on all.
Without a FILM a sample is looped, so that no chunk begins at a cut.

``halo``: how much longer than as one chunk the film takes ``in_order`` and ``backward``, by wall
and by CPU time, and by frames that are worked on. ``contents``: quantiles, evenly spaced, of a
chunk's seconds a frame over the median of its film's chunks. ``attempts``: the same of a single try
over the median of its chunk's. ``farm bench simulate --times FILE`` takes its chunk times from
here.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np

from actors.lane_files import LaneFiles
from actors.looped_film import write_loop
from actors.models import ModelStore
from actors.toolbox import LaneKit
from cluster.film_work import Desk, FilmWork
from cluster.inline import InlineExecutor
from farm.config import Settings, load_settings
from farm.submission import build_job
from scheduler.chunks import Chunk
from scheduler.instructions import Start
from scheduler.jobs import JobSpec, RenderTask
from scheduler.tasks import Kind

QUANTILES = 21
Order = Literal["analysis", "whole", "in order", "backward"]
RENDERS: tuple[Order, ...] = ("whole", "in order", "backward")


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One chunk, done once."""

    film: str
    order: Order
    chunk: int
    frames: int
    warmup: int
    """Frames before it that were worked on, too."""
    wall: float
    cpu: float

    @property
    def pace(self) -> float:
        """Wall seconds a frame of the chunk."""
        return self.wall / self.frames


class Lane:
    """One lane, one film's work, and what each of its chunks took."""

    def __init__(self, job: JobSpec, executor: InlineExecutor) -> None:
        for part in ("analysis", "segments"):
            (Path(job.folder) / part).mkdir(parents=True)
        desk = Desk(check_sources=lambda _: None, note=lambda _: None, marking={})
        self.work = FilmWork(job, desk, lambda _: None, look=False)
        self.name = Path(job.media).name
        self._executor = executor
        self._lease = 0

    def analyse(self) -> list[Try]:
        chunks = self.work.plan_analyses()
        tries = [self._do("analyse", chunk, "analysis") for chunk in chunks]
        self.work.stitch()
        return tries

    def render(self, order: Order) -> list[Try]:
        """The film once. In order, the lane has just rendered what is before each chunk."""
        chunks = self.work.chunks["render"]
        if order == "whole":
            chunks = (Chunk(index=0, start=0, stop=self.work.index.frames),)
        elif order == "backward":
            chunks = chunks[::-1]
        return [self._do("render", chunk, order) for chunk in chunks]

    def _do(self, kind: Kind, chunk: Chunk, order: Order) -> Try:
        self._lease += 1
        start = Start(
            lease=self._lease,
            lane="0",
            job=self.work.job.job_id,
            step=0,
            kind=kind,
            chunk=chunk.index,
        )
        task = self.work.task(start)
        if isinstance(task, RenderTask):
            faces = self.work.census.most_swaps(chunk.start - chunk.warmup, chunk.stop)
            task = replace(task, chunk=chunk, faces=faces)
        wall, cpu = time.perf_counter(), time.process_time()
        result = self._executor.run(task)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        if kind == "analyse":
            self.work.keep(result)
        else:
            LaneFiles(task).remove()
        return Try(
            film=self.name,
            order=order,
            chunk=chunk.index,
            frames=chunk.stop - chunk.start,
            warmup=chunk.warmup,
            wall=wall,
            cpu=cpu,
        )


def quantiles(values: list[float]) -> list[float]:
    found = np.quantile(values, np.linspace(0, 1, QUANTILES))
    return [round(float(value), 4) for value in found]


def spreads(tries: list[Try]) -> tuple[list[float], list[float], float]:
    """Of one kind: contents, attempts, and the median seconds a frame."""
    films: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for each in tries:
        films[each.film][each.chunk].append(each.pace)
    contents, attempts = [], []
    for chunks in films.values():
        medians = {chunk: median(paces) for chunk, paces in chunks.items()}
        usual = median(medians.values())
        contents += [value / usual for value in medians.values()]
        attempts += [pace / medians[chunk] for chunk, paces in chunks.items() for pace in paces]
    return quantiles(contents), quantiles(attempts), median(each.pace for each in tries)


def halo(tries: list[Try]) -> dict[str, dict[str, float]]:
    """How much longer films take in chunks than as one."""

    def total(order: Order, what: Callable[[Try], float]) -> float:
        return sum(what(each) for each in tries if each.order == order)

    parts: dict[str, Callable[[Try], float]] = {
        "frames": lambda each: each.frames + each.warmup,
        "wall": lambda each: each.wall,
        "cpu": lambda each: each.cpu,
    }
    return {
        order.replace(" ", "_"): {
            name: total(order, what) / total("whole", what) - 1 for name, what in parts.items()
        }
        for order in RENDERS[1:]
    }


def measure(jobs: list[JobSpec], settings: Settings, repeats: int) -> dict[str, Any]:
    """Everything, of all films."""
    executor = InlineExecutor(LaneKit(cache_dir=settings.cache_dir))
    analyses: list[Try] = []
    renders: list[Try] = []
    for number, job in enumerate(jobs):
        print(f"{number + 1} of {len(jobs)}: {Path(job.media).name}", file=sys.stderr)
        lane = Lane(job, executor)
        analyses += lane.analyse()
        lane.render("in order")  # networks are loaded and loops compiled after it
        for turn in range(repeats):
            for at in range(len(RENDERS)):
                renders += lane.render(RENDERS[(turn + at) % len(RENDERS)])
    executor.close()
    chunked = [each for each in renders if each.order != "whole"]
    contents, attempts, render = spreads(chunked)
    return {
        "analyse_s": median(each.pace for each in analyses),
        "render_s": render,
        "contents": contents,
        "attempts": attempts,
        "halo": halo(renders),
        "chunks": len({(each.film, each.chunk) for each in chunked}),
        "tries": [asdict(each) for each in (*analyses, *renders)],
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
    }


def loop(settings: Settings, seconds: float, chunks: int, folder: Path) -> Path:
    """A film without a cut, with as many chunks."""
    sample = ModelStore(settings.cache_dir).path("single_face")
    film = folder / "loop.mp4"
    rate = 25
    frames = round(seconds * chunks * rate)
    write_loop(sample, film, frames=frames, width=640, rate=rate, keyframes=rate)
    return film


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("films", nargs="*", type=Path, metavar="FILM")
    parser.add_argument("--source", type=Path, help="default: a sample")
    parser.add_argument("--swapper", default="mesh")
    parser.add_argument("--chunk-seconds", type=float, default=8.0)
    parser.add_argument("--chunks", type=int, default=5, help="of the looped sample")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="three short chunks, once")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    seconds, chunks, repeats = given.chunk_seconds, given.chunks, given.repeats
    if given.quick:
        seconds, chunks, repeats = 1.0, 3, 1
    settings = load_settings()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        films = given.films or [loop(settings, seconds, chunks, folder)]
        source = given.source or ModelStore(settings.cache_dir).path("astronaut")
        jobs = []
        for number, film in enumerate(films):
            made = build_job(
                settings.model_copy(update={"work_dir": folder}),
                video=film,
                sources=[source],
                output=folder / f"{number}.mp4",
            )
            made = replace(made, chunk_seconds=seconds, folder=str(folder / f"job-{number}"))
            jobs.append(replace(made, swap=replace(made.swap, model=given.swapper)))
        report = measure(jobs, settings, repeats)
        report["films"] = [Path(job.media).name for job in jobs]
    tries = report["tries"]
    report |= {"swapper": given.swapper, "chunk_seconds": seconds, "repeats": repeats}
    print(f"{report['chunks']} chunks of up to {seconds:g} s, each rendered {2 * repeats} times")
    print(f"render {1000 * report['render_s']:.1f} ms a frame, ", end="")
    print(f"analysis {1000 * report['analyse_s']:.1f} ms ({len(tries)} tries)")
    for name in ("contents", "attempts"):
        least, half, most = (report[name][at] for at in (0, QUANTILES // 2, -1))
        print(f"{name}: {least:.2f} to {most:.2f}, {half:.2f} in the middle")
    for order, more in report["halo"].items():
        parts = ", ".join(f"{share:.1%} by {by}" for by, share in more.items())
        print(f"chunks {order.replace('_', ' ')}, more than as one: {parts}")
    if given.json:
        given.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
