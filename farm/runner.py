"""Brings up what a job needs (models, Ray, lanes) and runs it in the foreground."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from actors.face_networks import (
    CLASSIFIER,
    RECOGNIZERS,
    analysis_models,
    check_faces,
    models_of,
    portrait_models,
    readers_of,
)
from actors.fingerprint import analysis_fingerprint
from actors.inference.networks import resolve_precision
from actors.licences import check_licences, model_records
from actors.models import ModelStore
from actors.pipeline import lane_processes
from actors.sources import classify_sources, embed_pictures, load_sources
from actors.swap_needs import MESH_SWAPPER, check_swap, swap_models
from actors.toolbox import EMBEDDED, HANDS, LaneKit, Toolbox
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
from scheduler.classes import FaceClass
from scheduler.jobs import JobSpec, JobSummary
from scheduler.provenance import ModelRecord


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
    threads: int = 1
    """Of the networks in each process. Never changes a frame."""
    batch: int = 1
    """Faces that a neural swapper sees at once, a power of two up to 64. Never changes a frame."""
    license_policy: str = "any"
    """Which models may be used: any, or commercial."""


def farm_options(settings: Settings) -> FarmOptions:
    """Where a job runs by the settings in force."""
    return FarmOptions(
        address=settings.address or None,
        ray=settings.ray,
        lanes=settings.lanes,
        processes=settings.lane.processes,
        keep=settings.keep,
        license_policy=settings.license_policy,
    )


def marking(job: JobSpec, models: Sequence[ModelRecord] = ()) -> dict[str, str]:
    """Container metadata that says, to people and to programs, that faces were altered.

    Args:
        models: those that the job uses.
    """
    program = f"swapfarm {version('swapfarm')}"
    kind = "picture" if job.still else "video"
    facts: dict[str, object] = {
        "altered": "faces",
        "program": program,
        "swapper": job.swap.model,
        "job": job.job_id,
    }
    facts["models"] = [
        {"name": each.name, "sha256": each.sha256, "licence": each.licence} for each in models
    ]
    standins = [each.name for each in models if each.standin]
    if standins:
        facts["standins"] = standins
    comment = f"Faces in this {kind} were altered by {program} (swapper: {job.swap.model})."
    if standins:
        comment += f" Made with stand-ins that know no faces: {', '.join(standins)}."
    return {
        "comment": comment,
        "swapfarm": json.dumps(facts, sort_keys=True),
    }


class Lanes:
    """Brings lanes up for one job after the other. A Ray session stays until all are done.

    Args:
        settings: where models are.
        options: where jobs run.
    """

    def __init__(self, settings: Settings, options: FarmOptions) -> None:
        self._kit = LaneKit(
            cache_dir=settings.cache_dir, threads=options.threads, batch=options.batch
        )
        self._options = options
        self._stack = ExitStack()
        self._session: Session | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def open(self, display: Display) -> Executor:
        """Lanes for one job; the caller closes them.

        Raises:
            ClusterUnreachable: there is no Ray to be had.
        """
        options = self._options
        if not options.ray:
            return InlineExecutor(self._kit)
        if self._session is None:
            self._session = self._stack.enter_context(Session.open(options.address))
        session = self._session
        lanes, processes = choose_layout(
            session.cpus, lanes=options.lanes, processes=options.processes
        )
        display.event("lanes", lanes=lanes, processes=processes, local=session.local)
        return RayExecutor(session, self._kit, lanes, lane_processes(processes))


def run_job(
    job: JobSpec,
    settings: Settings,
    options: FarmOptions,
    display: Display,
    lanes: Lanes | None = None,
) -> JobSummary:
    """Run one job to its end in this process and its lanes.

    Args:
        lanes: for several jobs; None: those that ``options`` name, for this one.

    Raises:
        SwapfarmError: why it cannot be finished; nothing of it is left.
    """
    job = _settled(job, settings)
    with _service(job, settings, options, display, lanes) as (service, used):
        summary = replace(service.run(job, keep=options.keep), models=tuple(used))
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
    job = _settled(job, settings)
    with _service(job, settings, options, display) as (service, _):
        return service.survey(job)


def _settled(job: JobSpec, settings: Settings) -> JobSpec:
    """A job whose precision no lane has to choose."""
    check_swap(job.swap)
    check_faces(job)
    store = ModelStore(settings.cache_dir)
    swappers = () if job.swap.model == MESH_SWAPPER else (job.swap.model,)
    enhancer, landmarker = job.swap.enhancer, job.analysis.landmarker
    enhancers = (enhancer.model,) if enhancer.model else ()
    swap = replace(
        job.swap,
        precision=resolve_precision(store, swappers, job.swap.precision),
        enhancer=replace(
            enhancer, precision=resolve_precision(store, enhancers, enhancer.precision)
        ),
    )
    points = resolve_precision(store, readers_of(landmarker), landmarker.precision)
    analysis = replace(job.analysis, landmarker=replace(landmarker, precision=points))
    return replace(job, swap=swap, analysis=analysis)


@contextmanager
def _service(
    job: JobSpec,
    settings: Settings,
    options: FarmOptions,
    display: Display,
    lanes: Lanes | None = None,
) -> Iterator[tuple[JobService, list[ModelRecord]]]:
    """The job's service, and the models that it uses: known once its sources are checked."""
    store = ModelStore(settings.cache_dir)
    kit = LaneKit(cache_dir=settings.cache_dir)
    tools = Toolbox(kit)
    unused = () if job.occlusion else HANDS
    models = [name for name in EMBEDDED if name not in unused]
    models += [*models_of(job), *swap_models(job.swap)]
    models = list(dict.fromkeys(models))
    check_licences(models, options.license_policy, store.registry)
    marks, used = marking(job), list[ModelRecord]()

    def check_sources(spec: JobSpec) -> None:
        for name in models:
            if not store.present(name):
                why = " (to tell people apart)" if name in portrait_models(job.portraits) else ""
                display.event("model", f"fetching {name}{why}", model=name)
            store.path(name)
            if store.registry[name].standin:
                display.event("note", f"{name} is a stand-in: it knows no faces", model=name)
        used.extend(model_records(models, store))
        marks.update(marking(job, used))  # with hashes that are known only now
        for person, pictures in enumerate(spec.swap.people):
            if pictures:
                load_sources(spec.swap, tools.detector, tools.landmarker, tools.kernels, person)
        if spec.faces.references:
            embed_references(spec)

    def embed_references(spec: JobSpec) -> NDArray[np.float64]:
        return embed_pictures(
            spec.faces.references,
            tools.embedder(spec.recognizer),
            tools.detector_for(spec.analysis.detector),
            tools.landmarker_for(spec.analysis.landmarker),
            tools.kernels,
        )

    def classify_source(spec: JobSpec) -> FaceClass:
        sources = load_sources(spec.swap, tools.detector, tools.landmarker, tools.kernels)
        return classify_sources(sources, tools.classifier, tools.kernels)

    analyses = None
    if settings.analysis_gb:
        analyses = AnalysisCache(
            settings.cache_dir / "analysis",
            int(settings.analysis_gb * 1e9),
            analysis_fingerprint(
                store.registry,
                (*analysis_models(job.analysis), *HANDS, *RECOGNIZERS.values(), CLASSIFIER),
            ),
        )
    with ExitStack() as stack:
        ours = lanes or stack.enter_context(Lanes(settings, options))
        service = JobService(
            open_executor=lambda: ours.open(display),
            check_sources=check_sources,
            watch=display.update,
            note=lambda sentence: display.event("note", sentence),
            marking=marks,
            embed_references=embed_references,
            classify_source=classify_source,
            analyses=analyses,
            records=record_book(settings) if settings.report_gb else None,
        )
        yield service, used
