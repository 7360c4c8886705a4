"""The farm as a pure state machine: events in, instructions out.

It never sees a clock, a disk or Ray. ``now`` comes with each event, so that a history can be told
again: the state is the fold of the events, and the same events give the same instructions. Each
attempt of a task is a lease with a number of its own; a delivery counts only under a lease that is
current, so a stale attempt can never be published.
"""

from __future__ import annotations

from dataclasses import replace

from scheduler.assignment import assign
from scheduler.board import Board
from scheduler.completions import Completions
from scheduler.errors import LaneDied
from scheduler.failure import Failure
from scheduler.farm_state import FarmState
from scheduler.history import (
    CancelAsked,
    Delivered,
    Event,
    Failed,
    Held,
    LaneDown,
    LaneUp,
    Limited,
    Measured,
    NodeDrained,
    NodeForgiven,
    OutputLost,
    Paused,
    Prioritised,
    Progressed,
    Released,
    Removed,
    Requeued,
    Restarted,
    Resumed,
    Retried,
    Submitted,
    Ticked,
    Weighted,
)
from scheduler.instructions import Instruction, JobChanged, JobState
from scheduler.nodes import LaneSeat, Node
from scheduler.retries import Rules
from scheduler.standing import Job
from scheduler.steps import Step
from scheduler.tasks import Kind, Task, TaskState


