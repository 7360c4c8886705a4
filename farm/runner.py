"""Brings up what a job needs (models, Ray, lanes) and runs it in the foreground."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version

from actors.models import ModelStore
from actors.pipeline import lane_processes
from actors.sources import load_sources
from actors.toolbox import EMBEDDED, HANDS, LaneKit, Toolbox
from cluster.executor import Executor
from cluster.inline import InlineExecutor
from cluster.layout import choose_layout
from cluster.ray_executor import RayExecutor
from cluster.service import JobService
from cluster.session import Session
from farm.config import Settings
from farm.progress import Display
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
    store = ModelStore(settings.cache_dir)
    kit = LaneKit(cache_dir=settings.cache_dir)
    tools = Toolbox(kit)

    def check_sources(spec: JobSpec) -> None:
        for name in EMBEDDED if spec.occlusion else (n for n in EMBEDDED if n not in HANDS):
            if not store.present(name):
                display.event("model", f"fetching {name}", model=name)
            store.path(name)
        load_sources(spec.swap, tools.detector, tools.landmarker, tools.kernels)

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

        service = JobService(
            open_executor=open_executor,
            check_sources=check_sources,
            watch=display.update,
            note=lambda sentence: display.event("note", sentence),
            marking=marking(job),
        )
        return service.run(job, keep=options.keep)
