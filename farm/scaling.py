"""``farm bench scaling``: one film for each number of nodes, as much of it for each node.

The lanes are up before the clock starts, as on a farm, and the analysis is there, as for a second
face on the same film: what is measured is rendering, from the probe to the published film.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from actors.looped_film import write_loop
from actors.models import ModelStore
from actors.pipeline import lane_processes
from actors.prober import probe
from actors.toolbox import LaneKit
from cluster.emulation import EmulatedCluster
from cluster.ray_executor import RayExecutor
from cluster.session import Session
from cluster.stopwatch import HeldLanes
from farm.config import Settings
from farm.progress import Display, Fact
from farm.runner import FarmOptions, run_job, survey_job
from farm.scaling_figures import Row, Run, rows_of
from farm.submission import build_job
from scheduler.chunks import chunk_length
from scheduler.errors import SettingInvalid
from scheduler.jobs import (
    STANDIN,
    AnalyseSettings,
    EncoderSettings,
    JobSpec,
    JobSummary,
    StabilizeSettings,
    SwapSettings,
)
from scheduler.output import CutSettings
from scheduler.progress import JobSnapshot

RATE: Final = 25
"""Frames a second of a film of our own."""
WIDTH: Final = 320
CHUNK: Final = 12
"""Frames of its chunks."""
SAMPLE: Final = "wolfgang_langer"
_UP: Final = 600.0
"""Seconds in which all lanes must come up: eight on two cores load one after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingPlan:
    """What is to be measured."""

    nodes: tuple[int, ...]
    """Numbers of nodes, rising."""
    repeats: int
    chunks: int
    """Of the film, for each node; without ``film``."""
    wait_ms: int
    """That the stand-in waits for each face."""
    film: Path | None = None
    """None: one made of a sample, small, so that few cores carry many lanes."""
    source: Path | None = None
    """The face that real swappers put on; None: the stand-in."""
    address: str | None = None
    """Of a cluster; None: nodes are emulated on this machine."""

    @property
    def standin(self) -> bool:
        return self.source is None


class _Tell(Display):
    """A job's news as a benchmark takes it: chunks done, and words."""

    def __init__(self, done: Callable[[int], None]) -> None:
        self._done = done

    def update(self, snapshot: JobSnapshot) -> None:
        if snapshot.phase == "render":
            self._done(snapshot.frames_done)

    def event(self, name: str, message: str = "", **facts: Fact) -> None:
        pass

    def close(self) -> None:
        pass


class _Held:
    """Lanes that are up already, for `farm.runner`."""

    def __init__(self, lanes: HeldLanes) -> None:
        self._lanes = lanes

    def open(self, display: Display) -> HeldLanes:
        self._lanes.begin()
        return self._lanes


def measure(
    plan: ScalingPlan,
    settings: Settings,
    tell: Callable[[str, int, int], None] = lambda *_: None,
) -> tuple[list[Row], dict[str, Any]]:
    """Run it all; the figures, and what they are of.

    Args:
        tell: is told what is done now, how much of it is done, and of how much.

    Raises:
        SettingInvalid: the cluster has too few nodes, or the film too few frames.
        ClusterUnreachable: no cluster, or not all lanes come up.
    """
    runs: list[Run] = []
    starts: dict[int, float] = {}
    most = max(plan.nodes)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="swapfarm-bench-")))
        # The analysis is to be found again, whatever the user keeps; what films of this kind cost
        # is no news for `farm submit --plan`.
        settings = settings.model_copy(
            update={
                "analysis_gb": max(settings.analysis_gb, 1.0),
                "report_gb": 0.0,
                "state_dir": folder / "state",
            }
        )
        tell("the film", 0, 0)
        film = plan.film.absolute() if plan.film else _make_film(plan, settings, folder)
        job = _job(plan, settings, film, folder)
        shares = {size: _share(job, size, most) for size in plan.nodes}
        tell("nodes", 0, 0)
        session, where = stack.enter_context(_cluster(plan, most))
        names = [node.name for node in session.nodes() if node.lanes]
        if len(names) < most:
            raise SettingInvalid(
                f"a cluster of {len(names)} nodes that bear lanes",
                f"{most}, the most of --nodes",
                "name fewer with --nodes",
            )
        display = _Tell(lambda _: None)
        for size in plan.nodes:
            options = FarmOptions(address=plan.address, processes=settings.lane.processes)
            executor = RayExecutor(
                session,
                LaneKit(cache_dir=settings.cache_dir),
                settings.lanes,
                lane_processes(options.processes or 1),
                among=names[:size],
                device=settings.device,
            )
            with closing(executor):
                held = HeldLanes(executor)
                tell(f"{size} nodes: lanes", 0, 0)
                starts[size] = held.wait(_UP)
                tell(f"{size} nodes: analysis", 0, 0)
                survey_job(_named(shares[size], "look"), settings, options, display, _Held(held))
                tell(f"{size} nodes: networks", 0, 0)
                _warm(shares[size], executor.lanes, settings, options, display, held)
                for number in range(plan.repeats):
                    what = f"{size} nodes, {number + 1} of {plan.repeats}"
                    frames = _frames(shares[size])

                    def show(done: int, what: str = what, frames: int = frames) -> None:
                        tell(what, done, frames)

                    spec = _named(shares[size], f"{size}-{number}")
                    summary = run_job(spec, settings, options, _Tell(show), _Held(held))
                    Path(spec.output).unlink()
                    runs.append(_run(summary, size, held))
        rows = rows_of(runs, starts)
        return rows, {
            "swap": job.swap.model,
            "standin": plan.standin,
            "where": where,
            "film": str(plan.film or f"looped {SAMPLE}"),
            "size": f"{probe(film).width}x{probe(film).height}",
            "chunk_frames": round(runs[-1].frames / runs[-1].chunks),
            "chunks_a_node": round(runs[-1].chunks / most),
            "wait_ms": plan.wait_ms if plan.standin else None,
            "repeats": plan.repeats,
            "analysis": "the analysis came from the cache, the lanes were up",
            "seconds": [
                {"nodes": run.nodes, "seconds": run.seconds, "frames": run.frames} for run in runs
            ],
        }