class Ledger:
    """What is to be done for all jobs, what is under way, and what failed.

    Args:
        rules: how patient it is. Part of what a history means: the same for a whole journal.
        state: to go on from; it belongs to the ledger from now on.
    """

    def __init__(self, rules: Rules | None = None, state: FarmState | None = None) -> None:
        self.rules = rules or Rules()
        self.state = state or FarmState()
        self._board = Board(self.state)
        self._completions = Completions(self.state, self._board, self.rules)

    def handle(self, event: Event, now: float) -> list[Instruction]:
        """Take one event and say what follows from it.

        Lanes are given up only at a `Ticked`: tell it when all that lanes have said was told.

        Args:
            now: seconds on a clock that does not go back; an earlier time counts as the latest.
        """
        now = self.state.now = max(now, self.state.now)
        out: list[Instruction] = []
        for what, name in self._board.due(now, leases=isinstance(event, Ticked)):
            out += self._due(what, name, now)
        out += self._take(event, now)
        out += assign(self.state, self._board, self.rules, now)
        return out

    def next_due(self) -> float | None:
        """When to tell `Ticked` if nothing else happens; None: there is nothing to wait for."""
        return self._board.next_due()

    @property
    def queued(self) -> int:
        """Jobs with chunks that wait for a lane."""
        return len(self._board.queues["frames"])

    def task(self, job: str, step: int, kind: Kind, chunk: int) -> Task:
        """Where a task stands. To be read only."""
        return self.state.jobs[job].task(step, kind, chunk)

    def why_waiting(self, job: str) -> str:
        """Why nothing of a job runs, in words; empty when something does or nothing is to."""
        found = self.state.jobs[job]
        if found.state.ended or found.leases:
            return ""
        if found.paused:
            return "paused"
        if found.held:
            return found.held
        if found.lacks:
            return f"{found.lacks}: it goes on when there is room"
        needs = found.terms.needs
        if not self.state.roster.elsewhere(needs, "frames", ()):
            wanted = [f"{needs.gpu_memory / 2**30:.1f} GiB of GPU memory"] * bool(needs.gpu_memory)
            wanted += [f"label {label}" for label in needs.labels]
            return "no lane is up" + (f" that has {', '.join(wanted)}" if wanted else "")
        return "others come first, or a retry waits for its time"

    def _due(self, what: str, name: str, now: float) -> list[Instruction]:
        if what == "lease":
            return self._completions.look(self.state.book.open[int(name)], now)
        if what == "node":
            self._forgive(self.state.roster.nodes[name])
        else:
            task = self._board.find(name)
            assert task is not None
            self._board.enlist(task)
            self._board.offer(self.state.jobs[task.job])
        return []

    def _take(self, event: Event, now: float) -> list[Instruction]:
        match event:
            case Delivered():
                return self._completions.delivered(event, now)
            case Progressed():
                return self._completions.moved(event, now)
            case Failed():
                return self._failed(event, now)
            case LaneUp():
                return self._lane_up(event, now)
            case LaneDown():
                seat = self.state.roster.lanes.get(event.lane)
                if seat is None or seat.life != event.life:
                    return []
                return self._lane_down(seat, event.failure, now)
            case OutputLost():
                return self._completions.lost(event, now)
            case Ticked():
                return []
            case Restarted():
                return self._restarted(now)
            case NodeDrained():
                node = self._node(event.node)
                node.drained = True
                self._board.bench(node)
                return []
            case NodeForgiven():
                node = self._node(event.node)
                node.drained = False
                self._forgive(node)
                return []
            case Weighted():
                self.state.accounts.of(event.user).weight = max(event.weight, 1e-6)
                return []
            case Submitted():
                return self._submitted(event, now)
            case _:
                job = self.state.jobs.get(event.job)
                return [] if job is None else self._asked(event, job, now)

    # Lanes and nodes

    def _node(self, name: str) -> Node:
        return self.state.roster.nodes.setdefault(name, Node(name=name))

    def _forgive(self, node: Node) -> None:
        node.blocked_until = None
        node.failed_jobs = []
        self._board.unbench(node)

    def _lane_up(self, event: LaneUp, now: float) -> list[Instruction]:
        known = self.state.roster.lanes.get(event.lane)
        out: list[Instruction] = []
        if known is not None and known.life < event.life:
            error = LaneDied(f"{event.lane} came up anew", "one life", "nothing: it is tried again")
            out = self._lane_down(known, Failure.of(error), now)
        seat = self.state.roster.up(event)
        if seat is not None:
            self._board.idle(seat)
        return out

    def _lane_down(self, seat: LaneSeat, failure: Failure, now: float) -> list[Instruction]:
        if seat.state == "down":
            return []
        self._board.pools[seat.role].drop(seat)
        lease = self.state.book.open.get(seat.lease or 0)
        seat.state, seat.lease = "down", None
        if lease is None:
            return []
        task, counts = self.state.task_of(lease), lease.stopping is None
        self._completions.close(lease, now)
        if not counts:
            self._board.offer(self.state.jobs[lease.job])
            return []
        return self._completions.task_failed(task, failure, now, node=lease.node, fell=True)

    def _failed(self, event: Failed, now: float) -> list[Instruction]:
        lease = self.state.book.open.get(event.lease)
        if lease is None:
            return []
        task, counts = self.state.task_of(lease), lease.stopping is None
        self._completions.close(lease, now)
        self._board.idle(self.state.roster.lanes[lease.lane])
        if not counts:
            self._board.offer(self.state.jobs[lease.job])
            return []
        return self._completions.task_failed(task, event.failure, now, node=lease.node)

    def _restarted(self, now: float) -> list[Instruction]:
        for seat in self.state.roster.lanes.values():
            self._board.pools[seat.role].drop(seat)
        for lease in list(self.state.book.open.values()):
            task, counts = self.state.task_of(lease), lease.stopping is None
            self._completions.close(lease, now)
            if counts and not task.leases:
                self._completions.wait(task)
            self._board.offer(self.state.jobs[lease.job])
        self.state.roster.lanes.clear()
        return []

    # Jobs

    def _submitted(self, event: Submitted, now: float) -> list[Instruction]:
        terms = event.terms
        if terms.job in self.state.jobs:
            return []
        account = self.state.accounts.of(terms.user)
        account.jobs += 1
        job = Job(
            terms=terms,
            turn=account.jobs,
            submitted=now,
            priority=_clamp(terms.priority),
            lane_limit=terms.lane_limit,
        )
        for number in range(max(terms.steps, 1)):
            step = Step(job=job.id, number=number, overlap=terms.overlap)
            step.begin(waits=number > 0)
            job.steps.append(step)
        self.state.jobs[job.id] = job
        self._board.enlist(job.steps[0].tasks["probe"][0])
        self._board.offer(job)
        return [JobChanged(job=job.id, state=job.state)]

    def _asked(
        self,
        event: Paused
        | Resumed
        | Held
        | Measured
        | Released
        | CancelAsked
        | Retried
        | Requeued
        | Prioritised
        | Limited
        | Removed,
        job: Job,
        now: float,
    ) -> list[Instruction]:
        out: list[Instruction] = []
        before = (job.state, job.held)
        match event:
            case Paused():
                job.paused = job.paused or not job.state.ended
            case Resumed():
                job.paused = False
            case Held():
                job.held = event.reason
            case Measured():
                job.terms = replace(job.terms, needs=event.needs)
            case Released():
                job.held = ""
            case Prioritised():
                job.priority = _clamp(event.priority)
            case Limited():
                job.lane_limit = event.lane_limit
            case CancelAsked():
                if not job.state.ended:
                    return self._completions.end(job, JobState.CANCELLED, None)
            case Retried():
                if job.state in (JobState.FAILED, JobState.CANCELLED):
                    self._revive(job)
            case Requeued():
                out = self._requeue(event, job, now)
            case Removed():
                return self._remove(job)
        if not job.state.ended:
            job.state = self._state_of(job)
        self._board.offer(job)
        if (job.state, job.held) != before:
            out.append(JobChanged(job=job.id, state=job.state, reason=job.held))
        return out

    def _state_of(self, job: Job) -> JobState:
        if job.paused:
            return JobState.PAUSED
        begun = job.steps[0].tasks["probe"][0].tries > 0
        return JobState.RUNNING if begun else JobState.QUEUED

    def _revive(self, job: Job) -> None:
        """A job that has ended goes on; its failed tasks begin anew."""
        job.state, job.failure, job.ended, job.paused = JobState.QUEUED, None, None, False
        for task in job.tasks:
            if task.state is TaskState.FAILED:
                task.forget()
                self._completions.wait(task)

    def _requeue(self, event: Requeued, job: Job, now: float) -> list[Instruction]:
        if event.step >= len(job.steps):
            return []
        step = job.steps[event.step]
        chosen = step.inside(event.kind, event.start, event.stop)
        if not chosen:
            return []
        if job.state.ended:
            self._revive(job)
        for each in job.tasks:
            each.losses = 0  # what went with the folder of a completed job is no storage's fault
        out: list[Instruction] = []
        for task in chosen:
            out += self._completions.reopen(step, task, now)
        return out

    def _remove(self, job: Job) -> list[Instruction]:
        busy = any(lease.job == job.id for lease in self.state.book.open.values())
        if job.state.ended and not busy:
            self._board.forget(job)
            del self.state.jobs[job.id]
        return []


def _clamp(priority: int) -> int:
    return min(max(priority, 0), 100)
