"""Lanes go on where they are, and begin apart from each other."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.affinity import LONG, next_render
from scheduler.nodes import LaneSeat
from scheduler.steps import Step
from scheduler.tasks import Task, TaskState


def step_of(chunks: int) -> Step:
    step = Step(job="film", number=0)
    step.begin(waits=False)
    step.tasks["analyse"] = []
    for task in step.plan_renders([(8 * at, 8 * at + 8) for at in range(chunks)]):
        task.state = TaskState.WAITING
    return step


def seat(rendered: tuple[str, int, int] | None = None) -> LaneSeat:
    return LaneSeat(name="lane", node="node", role="frames", life=1, rendered=rendered)


def first_waiting(step: Step) -> Task:
    return next(task for task in step.tasks["render"] if task.state is TaskState.WAITING)


def order(step: Step, lanes: int) -> list[list[int]]:
    """What each lane renders, all chunks taking as long."""
    seats, done = [seat() for _ in range(lanes)], [list[int]() for _ in range(lanes)]
    while any(task.state is TaskState.WAITING for task in step.tasks["render"]):
        given = []
        for at, lane in enumerate(seats):
            if any(task.state is TaskState.WAITING for task in step.tasks["render"]):
                task = next_render(step, first_waiting(step), lane, 0.0)
                task.state = TaskState.RUNNING
                lane.rendered = (task.job, task.step, task.chunk)
                done[at].append(task.chunk)
                given.append(task)
        for task in given:
            task.state = TaskState.DONE
    return done


@pytest.mark.parametrize(
    ("chunks", "lanes", "wanted"),
    [
        (4, 1, [[0, 1, 2, 3]]),
        (4, 2, [[0, 1], [2, 3]]),
        (3, 2, [[0, 1], [2]]),
        (8, 2, [[0, 1, 2, 3], [4, 5, 6, 7]]),
        (2, 4, [[0], [1], [], []]),
        (4, 4, [[0], [2], [1], [3]]),
    ],
)
def test_lanes_share_a_film_in_runs(chunks: int, lanes: int, wanted: list[list[int]]) -> None:
    assert order(step_of(chunks), lanes) == wanted


@given(chunks=st.integers(1, 60), lanes=st.integers(1, 9))
def test_few_chunks_begin_where_nobody_was(chunks: int, lanes: int) -> None:
    done = order(step_of(chunks), lanes)
    assert sorted(chunk for mine in done for chunk in mine) == list(range(chunks))
    begins = sum(
        at == 0 or chunk != mine[at - 1] + 1 for mine in done for at, chunk in enumerate(mine)
    )
    # Who ends his part helps out in another's: in the half that waits, then in its half, ...
    assert begins <= lanes * (1 + max(1, chunks // lanes).bit_length())


def test_what_takes_long_or_has_failed_keeps_its_turn() -> None:
    step = step_of(6)
    renders = step.tasks["render"]
    renders[5].cost = LONG
    assert next_render(step, renders[5], seat(("film", 0, 1)), 0.0) is renders[5]
    renders[5].cost = 1.0
    renders[4].failed_on = ["node"]
    assert next_render(step, renders[4], seat(), 0.0) is renders[4]
    renders[2].state, renders[3].not_before = TaskState.DONE, 9.0
    # 3 must wait and 4 has failed here: of the runs 0 to 1 and 5 the longer begins.
    assert next_render(step, renders[0], seat(("film", 0, 2)), 0.0) is renders[0]
    assert next_render(step, renders[0], seat(("film", 0, 2)), 9.0) is renders[3]


def test_another_film_is_begun_anew() -> None:
    step = step_of(4)
    for last in (("film", 1, 1), ("other", 0, 1)):
        assert next_render(step, step.tasks["render"][0], seat(last), 0.0).chunk == 0


def test_other_tasks_are_left_alone() -> None:
    step = step_of(4)
    look = replace(step.tasks["render"][3], kind="analyse")
    assert next_render(step, look, seat(("film", 0, 0)), 0.0) is look
