"""One lane in this very process, without Ray: for tests and for a look inside."""

from __future__ import annotations

import time
from collections.abc import Iterator

from actors.lane_files import LaneFiles
from actors.pipeline import StageRun, lane_processes, merge
from actors.threads import limit_threads
from actors.toolbox import LaneKit, Toolbox
from cluster.failures import as_error
from kernels.warm import warm_up
from scheduler.errors import Cancelled
from scheduler.events import (
    SOME_MEMORY,
    ExecutorEvent,
    LaneReady,
    TaskDone,
    TaskFailed,
    TaskProgress,
)
from scheduler.jobs import Analysis, LaneTask, Segment


class InlineExecutor:
    """An `Executor` whose `poll` does the work, frame by frame, until its time is up.

    Args:
        kit: settings of the lane.
        tools: to work with; None: new ones.
    """

    def __init__(self, kit: LaneKit, tools: Toolbox | None = None) -> None:
        limit_threads(kit.threads)
        warm_up()
        self._tools = tools or Toolbox(kit)
        self._told = False
        self._gone: list[ExecutorEvent] = []
        self._task: LaneTask | None = None
        self._run: StageRun | None = None
        self._steps: Iterator[None] = iter(())

    @property
    def lanes(self) -> int:
        return 1

    def run(self, task: LaneTask) -> Analysis | Segment:
        """Do one task from its start to its end, for who has nothing else to do meanwhile.

        Raises:
            SwapfarmError: the task failed; nothing of it is left.
        """
        self.start(task, 0)
        while True:
            for event in self.poll(1.0):
                if isinstance(event, TaskFailed):
                    raise event.error
                if isinstance(event, TaskDone):
                    return event.result

    def start(self, task: LaneTask, lane: int) -> None:
        self._task = task
        self._tools = self._tools.on(task.job.device)
        self._run = StageRun(task, self._tools, lane_processes(1), 0, task.key)
        self._steps = self._run.steps()

    def stop(self, lane: int, attempt: int) -> None:
        task = self._task
        if task is not None and task.attempt == attempt:
            self._drop()
            error = Cancelled("the task was given up", "time to finish", "nothing: it was asked")
            self._gone.append(TaskFailed(key=task.key, attempt=attempt, lane=lane, error=error))

    def kill(self, lane: int, why: str) -> None:
        """Drops the task under way. A frame that hangs cannot be ended from its own process."""
        self._drop()
        self._told = False

    def poll(self, timeout: float) -> list[ExecutorEvent]:
        events, self._gone = self._gone, []
        if not self._told:
            self._told = True
            # Whatever GPU there is, is its own.
            events.append(LaneReady(lane=0, gpu_memory=SOME_MEMORY))
        task, run = self._task, self._run
        if task is None or run is None:
            if not events:
                time.sleep(timeout)
            return events
        until = time.monotonic() + timeout
        try:
            for _ in self._steps:
                if time.monotonic() >= until:
                    break
            else:
                self._task = self._run = None
                result = merge([run.report()])
                done = TaskDone(key=task.key, attempt=task.attempt, lane=0, result=result)
                return [*events, done]
        except Exception as error:  # noqa: BLE001  (as at a lane's border: nothing may get lost)
            self._task = self._run = None
            LaneFiles(task).remove()
            failed = TaskFailed(key=task.key, attempt=task.attempt, lane=0, error=as_error(error))
            return [*events, failed]
        return [*events, self._progress(task, run)]

    def _progress(self, task: LaneTask, run: StageRun) -> TaskProgress:
        return TaskProgress(key=task.key, attempt=task.attempt, frames=run.frames, beats=run.beats)

    def close(self) -> None:
        """Drops the task under way and removes its files."""
        self._drop()

    def _drop(self) -> None:
        task, self._task, self._run = self._task, None, None
        self._steps = iter(())
        if task is not None:
            LaneFiles(task).remove()
