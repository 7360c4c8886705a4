"""Which chunk a lane renders next: best the one after its last.

The filters of a chunk settle on the frames before it. A lane that has rendered these has their
swapped faces still (``actors.swap_memory``), any other lane swaps them again. So a lane goes on
where it is, and one that cannot begins in the middle of what waits, where nobody comes so soon.
"""

from __future__ import annotations

from typing import Final

from scheduler.nodes import LaneSeat
from scheduler.steps import Step
from scheduler.tasks import Task, TaskState

LONG: Final = 1.7
"""A chunk of so many times the usual cost takes long: it begins first, wherever it lies."""


def next_render(step: Step, turn: Task, seat: LaneSeat, now: float) -> Task:
    """The render that a lane is given.

    Args:
        turn: the render whose turn it is, if no lane were better for one than for another.
        seat: the lane.
    """
    renders = step.tasks["render"]
    if turn.kind != "render" or turn.cost >= LONG or turn.failed_on:
        return turn
    if seat.rendered is not None and seat.rendered[:2] == (turn.job, turn.step):
        following = seat.rendered[2] + 1
        if following < len(renders) and _free(renders[following], now):
            return renders[following]
    return _apart(renders, now) or turn


def _apart(renders: list[Task], now: float) -> Task | None:
    """Where the longest run of free renders begins, or its middle if a lane is on its way there."""
    first, length, begin = 0, 0, None
    for at, task in enumerate(renders):
        if not _free(task, now):
            begin = None
            continue
        begin = at if begin is None else begin
        if at + 1 - begin > length:
            first, length = begin, at + 1 - begin
    if not length:
        return None
    led = first > 0 and renders[first - 1].state is TaskState.RUNNING
    return renders[first + length // 2] if led else renders[first]


def _free(task: Task, now: float) -> bool:
    return (
        task.state is TaskState.WAITING
        and task.not_before <= now
        and task.cost < LONG
        and not task.failed_on
    )
