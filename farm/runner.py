"""Brings up what a job needs (models, Ray, lanes) and runs it in the foreground."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Protocol, Self

from actors.models import ModelStore
from actors.pipeline import lane_processes
from actors.toolbox import LaneKit
from cluster.admitting import require_room
from cluster.executor import Executor
from cluster.failures import as_error
from cluster.inline import InlineExecutor
from cluster.layout import choose_layout
from cluster.preparation import Premises, open_desk, settled
from cluster.preparation import record_book as kept_records
from cluster.ray_executor import RayExecutor
from cluster.records import RecordBook
from cluster.service import JobService, Survey
from cluster.session import LOCAL, Session
from cluster.webhook import Webhook, state_facts
from farm.config import Settings
from farm.progress import Display
from farm.rates import RateBook, kind_of, measured
from scheduler.errors import Cancelled
from scheduler.failure import Failure
from scheduler.instructions import JobState
from scheduler.jobs import JobSpec, JobSummary
from scheduler.provenance import ModelRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class FarmOptions:
    """Where a job runs. None of it changes a frame."""

    address: str | None = None
    """HOST:PORT of a Ray cluster; None: RAY_ADDRESS, else a private one on this machine."""
    ray: bool = True
    lanes: int = 0
    """0: one for each GPU of the cluster; on nodes without, and here, one for each core."""
    processes: int = 0
    """Of each lane; 0: one."""
    keep: bool = False
    """Keep the job's folder."""
    threads: int = 1
    """Of the networks in each process. Never changes a frame."""
    batch: int = 1
    """Faces that a neural swapper sees at once, a power of two up to 64. Never changes a frame."""


def farm_options(settings: Settings) -> FarmOptions:
    """Where a job runs by the settings in force."""
    return FarmOptions(
        address=settings.address or None,
        ray=settings.ray,
        lanes=settings.lanes,
        processes=settings.lane.processes,
        keep=settings.keep,
    )


class LaneSource(Protocol):
    """Where jobs get their lanes."""

    def open(self, display: Display) -> Executor:
        """Lanes for one job; the caller closes them."""
        ...


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
        processes = options.processes or 1
        executor = RayExecutor(session, self._kit, options.lanes, lane_processes(processes))
        display.event(
            "lanes",
            lanes=executor.lanes,
            nodes=executor.nodes,
            processes=processes,
            local=session.local,
        )
        return executor


def run_job(
    job: JobSpec,
    settings: Settings,
    options: FarmOptions,
    display: Display,
    lanes: LaneSource | None = None,
) -> JobSummary:
    """Run one job to its end in this process and its lanes.

    Args:
        lanes: for several jobs; None: those that ``options`` name, for this one.

    Raises:
        SwapfarmError: why it cannot be finished; nothing of it is left.
    """
    job = settled(job, ModelStore(settings.cache_dir))
    told = telling(job, settings, display)
    with told, _service(job, settings, options, display, lanes) as (service, used):
        summary = replace(service.run(job, keep=options.keep), models=tuple(used))
    here = not options.ray or Session.address(options.address) == LOCAL
    rates = measured(summary, lanes_of(options)) if here else None
    if rates is not None:
        rate_book(settings).add(kind_of(job, summary.crop_size), rates)
    return summary


@contextmanager
def telling(job: JobSpec, settings: Settings, display: Display) -> Iterator[None]:
    """Tell the job's webhooks that it runs, and how it ends."""
    if not job.webhooks:
        yield
        return
    webhook = Webhook(
        settings.state_dir / "webhooks",
        settings.webhooks.secret.get_secret_value(),
        note=lambda sentence: display.event("note", sentence),
    )
    try:
        webhook.tell(job.webhooks, state_facts(job, JobState.RUNNING.value))
        try:
            yield
        except (KeyboardInterrupt, Cancelled):
            webhook.tell(job.webhooks, state_facts(job, JobState.CANCELLED.value))
            raise
        except Exception as error:
            failure = Failure.of(as_error(error))
            webhook.tell(job.webhooks, state_facts(job, JobState.FAILED.value, failure))
            raise
        webhook.tell(job.webhooks, state_facts(job, JobState.COMPLETED.value))
    finally:
        webhook.close()


def rate_book(settings: Settings) -> RateBook:
    """What this machine has been measured to do."""
    return RateBook(settings.state_dir / "rates.json")


def premises(settings: Settings) -> Premises:
    """Where a service finds things and keeps them by the settings in force."""
    return Premises(
        cache_dir=settings.cache_dir,
        state_dir=settings.state_dir,
        analysis_bytes=int(settings.analysis_gb * 1e9),
        report_bytes=int(settings.report_gb * 1e9),
        license_policy=settings.license_policy,
        certificates=settings.credentials.certificates,
        key=settings.credentials.key,
    )


def record_book(settings: Settings) -> RecordBook:
    """What the last jobs left behind for reports."""
    return kept_records(premises(settings))


def lanes_of(options: FarmOptions) -> int:
    """How many lanes a job gets on this machine, without asking Ray."""
    if not options.ray:
        return 1
    return choose_layout(len(os.sched_getaffinity(0)), lanes=options.lanes)[0]


def survey_job(
    job: JobSpec,
    settings: Settings,
    options: FarmOptions,
    display: Display,
    lanes: LaneSource | None = None,
) -> Survey:
    """Analyse a job's film and find out what there is to do, and render nothing.

    Args:
        lanes: as for `run_job`.

    Raises:
        SwapfarmError: why that is not possible; nothing of it is left.
    """
    job = settled(job, ModelStore(settings.cache_dir))
    with _service(job, settings, options, display, lanes) as (service, _):
        return service.survey(job)


@contextmanager
def _service(
    job: JobSpec,
    settings: Settings,
    options: FarmOptions,
    display: Display,
    lanes: LaneSource | None = None,
) -> Iterator[tuple[JobService, list[ModelRecord]]]:
    """The job's service, and the models that it uses: known once its sources are checked."""
    kit = LaneKit(cache_dir=settings.cache_dir)

    def say(event: str, message: str, /, **facts: str) -> None:
        display.event(event, message, **facts)

    desk, used = open_desk(job, premises(settings), kit, say)
    local = not options.ray or Session.address(options.address) == LOCAL
    with ExitStack() as stack:
        ours = lanes or stack.enter_context(Lanes(settings, options))
        service = JobService(
            open_executor=lambda: ours.open(display),
            check_sources=desk.check_sources,
            watch=display.update,
            note=desk.note,
            marking=desk.marking,
            embed_references=desk.embed_references,
            classify_source=desk.classify_source,
            analyses=desk.analyses,
            records=desk.records,
            sign=desk.sign,
            admit=lambda work: require_room(work, kit, local=local),
        )
        yield service, used
