"""One task in one process of a lane: the stages that it hosts, between its links."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Final

from actors import device_stages, stages
from actors.device_frames import DeviceFrame
from actors.device_lane import DeviceLane
from actors.formats import picture_format
from actors.frames import SlotLayout
from actors.stages import Outcome
from actors.toolbox import Toolbox
from actors.transport.chain import Chain
from actors.transport.cuda_ipc import CudaRing
from actors.transport.shm import Ring, host_ring
from actors.transport.slots import Credits, OpenRing, SlotRing
from scheduler.jobs import AnalyseTask, Analysis, LaneTask, RenderTask, Segment
from scheduler.timing import WAITING, Spent, added, cpu_by_stage

STAGES: Final = ("decoder", "detector", "swapper", "compositor", "encoder")
ANALYSIS: Final = ("decoder", "detector")
RENDER: Final = ("decoder", "swapper", "compositor", "encoder")

Processes = tuple[tuple[str, ...], ...]
"""The stages that each process of a lane hosts, in the order of ``STAGES``."""

_CUTS: Final[dict[int, Processes]] = {
    1: (STAGES,),
    2: (("decoder", "detector", "swapper"), ("compositor", "encoder")),
    3: (("decoder", "detector"), ("swapper",), ("compositor", "encoder")),
    4: (("decoder", "detector"), ("swapper",), ("compositor",), ("encoder",)),
    5: tuple((stage,) for stage in STAGES),
}


def lane_processes(count: int) -> Processes:
    """The five stages shared out to ``count`` processes (1 to 5), evenly by their usual cost."""
    return _CUTS[count]


def stages_of(task: LaneTask) -> tuple[str, ...]:
    """The stages that have something to do for a task."""
    return ANALYSIS if isinstance(task, AnalyseTask) else RENDER


def row_of(processes: Processes, task: LaneTask) -> tuple[int, ...]:
    """The processes that take part in a task, in the order in which frames pass them."""
    active = stages_of(task)
    return tuple(
        number for number, hosted in enumerate(processes) if any(s in active for s in hosted)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StageReport:
    """What one process has to tell of a task that it has finished."""

    times: Mapping[str, Spent]
    """By stage and by part of a stage, and what was waited for neighbours."""
    result: Analysis | Segment | None
    masks_path: str

    @property
    def cpu_ms(self) -> dict[str, float]:
        """CPU milliseconds by stage, waiting left out."""
        return cpu_by_stage(self.times)


def merge(reports: Sequence[StageReport]) -> Analysis | Segment:
    """The result of a task from the reports of all processes that took part, in their order."""
    (result,) = (report.result for report in reports if report.result is not None)
    times = added(report.times for report in reports)
    if isinstance(result, Analysis):
        return replace(result, times=times)
    masks_path = "".join(report.masks_path for report in reports)
    return replace(result, times=times, masks_path=masks_path)


class StageRun:
    """Runs the stages of one process for one task.

    Args:
        task: what to do.
        tools: the process's own.
        processes: of the lane.
        process: the number of this one.
        name: of this attempt on this lane, unique on the machine while it runs.
        node: of the cluster that the process is on; frames are passed on within it only.
    """

    def __init__(
        self,
        task: LaneTask,
        tools: Toolbox,
        processes: Processes,
        process: int,
        name: str,
        *,
        node: str = "",
    ) -> None:
        row = row_of(processes, task)
        self._task = task
        self._tools = tools
        self._hosted = tuple(s for s in processes[process] if s in stages_of(task))
        self._chain = Chain(
            name,
            row.index(process),
            len(row),
            patience=tools.kit.patience,
            node=node,
            open_ring=self._open_ring,
        )
        self._outcome = Outcome()

    @property
    def frames(self) -> int:
        """Frames of the chunk that this process is done with. May be read by any thread."""
        return self._outcome.frames

    @property
    def beats(self) -> int:
        """Signs of life so far; 0 while tools are loaded. May be read by any thread."""
        return self._outcome.beats

    def run(self) -> StageReport:
        """Works the task off.

        Raises:
            LinkClosed: another process of the lane gave up; its error is the cause.
            Cancelled: `cancel` was called.
            SwapfarmError: a stage of this process cannot go on.
        """
        for _ in self.steps():
            continue
        return self.report()

    def steps(self) -> Iterator[None]:
        """As `run`, one frame at a time; the `report` is there when it is exhausted."""
        chunk = self._task.chunk
        self._tools.profiler.take()  # what a task that failed has left
        with self._chain as chain, ExitStack() as open_stages:
            ring = chain.open(self._make_ring)
            frames: Iterator[Any] = iter(())
            if chain.first:
                ring.credits = self._waited(ring.credits)
            else:
                frames = self._metered(WAITING, chain.frames())
            for stage in self._hosted:
                frames = self._metered(stage, self._stage(stage, frames, ring))
                # An early end reaches each stage, the last one first, so that it can clean up.
                open_stages.callback(frames.close)
            for frame in frames:
                inside = chunk.start <= frame.handle.frame_index < chunk.stop
                chain.pass_on(frame)
                self._outcome.frames += inside
                yield
            chain.end()

    def report(self) -> StageReport:
        """What was done, once all is done."""
        return StageReport(
            times=self._tools.profiler.take(),
            result=self._outcome.result,
            masks_path=self._outcome.masks_path,
        )

    def cancel(self) -> None:
        """Makes `run` end soon with Cancelled or LinkClosed. May be called by any thread."""
        self._chain.cancel()

    def _make_ring(self) -> SlotRing[Any]:
        task = self._task
        slots = stages.slots_needed(task, self._tools.kit)
        lane = self._tools.device_lane(task)
        if isinstance(task, RenderTask) and lane is not None:
            return lane.ring(task, slots)
        faces, crop_size = (task.faces, task.crop_size) if isinstance(task, RenderTask) else (0, 0)
        layout = SlotLayout(format=picture_format(task.index), faces=faces, crop_size=crop_size)
        return Ring.create(layout, slots)

    def _open_ring(self, hello: dict[str, Any], descriptors: list[int]) -> SlotRing[Any]:
        lane = self._tools.device_lane(self._task)
        opens: OpenRing = host_ring if lane is None else lane.arenas.open
        return opens(hello, descriptors)

    def _stage(self, stage: str, frames: Iterator[Any], ring: Any) -> Iterator[Any]:
        task, tools, outcome = self._task, self._tools, self._outcome
        lane = tools.device_lane(task)
        if isinstance(task, RenderTask) and lane is not None:
            return self._device_stage(task, lane, stage, frames, ring)
        if stage == "decoder":
            return stages.decoder(task, ring)
        if isinstance(task, AnalyseTask):
            return stages.detector(task, frames, tools, outcome)
        if stage == "swapper":
            return stages.swapper(task, frames, tools, outcome)
        if stage == "compositor":
            return stages.compositor(task, frames, tools, outcome)
        return stages.encoder(task, frames, outcome)

    def _device_stage(
        self,
        task: RenderTask,
        lane: DeviceLane,
        stage: str,
        frames: Iterator[DeviceFrame],
        ring: CudaRing,
    ) -> Iterator[DeviceFrame]:
        tools, outcome = self._tools, self._outcome
        if stage == "decoder":
            return device_stages.decoder(task, lane, ring)
        if stage == "swapper":
            return device_stages.swapper(task, frames, tools, lane, outcome)
        if stage == "compositor":
            return device_stages.compositor(task, frames, tools, lane, outcome)
        return device_stages.encoder(task, frames, lane, outcome)

    def _metered(self, stage: str, frames: Iterator[Any]) -> Generator[Any, None, None]:
        """A stage asks those before it for frames within its own time: theirs is left out of it."""
        profiler = self._tools.profiler
        while True:
            with profiler.span(stage):
                try:
                    frame = next(frames)
                except StopIteration:
                    return
            self._outcome.beat()
            yield frame

    def _waited(self, credits: Credits) -> Credits:
        def wait() -> Iterable[int]:
            with self._tools.profiler.span(WAITING):
                return credits()

        return wait