def _make_film(plan: ScalingPlan, settings: Settings, folder: Path) -> Path:
    film = folder / "film.mp4"
    sample = ModelStore(settings.cache_dir).path(SAMPLE)
    frames = max(plan.nodes) * plan.chunks * CHUNK
    write_loop(sample, film, frames=frames, width=WIDTH, rate=RATE, keyframes=CHUNK)
    return film


def _job(plan: ScalingPlan, settings: Settings, film: Path, folder: Path) -> JobSpec:
    """The whole film's job. A film of our own is as light as it can be: what counts is the wait."""
    if plan.source is not None:
        job = build_job(settings, video=film, sources=[plan.source], output=folder / "out.mp4")
        return replace(job, folder=str(folder / "work"), webhooks=(), report=False)
    job = JobSpec(
        job_id="scaling",
        media=str(film),
        output=str(folder / "out.mp4"),
        folder=str(folder / "work"),
        swap=SwapSettings(model=f"{STANDIN}{plan.wait_ms}ms"),
        encoder=EncoderSettings(preset="ultrafast", quality=28),
    )
    if plan.film is not None:
        return replace(job, chunk_seconds=settings.chunk_seconds)
    return replace(
        job,
        analysis=AnalyseSettings(expression=False, occlusion=False, objects=False),
        stabilize=StabilizeSettings(flow=False, guard=False, seam=False),
        chunk_seconds=CHUNK / RATE,
    )


def _share(job: JobSpec, nodes: int, most: int) -> JobSpec:
    """The job of some nodes: as much of the film for each, however many they are.

    Chunks are as long as those of the whole film: another number of nodes must change nothing else.
    """
    index = probe(job.media)
    frames = index.frames * nodes // most
    if not frames:
        raise SettingInvalid(
            f"a film of {index.frames} frames for {most} nodes", "more", "choose a longer film"
        )
    seconds = job.chunk_seconds or float(chunk_length(index))
    return replace(job, cut=CutSettings(stop=frames), chunk_seconds=seconds)


def _frames(job: JobSpec) -> int:
    assert job.cut.stop is not None
    return job.cut.stop


def _named(job: JobSpec, name: str) -> JobSpec:
    """The same job another time."""
    folder = Path(job.output).parent
    return replace(
        job,
        job_id=f"scaling-{name}",
        folder=str(folder / f"work-{name}"),
        output=str(folder / f"{name}.mp4"),
    )


def _warm(
    job: JobSpec,
    lanes: int,
    settings: Settings,
    options: FarmOptions,
    display: Display,
    held: HeldLanes,
) -> None:
    """A short job in which each lane gets about two chunks: networks are loaded after it."""
    index = probe(job.media)
    assert job.chunk_seconds is not None
    frames = round(2 * lanes * job.chunk_seconds * index.frames / _seconds(job.media))
    short = replace(_named(job, "warm"), cut=CutSettings(stop=min(frames, _frames(job))))
    run_job(short, settings, options, display, _Held(held))
    Path(short.output).unlink()


def _seconds(media: str) -> float:
    index = probe(media)
    return float((index.pts[-1] - index.pts[0] + index.durations[-1]) * index.time_base)


def _run(summary: JobSummary, nodes: int, held: HeldLanes) -> Run:
    spells = held.spells
    worked = sum(spell.frames + spell.warmup for spell in spells)
    return Run(
        nodes=nodes,
        lanes=held.lanes,
        frames=summary.frames,
        chunks=summary.chunks,
        seconds=summary.seconds,
        rendering=max(s.done for s in spells) - min(s.given for s in spells),
        busy=sum(spell.done - spell.given for spell in spells),
        halo=sum(spell.warmup for spell in spells) / worked,
        gaps=tuple(spell.gap for spell in spells if spell.gap is not None),
        retries=summary.retries,
    )


@contextmanager
def _cluster(plan: ScalingPlan, most: int) -> Iterator[tuple[Session, str]]:
    if plan.address is None:
        with EmulatedCluster(most) as cluster:
            yield cluster.session, f"{most} emulated nodes of one machine"
    else:
        with Session.open(plan.address) as session:
            yield session, f"the cluster at {plan.address}"


def parse_nodes(words: str) -> tuple[int, ...]:
    """``1,2,4`` of --nodes.

    Raises:
        SettingInvalid: not numbers from 1 to 1000, or none.
    """
    try:
        found: Sequence[int] = sorted({int(word) for word in words.split(",")})
    except ValueError:
        found = ()
    if not found or found[0] < 1 or found[-1] > 1000:
        raise SettingInvalid(
            f"--nodes {words!r}",
            "numbers of nodes with commas between, as in 1,2,4,8",
            "correct it",
        )
    return tuple(found)
