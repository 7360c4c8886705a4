"""Brings up what a job needs (models, Ray, lanes) and runs it in the foreground."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Protocol, Self

from actors.gpu import no_gpu
from actors.models import ModelStore
from actors.pipeline import lane_processes
from actors.toolbox import LaneKit
from cluster.admitting import GpuRoom, network_bytes, require_room
from cluster.executor import Executor
from cluster.failures import as_error
from cluster.gpus import machine_gpus, memory_bytes
from cluster.inline import InlineExecutor
from cluster.layout import choose_layout
from cluster.preparation import Premises, open_desk, settled
from cluster.preparation import record_book as kept_records
from cluster.ray_executor import RayExecutor
from cluster.records import RecordBook
from cluster.service import JobService, Survey
from cluster.session import LOCAL, Session, own_gpus
from cluster.webhook import Webhook, state_facts
from farm.config import Settings
from farm.progress import Display
from farm.rates import RateBook, kind_of, measured
from scheduler.devices import CPU, on_gpu
from scheduler.errors import Cancelled, SettingInvalid
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
    """0: one for each core; of jobs for GPUs one for each GPU."""
    processes: int = 0
    """Of each lane; 0: one."""
    keep: bool = False
    """Keep the job's folder."""
    threads: int = 1
    """Of the networks in each process. Never changes a frame."""
    batch: int = 1
    """Faces that a neural swapper sees at once, a power of two up to 64. Never changes a frame."""
    device: str = CPU
    """That lanes must have: the jobs'."""
    gpus: tuple[str, ...] = ()
    """Numbers or UUIDs of this machine's GPUs that lanes may have; none: all."""
    nvtx: bool = False
    """Name the parts of the work in the time line of NVIDIA's profilers."""
    decoder: str = "ffmpeg"
    """What decodes where frames stay on a GPU."""


def farm_options(settings: Settings) -> FarmOptions:
    """Where a job runs by the settings in force."""
    return FarmOptions(
        address=settings.address or None,
        ray=settings.ray,
        lanes=settings.lanes,
        processes=settings.lane.processes,
        keep=settings.keep,
        device=settings.device,
        gpus=settings.device_ids,
        nvtx=settings.lane.nvtx,
        decoder=settings.lane.decoder,
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
            cache_dir=settings.cache_dir,
            threads=options.threads,
            batch=options.batch,
            nvtx=options.nvtx,
            decoder=options.decoder,
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
            GpuUnavailable: there is no GPU to be had.
            SettingInvalid: GPUs are named where they cannot be chosen.
        """
        options = self._options
        local = Session.address(options.address) == LOCAL
        if options.gpus and not (on_gpu(options.device) and options.ray and local):
            raise SettingInvalid(
                "--device-ids " + " ".join(options.gpus),
                "a --device that is a GPU, on this machine's own Ray",
                "leave it out; a cluster's nodes show what CUDA_VISIBLE_DEVICES says there",
            )
        if not options.ray:
            return InlineExecutor(self._kit)
        if self._session is None:
            gpus = own_gpus(options.gpus) if local and on_gpu(options.device) else ()
            self._session = self._stack.enter_context(Session.open(options.address, gpus=gpus))
        session = self._session
        if on_gpu(options.device) and not any(node.gpus for node in session.nodes()):
            raise no_gpu("no node of the cluster has a GPU that Ray knows of")
        processes = options.processes or 1
        executor = RayExecutor(
            session, self._kit, options.lanes, lane_processes(processes), device=options.device
        )
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
    if on_gpu(options.device):
        return options.lanes or max(len(options.gpus or machine_gpus()), 1)
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


def _gpu_room(job: JobSpec, settings: Settings, options: FarmOptions) -> GpuRoom | None:
    """What the lanes of a job on this machine's GPUs share; None: none, or it is not known."""
    sizes = memory_bytes() if on_gpu(job.device) else {}
    if not sizes or Session.address(options.address) != LOCAL:
        return None
    # A slice (MIG) has less than its GPU; how much, the driver does not say here.
    whole = {gpu.uuid for gpu in machine_gpus() if gpu.uuid == gpu.whole}
    memory = [size for uuid, size in sizes.items() if uuid in whole]
    if not memory:
        return None
    return GpuRoom(
        memory=min(memory),
        lanes=math.ceil((options.lanes or len(memory)) / len(memory)),
        networks=network_bytes(job, ModelStore(settings.cache_dir)),
    )


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
            admit=lambda work: require_room(
                work, kit, local=local, gpu=_gpu_room(job, settings, options)
            ),
        )
        yield service, used
