"""One lane: a placement group on one node and the processes in it, from their rise to their end.

The frames of a lane lie in the memory of its node, so all of its processes must be there.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any, Final
from uuid import uuid4

import psutil
import ray
from ray.exceptions import RayError
from ray.util import placement_group, placement_group_table, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from actors.lane_files import LaneFiles
from actors.pipeline import Processes, StageReport, merge, row_of
from actors.toolbox import LaneKit
from cluster.failures import root_cause
from cluster.layout import Share
from cluster.parcels import pack
from cluster.shells import Place, StageShell
from scheduler.errors import GpuFailed, LaneDied, SwapfarmError
from scheduler.events import (
    SOME_MEMORY,
    ExecutorEvent,
    LaneLost,
    LaneReady,
    TaskDone,
    TaskFailed,
    TaskProgress,
)
from scheduler.jobs import LaneTask

# A dict, since Ray's annotations do not know concurrency groups.
_OPTIONS: Final[dict[str, Any]] = {
    "concurrency_groups": StageShell.GROUPS,
    "max_restarts": 0,
    "max_task_retries": 0,
}
_Shell: Final[Any] = ray.remote(**_OPTIONS)(StageShell)
GROUPS: Final = "swapfarm-lane-"
"""How the names of lanes' placement groups begin."""
_ASK: Final = 0.4
"""Seconds between two questions for progress."""
_GRACE: Final = 30.0
"""Seconds that processes have to give up a task that has failed, before the lane is killed."""
_DEATH: Final = 5.0
"""Seconds to wait for killed processes to be gone, before their files are removed."""
_NODE_LABEL: Final = "ray.io/node-id"
"""Ray's own label of each node."""


