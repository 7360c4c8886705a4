"""Tasks onto idle lanes: whose turn it is, then the lane that fits; then stragglers anew."""

from __future__ import annotations

from typing import Final

from scheduler.affinity import next_render
from scheduler.board import Board
from scheduler.farm_state import FarmState
from scheduler.history import Needs
from scheduler.instructions import Instruction, JobChanged, JobState, Start
from scheduler.leases import Lease
from scheduler.nodes import LaneSeat
from scheduler.retries import Rules
from scheduler.standing import Job
from scheduler.tasks import Role, Task, TaskState

_NOTHING: Final = Needs()
_UNKNOWN: Final = 0.05
"""Seconds a frame, for the user's account, before any chunk of the kind was done."""


def assign(state: FarmState, board: Board, rules: Rules, now: float) -> list[Instruction]:
    """Give out what can be given out."""
    out: list[Instruction] = []
    for role in board.pools:
        _serve(state, board, rules, now, role, out)
    if board.stragglers and board.pools["frames"]:
        _repeat(state, board, rules, now, out)
    return out


def _serve(
    state: FarmState,
    board: Board,
    rules: Rules,
    now: float,
    role: Role,
    out: list[Instruction],
) -> None:
    pool, queue = board.pools[role], board.queues[role]
    unplaceable: set[str] = set()
    while pool and queue:
        for name in queue.walk(state.accounts):
            if name in unplaceable:
                continue
            job = state.jobs[name]
            found = _match(board, job, role, now)
            if found:
                _start(state, board, rules, now, job, *found, out)
                break
            unplaceable.add(name)
        else:
            return


def _match(board: Board, job: Job, role: Role, now: float) -> tuple[Task, LaneSeat] | None:
    needs, pool = job.terms.needs, board.pools[role]
    if role == "frames" and pool.fitting(needs) is None:
        return None
    for task in board.candidates(job, role):
        avoid = task.failed_on if now < task.avoid_until else ()
        seat = pool.fitting(needs, avoid) if role == "frames" else pool.fitting(_NOTHING, avoid)
        if seat is not None:
            return next_render(job.steps[task.step], task, seat, now), seat
    return None


def _repeat(
    state: FarmState, board: Board, rules: Rules, now: float, out: list[Instruction]
) -> None:
    """Second attempts, on other nodes, for jobs that have nothing else to begin."""
    for number in sorted(board.stragglers):
        lease = state.book.open.get(number)
        if lease is None or lease.stopping is not None:
            board.stragglers.discard(number)
            continue
        job, task = state.jobs[lease.job], state.task_of(lease)
        if (
            task.failures >= job.terms.attempts
            or len(task.leases) > 1
            or not job.works
            or job.full
            or board.has_ready(job, "frames")
        ):
            continue
        avoid = {lease.node, *task.failed_on}
        seat = board.pools["frames"].fitting(job.terms.needs, avoid)
        if seat is not None:
            _start(state, board, rules, now, job, task, seat, out)
        if not board.pools["frames"]:
            return


def _start(
    state: FarmState,
    board: Board,
    rules: Rules,
    now: float,
    job: Job,
    task: Task,
    seat: LaneSeat,
    out: list[Instruction],
) -> None:
    pace = state.pace_of(job, task.kind)
    usual = pace.median()
    lease = Lease(
        number=state.book.number(),
        job=job.id,
        step=task.step,
        kind=task.kind,
        chunk=task.chunk,
        frames=task.frames,
        cost=task.cost,
        role=task.role,
        lane=seat.name,
        node=seat.node,
        since=now,
        moved=now,
        patience=rules.patience_growth**task.failures,
        second=bool(task.leases),
    )
    state.book.open[lease.number] = lease
    task.state = TaskState.RUNNING
    task.tries += 1
    task.leases.append(lease.number)
    job.leases.append(lease.number)
    board.pools[seat.role].drop(seat)
    seat.state, seat.lease = "busy", lease.number
    if task.kind == "render":
        seat.rendered = job.id, task.step, task.chunk
    if task.role == "frames":
        job.running += 1
        lease.charge = task.frames * task.cost * (_UNKNOWN if usual is None else usual)
        state.accounts.charge(job.terms.user, lease.charge)
    board.watch(lease, min(lease.hangs_at(pace, rules), lease.straggles_at(pace, rules)))
    if job.state is JobState.QUEUED:
        job.state = JobState.RUNNING
        out.append(JobChanged(job=job.id, state=job.state))
    board.offer(job)
    out.append(
        Start(
            lease=lease.number,
            lane=seat.name,
            job=job.id,
            step=task.step,
            kind=task.kind,
            chunk=task.chunk,
            batch_divisor=task.batch_divisor,
            passthrough=task.passthrough,
        )
    )
