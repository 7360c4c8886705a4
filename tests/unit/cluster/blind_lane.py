"""A real lane in this process that needs no model: it cannot look for faces, only pass frames."""

from __future__ import annotations

from actors.toolbox import LaneKit, Toolbox
from cluster.inline import InlineExecutor
from scheduler.errors import LaneError
from scheduler.events import ExecutorEvent, TaskFailed
from scheduler.jobs import AnalyseTask, LaneTask


class BlindLane(InlineExecutor):
    """Fails whenever it is to look for faces."""

    def __init__(self, kit: LaneKit, tools: Toolbox | None = None) -> None:
        super().__init__(kit, tools)
        self.refused: list[ExecutorEvent] = []

    def start(self, task: LaneTask, lane: int) -> None:
        if isinstance(task, AnalyseTask) and not task.passthrough:
            error = LaneError("it is dark", "light", "wait")
            self.refused.append(
                TaskFailed(key=task.key, attempt=task.attempt, lane=lane, error=error)
            )
        else:
            super().start(task, lane)

    def poll(self, timeout: float) -> list[ExecutorEvent]:
        refused, self.refused = self.refused, []
        return refused or super().poll(timeout)