class Lane:
    """The processes of a lane, for one life. When one of them dies all are killed.

    Nothing here waits for Ray, but for the moment after a kill: calls are in flight as ``refs``,
    and whoever waits for them hands each to `settle` when it is done.

    Args:
        number: of the lane.
        kit: settings of the processes.
        processes: the stages that each hosts.
        share: what the lane gets, of which node.
        groups: how the name of its placement group begins.
    """

    def __init__(
        self,
        number: int,
        kit: LaneKit,
        processes: Processes,
        share: Share,
        groups: str = GROUPS,
    ) -> None:
        self.number = number
        self.share = share
        self.lost: SwapfarmError | None = None
        """Why the lane is gone, once it is."""
        self.places: dict[int, Place] = {}
        """Where each process runs; all are there when the lane is ready."""
        self._processes = processes
        self._token = uuid4().hex
        self._task: LaneTask | None = None
        self._reports: dict[int, StageReport | SwapfarmError] = {}
        self._ask_at = self._kill_at = math.inf
        self._calls: dict[Any, tuple[str, int]] = {}
        self._beats: dict[int, int] = {}
        """Signs of life of each process, in the task under way."""

        bundle = {"CPU": share.cpus, "GPU": share.gpus}
        self._group = placement_group(
            [{name: amount for name, amount in bundle.items() if amount}],
            strategy="STRICT_PACK",
            name=f"{groups}{self._token}",
            bundle_label_selector=[{_NODE_LABEL: share.node}],
        )
        strategy = PlacementGroupSchedulingStrategy(self._group, placement_group_bundle_index=0)
        # Processes that share one bundle's GPU all see the same device.
        self._shells = [
            _Shell.options(
                num_cpus=_part(share.cpus, len(processes)),
                num_gpus=_part(share.gpus, len(processes)),
                scheduling_strategy=strategy,
            ).remote(kit, processes, process)
            for process in range(len(processes))
        ]
        for process, shell in enumerate(self._shells):
            self._calls[shell.place.remote()] = ("place", process)
            self._calls[shell.watch.remote()] = ("watch", process)

    @property
    def refs(self) -> list[Any]:
        """The calls in flight."""
        return list(self._calls)

    @property
    def idle(self) -> bool:
        """Up, and without a task."""
        up = self.lost is None and len(self.places) == len(self._shells)
        return up and self._task is None

    @property
    def placed(self) -> bool:
        """Its node has room for it, so that its processes start. Asks Ray."""
        return self.lost is None and placement_group_table(self._group)["state"] == "CREATED"

    def start(self, task: LaneTask, now: float) -> None:
        """Sets all processes that the task needs to work. The lane must be ready and idle."""
        self._task, self._reports, self._beats = task, {}, {}
        parcels = pack(task)
        for process in row_of(self._processes, task):
            call = self._shells[process].run.remote(self._run_name(task), *parcels)
            self._calls[call] = ("run", process)
        self._ask_at = now + _ASK

    def tick(self, now: float) -> list[ExecutorEvent]:
        """Does what is due at a time: asks for progress, ends a lane that does not give up."""
        if now >= self._kill_at:
            return self.end("its processes did not end a failed task")
        if now >= self._ask_at and self._task is not None:
            for process in row_of(self._processes, self._task):
                self._calls[self._shells[process].progress.remote()] = ("progress", process)
            self._ask_at = math.inf
        return []

    def settle(self, ref: Any, now: float) -> list[ExecutorEvent]:
        """Takes the answer of a call that is done."""
        if ref not in self._calls:
            return []  # what was done at the same time has made it void
        kind, process = self._calls.pop(ref)
        try:
            answer = ray.get(ref)
        except RayError as error:
            return self.end(self._obituary(process, error))
        if kind == "place":
            self.places[process] = answer
            if answer.node != self.share.node:
                return self.end(
                    f"its {'+'.join(self._processes[process])} is on node {answer.node}, not on "
                    f"{self.share.node}, where its frames would be"
                )
            complete = len(self.places) == len(self._shells)
            if not complete:
                return []
            return [
                LaneReady(
                    lane=self.number,
                    node=answer.node,
                    host=answer.host,
                    gpu_memory=self._gpu_memory(answer),
                )
            ]
        if kind == "progress" and self._task is not None:
            return self._progressed(self._task, process, answer, now)
        if kind == "run":
            return self._reported(process, answer, now)
        return []

    def _progressed(
        self, task: LaneTask, process: int, answer: tuple[int, int], now: float
    ) -> list[ExecutorEvent]:
        """What one process says. The next question goes out when the last of them has answered:
        a frozen one must not gather a heap of questions."""
        frames, self._beats[process] = answer
        last = row_of(self._processes, task)[-1]
        if all(kind != "progress" for kind, _ in self._calls.values()):
            self._ask_at = now + _ASK
        if process != last:
            return []
        beats = sum(self._beats.values())
        return [TaskProgress(key=task.key, attempt=task.attempt, frames=frames, beats=beats)]

    def stop(self, attempt: int) -> None:
        """Asks for the end of an attempt; TaskFailed follows, unless it is done already."""
        task = self._task
        if task is None or task.attempt != attempt:
            return
        for process in row_of(self._processes, task):
            if process not in self._reports:
                call = self._shells[process].cancel.remote(self._run_name(task))
                self._calls[call] = ("cancel", process)

    def kill(self) -> None:
        """Ends all processes and frees the lane's place; returns when they are gone."""
        for shell in self._shells:
            ray.kill(shell)
        remove_placement_group(self._group)
        watches = [ref for ref, (kind, _) in self._calls.items() if kind == "watch"]
        if watches:
            ray.wait(watches, num_returns=len(watches), timeout=_DEATH)
        self._calls = {}

    def abandon(self, why: str) -> list[ExecutorEvent]:
        """The end of a lane whose Ray is dead: its processes are ended without Ray's help.

        They are of this machine: only a Ray of our own is looked after like this.
        """
        self._calls = {}
        ended = []
        for place in self.places.values():
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(place.pid)
                process.kill()
                ended.append(process)
        psutil.wait_procs(ended, timeout=_DEATH)
        return self._obituaries(why)

    def _reported(
        self, process: int, report: StageReport | SwapfarmError, now: float
    ) -> list[ExecutorEvent]:
        task = self._task
        if task is None:
            return []
        self._reports[process] = report
        row = row_of(self._processes, task)
        failed = isinstance(report, SwapfarmError)
        if failed and self._kill_at == math.inf:
            self._kill_at = now + _GRACE
            for other in row:
                if other not in self._reports:
                    call = self._shells[other].cancel.remote(self._run_name(task))
                    self._calls[call] = ("cancel", other)
        if len(self._reports) < len(row):
            return []
        self._task, self._ask_at, self._kill_at = None, math.inf, math.inf
        # An answer still to come would be taken for the next task's.
        self._calls = {ref: call for ref, call in self._calls.items() if call[0] != "progress"}
        answers = [self._reports[process] for process in row]
        errors = [answer for answer in answers if isinstance(answer, SwapfarmError)]
        if errors:
            LaneFiles(task).remove()
            cause = root_cause(errors)
            told: list[ExecutorEvent] = [self._failure(task, cause)]
            # A context in which a kernel went astray refuses all that is asked of it afterwards.
            return told + self.end("its GPU failed") if isinstance(cause, GpuFailed) else told
        result = merge([answer for answer in answers if isinstance(answer, StageReport)])
        return [TaskDone(key=task.key, attempt=task.attempt, lane=self.number, result=result)]

    def end(self, why: str) -> list[ExecutorEvent]:
        """The end of this life: everything goes, and what was under way has failed."""
        self.kill()
        return self._obituaries(why)

    def _obituaries(self, why: str) -> list[ExecutorEvent]:
        self.lost = LaneDied(
            f"lane {self.number} is gone: {why}",
            "all of its processes alive",
            "nothing, if it happens once: the chunk is tried again; if not, look at the memory",
        )
        events: list[ExecutorEvent] = [LaneLost(lane=self.number, error=self.lost)]
        if self._task is not None:
            LaneFiles(self._task).remove()
            events.insert(0, self._failure(self._task, self.lost))
            self._task = None
        return events

    def _failure(self, task: LaneTask, error: SwapfarmError) -> TaskFailed:
        return TaskFailed(key=task.key, attempt=task.attempt, lane=self.number, error=error)

    def _obituary(self, process: int, error: RayError) -> str:
        place = self.places.get(process)
        who = f"{'+'.join(self._processes[process])} (pid {place.pid if place else 'unknown'})"
        reason = " ".join(str(error).split())
        return f"{who} died: {reason[:400]}"

    def _gpu_memory(self, place: Place) -> int:
        """Of the lane: lanes that share a GPU have a part of it each."""
        if not place.gpus:
            return 0
        return int(place.gpu_memory * self.share.gpus) or SOME_MEMORY

    def _run_name(self, task: LaneTask) -> str:
        return f"{self._token}/{task.key}/{task.attempt}"


def _part(amount: float, processes: int) -> float:
    """What each process of a lane gets. Ray counts in ten-thousandths, and all must fit."""
    return math.floor(amount / processes * 10_000) / 10_000
