"""The Ray actor around one process of a lane. It only hosts: the work is in `actors.pipeline`."""

from __future__ import annotations

import os
import socket
import threading
from dataclasses import dataclass
from typing import ClassVar

import ray

from actors.pipeline import Processes, StageReport, StageRun
from actors.threads import limit_threads
from actors.toolbox import LaneKit, Toolbox
from cluster.failures import as_error
from cluster.gpus import seen_bytes
from cluster.metrics import LaneMetrics
from cluster.parcels import unpack
from kernels.warm import warm_up
from scheduler.errors import SwapfarmError
from scheduler.jobs import LaneTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a process of a lane runs."""

    pid: int
    node: str
    """Ray's id of the node."""
    host: str
    """Its name for people."""
    gpus: tuple[str, ...] = ()
    """What CUDA is told that it may see: the names that Ray has for the lane's GPU."""
    gpu_memory: int = 0
    """Bytes of that GPU; 0: there is none, or nobody can tell."""


class StageShell:
    """One process of a lane, one task at a time; answers questions while it works.

    As an actor it needs the concurrency groups ``GROUPS``.
    """

    GROUPS: ClassVar[dict[str, int]] = {"control": 2, "watch": 1}

    def __init__(self, kit: LaneKit, processes: Processes, process: int) -> None:
        limit_threads(kit.threads)
        warm_up()
        self._tools = Toolbox(kit)
        self._metrics = LaneMetrics()
        self._processes = processes
        self._process = process
        self._node: str = ray.get_runtime_context().get_node_id()
        self._run: StageRun | None = None
        self._name = ""
        self._cancelled = ""

    def place(self) -> Place:
        """Answers as soon as the process is up."""
        gpus = ray.get_runtime_context().get_accelerator_ids()["GPU"]
        return Place(
            pid=os.getpid(),
            node=self._node,
            host=socket.gethostname(),
            gpus=tuple(gpus),
            gpu_memory=seen_bytes(gpus) if gpus else 0,
        )

    def run(self, name: str, *parcels: bytes) -> StageReport | SwapfarmError:
        """Does this process's part of a task. Errors come back as values, whole.

        Args:
            name: of the attempt.
            parcels: the `LaneTask`, as ``cluster.parcels`` packs it.
        """
        try:
            task: LaneTask = unpack(parcels)
            self._tools = self._tools.on(task.job.device)
            run = StageRun(task, self._tools, self._processes, self._process, name, node=self._node)
            self._name, self._run = name, run
            if self._cancelled == name:
                run.cancel()  # the word came before the work
            report = run.run()
            frames = report.result.frames if report.result else 0
            self._metrics.add(task.key.partition("/")[0], frames, report.times)
            return report
        except Exception as error:  # noqa: BLE001  (the process's border: nothing may get lost)
            return as_error(error)
        finally:
            self._run = None

    @ray.method(concurrency_group="control")
    def progress(self) -> tuple[int, int]:
        """Frames of the running task that this process is done with, and its signs of life."""
        run = self._run
        return (run.frames, run.beats) if run else (0, 0)

    @ray.method(concurrency_group="control")
    def cancel(self, name: str) -> None:
        """Makes the named attempt end soon, whether it has begun here or not."""
        self._cancelled = name
        run = self._run
        if run is not None and self._name == name:
            run.cancel()

    @ray.method(concurrency_group="watch")
    def watch(self) -> None:
        """Never answers: the call fails at the moment the process dies, also while it is idle."""
        threading.Event().wait()
