"""What must hold after every event, looked up in the state itself and not in its indexes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from scheduler.farm_state import FarmState
from scheduler.instructions import JobState
from scheduler.nodes import LaneSeat
from scheduler.retries import Rules
from scheduler.standing import Job
from scheduler.steps import Step
from scheduler.tasks import Role, Task, TaskState


def broken(state: FarmState) -> Iterator[str]:
    """Each thing that does not hold, in words; nothing when all is well."""
    for job in state.jobs.values():
        yield from _job(state, job)
    yield from _leases(state)
    yield from _idle(state)


def _job(state: FarmState, job: Job) -> Iterator[str]:
    counted = [number for task in job.tasks for number in task.leases]
    if sorted(counted) != sorted(job.leases):
        yield f"{job.id} counts leases {job.leases}, its tasks {counted}"
    frames = [n for n in job.leases if state.book.open[n].role == "frames"]
    if job.running != len(frames):
        yield f"{job.id} counts {job.running} running chunks of {len(frames)}"
    if job.state.ended and job.leases:
        yield f"{job.id} is {job.state} and has leases"
    published = [step.tasks["publish"][0].state is TaskState.DONE for step in job.steps]
    if (job.state is JobState.COMPLETED) != all(published):
        yield f"{job.id} is {job.state} with {sum(published)} of {len(published)} steps published"
    for step in job.steps:
        yield from _graph(step)
        for tasks in step.tasks.values():
            for task in tasks:
                yield from _task(state, job, task)


def _task(state: FarmState, job: Job, task: Task) -> Iterator[str]:
    if (task.state is TaskState.RUNNING) != bool(task.leases):
        yield f"{task.key} is {task.state} with leases {task.leases}"
    if len(task.leases) > 2:
        yield f"{task.key} has {len(task.leases)} leases"
    if (task.state is TaskState.DONE) != (task.winner is not None):
        yield f"{task.key} is {task.state} with winner {task.winner}"
    # The second attempt of a straggler may fail after the first was one too many already.
    if task.failures > job.terms.attempts + 1:
        yield f"{task.key} failed {task.failures} times of at most {job.terms.attempts}"
    if task.losses > Rules().losses_most:
        yield f"{task.key} was lost {task.losses} times"
    for number in task.leases:
        lease = state.book.open.get(number)
        if lease is None or lease.stopping is not None or state.task_of(lease) is not task:
            yield f"{task.key} runs under lease {number}, which is not its own"


def _graph(step: Step) -> Iterator[str]:
    """Tasks wait for exactly what they need; chunks follow each other without a gap."""
    needs: Counter[int] = Counter()
    tasks = [task for each in step.tasks.values() for task in each]
    for task in tasks:
        if task.state is not TaskState.DONE:
            needs.update(id(dependent) for dependent in step.dependents(task))
    planned = step.tasks["probe"][0].state is TaskState.DONE
    for task in tasks:
        # Before the plans are there, the tasks that wait for them count the plans.
        known = needs[id(task)]
        missing = {"probe": task.open, "stitch": not planned, "join": not step.tasks["render"]}
        known += int(missing.get(task.kind, 0))
        if task.open != known:
            yield f"{task.key} waits for {task.open} tasks, needs {known}"
        if task.state is TaskState.WAITING and task.open:
            yield f"{task.key} may begin before what it needs is there"
        if task.state is TaskState.BLOCKED and not task.open:
            yield f"{task.key} is blocked by nothing"
    for kind in ("analyse", "render"):
        at = 0
        for task in step.tasks[kind]:
            if task.start != at or task.stop <= task.start:
                yield f"{task.key} begins at frame {task.start}, {at} was to follow"
            at = task.stop


def _leases(state: FarmState) -> Iterator[str]:
    running: Counter[str] = Counter()
    for number, lease in state.book.open.items():
        seat = state.roster.lanes.get(lease.lane)
        if seat is None or seat.lease != number or seat.state != "busy":
            yield f"lease {number} is on {lease.lane}, which does not have it"
        if lease.role == "frames":
            running[state.jobs[lease.job].terms.user] += 1
    for seat in state.roster.lanes.values():
        if (seat.state == "busy") != (seat.lease in state.book.open):
            yield f"{seat.name} is {seat.state} with lease {seat.lease}"
    for user, account in state.accounts.users.items():
        if account.running != running[user]:
            yield f"user {user!r} counts {account.running} running chunks of {running[user]}"


def _idle(state: FarmState) -> Iterator[str]:
    """No task waits while a lane is idle that may take it."""
    idle = [
        seat
        for seat in state.roster.lanes.values()
        if seat.state == "idle" and state.roster.nodes[seat.node].usable
    ]
    if not idle:
        return
    for job in state.jobs.values():
        if not job.works:
            continue
        for task in job.tasks:
            if task.state is TaskState.WAITING and task.not_before <= state.now:
                yield from _stuck(state, job, task, idle)


def _stuck(state: FarmState, job: Job, task: Task, idle: list[LaneSeat]) -> Iterator[str]:
    role: Role = task.role
    if role == "frames" and job.full:
        return
    avoided = task.failed_on if state.now < task.avoid_until else ()
    for seat in idle:
        fits = role == "film" or seat.fits(job.terms.needs)
        if seat.role == role and fits and seat.node not in avoided:
            yield f"{task.key} waits while {seat.name} is idle"
            return
