"""Brings up what a job needs (models, Ray, lanes) and runs it in the foreground."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from actors.fingerprint import analysis_fingerprint
from actors.models import ModelStore
from actors.pipeline import lane_processes
from actors.sources import embed_pictures, load_sources
from actors.toolbox import EMBEDDED, HANDS, RECOGNIZER, LaneKit, Toolbox
from cluster.analyses import AnalysisCache
from cluster.executor import Executor
from cluster.inline import InlineExecutor
from cluster.layout import choose_layout
from cluster.ray_executor import RayExecutor
from cluster.records import RecordBook
from cluster.service import JobService, Survey
from cluster.session import Session
from farm.config import Settings
from farm.progress import Display
from farm.rates import RateBook, kind_of, measured
from scheduler.jobs import JobSpec, JobSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class FarmOptions:
    """Where a job runs. None of it changes a frame."""

    address: str | None = None
    """HOST:PORT of a Ray cluster; None: RAY_ADDRESS, else a private one on this machine."""
    ray: bool = True
    lanes: int = 0
    """0: by the cores."""
    processes: int = 0
    """Of each lane; 0: by the cores."""
    keep: bool = False
    """Keep the job's folder."""


def marking(job: JobSpec) -> dict[str, str]:
    """Container metadata that says, to people and to programs, that faces were altered."""
    program = f"swapfarm {version('swapfarm')}"
    facts = {"altered": "faces", "program": program, "swapper": job.swap.model, "job": job.job_id}
    return {
        "comment": f"Faces in this video were altered by {program} (swapper: {job.swap.model}).",
        "swapfarm": json.dumps(facts, sort_keys=True),
    }


def run_job(job: JobSpec, settings: Settings, options: FarmOptions, display: Display) -> JobSummary:
    """Run one job to its end in this process and its lanes.

    Raises:
        SwapfarmError: why it cannot be finished; nothing of it is left.
    """
    with _service(job, settings, options, display) as service:
        summary = service.run(job, keep=options.keep)
    rates = measured(summary, lanes_of(options))
    if rates is not None:
        rate_book(settings).add(kind_of(job, summary.crop_size), rates)
    return summary


def rate_book(settings: Settings) -> RateBook:
    """What this machine has been measured to do."""
    return RateBook(settings.state_dir / "rates.json")


def record_book(settings: Settings) -> RecordBook:
    """What the last jobs left behind for reports."""
    return RecordBook(settings.state_dir / "reports", int(settings.report_gb * 1e9))


def lanes_of(options: FarmOptions) -> int:
    """How many lanes a job gets on this machine, without asking Ray."""
    if not options.ray:
        return 1
    return choose_layout(len(os.sched_getaffinity(0)), lanes=options.lanes)[0]


def survey_job(job: JobSpec, settings: Settings, options: FarmOptions, display: Display) -> Survey:
    """Analyse a job's film and find out what there is to do, and render nothing.

    Raises:
        SwapfarmError: why that is not possible; nothing of it is left.
    """
    with _service(job, settings, options, display) as service:
        return service.survey(job)


@contextmanager
def _service(
    job: JobSpec, settings: Settings, options: FarmOptions, display: Display
) -> Iterator[JobService]:
    store = ModelStore(settings.cache_dir)
    kit = LaneKit(cache_dir=settings.cache_dir)
    tools = Toolbox(kit)
    unused = () if job.occlusion else HANDS
    models = [name for name in EMBEDDED if name not in unused]
    if job.identities:
        models.append(RECOGNIZER)

    def check_sources(spec: JobSpec) -> None:
        for name in models:
            if not store.present(name):
                why = " (to tell people apart)" if name == RECOGNIZER else ""
                display.event("model", f"fetching {name}{why}", model=name)
            store.path(name)
        for person, pictures in enumerate(spec.swap.people):
            if pictures:
                load_sources(spec.swap, tools.detector, tools.landmarker, tools.kernels, person)
        if spec.faces.references:
            embed_references(spec)

    def embed_references(spec: JobSpec) -> NDArray[np.float64]:
        return embed_pictures(
            spec.faces.references,
            tools.recognizer,
            tools.detector,
            tools.landmarker,
            tools.kernels,
        )

    analyses = None
    if settings.analysis_gb:
        analyses = AnalysisCache(
            settings.cache_dir / "analysis",
            int(settings.analysis_gb * 1e9),
            analysis_fingerprint(store.registry, (*EMBEDDED, RECOGNIZER)),
        )
    with ExitStack() as stack:

        def open_executor() -> Executor:
            if not options.ray:
                return InlineExecutor(kit)
            session = stack.enter_context(Session.open(options.address))
            lanes, processes = choose_layout(
                session.cpus, lanes=options.lanes, processes=options.processes
            )
            display.event("lanes", lanes=lanes, processes=processes, local=session.local)
            return RayExecutor(session, kit, lanes, lane_processes(processes))

        yield JobService(
            open_executor=open_executor,
            check_sources=check_sources,
            watch=display.update,
            note=lambda sentence: display.event("note", sentence),
            marking=marking(job),
            embed_references=embed_references,
            analyses=analyses,
            records=record_book(settings) if settings.report_gb else None,
        )
