"""What can be given to whom, at a glance: indexes over the state, so that no event looks at all
tasks. They hold nothing of their own and are made anew from a state that was read."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import Final, Literal

from scheduler.affinity import LONG
from scheduler.fair_share import Queue
from scheduler.farm_state import FarmState
from scheduler.leases import Lease
from scheduler.nodes import LaneSeat, Node, Pool
from scheduler.standing import Job
from scheduler.tasks import ROLES, Kind, Role, Task, TaskState

_KINDS: Final[tuple[Kind, ...]] = ("publish", "join", "render", "stitch", "analyse", "probe")
_RANK: Final = {kind: rank for rank, kind in enumerate(_KINDS)}

Timer = tuple[float, Literal["lease", "node", "task"], str]
Entry = tuple[int, bool, int, int]
"""Step, whether it is of usual length, chunk, rank of the kind: the order within a job. What takes
long begins first, or the end of the job would wait for it."""


class Board:
    """The indexes of one ledger."""

    def __init__(self, state: FarmState) -> None:
        self.state = state
        self.pools: dict[Role, Pool] = {"frames": Pool(), "film": Pool()}
        self.queues: dict[Role, Queue] = {"frames": Queue(), "film": Queue()}
        self.stragglers: set[int] = set()
        self.winners: set[int] = set()
        self._ready: dict[tuple[str, Role], list[Entry]] = {}
        self._listed: set[tuple[str, Entry]] = set()
        self._timers: list[Timer] = []
        self._looks: list[Timer] = []
        """Timers of leases. What a lane has said may still be on its way when they are due."""
        self._rebuild()

    def _rebuild(self) -> None:
        state = self.state
        for seat in sorted(state.roster.lanes.values(), key=lambda seat: seat.idle_since):
            if seat.state == "idle" and state.roster.nodes[seat.node].usable:
                self.pools[seat.role].put(seat)
        for job in state.jobs.values():
            for step in job.steps:
                for kind in _KINDS:
                    for task in step.tasks[kind]:
                        if task.winner is not None:
                            self.winners.add(task.winner)
                        if task.state is TaskState.WAITING:
                            self._list(task)
            self._enter(job)
        for lease in state.book.open.values():
            self._looks.append((lease.look_at, "lease", str(lease.number)))
            if lease.straggles:
                self.stragglers.add(lease.number)
        for node in state.roster.nodes.values():
            if node.blocked_until is not None:
                self._timers.append((node.blocked_until, "node", node.name))
        heapify(self._timers)
        heapify(self._looks)

    # Tasks

    def enlist(self, task: Task) -> None:
        """A task waits: now, or from a time on."""
        task.state = TaskState.WAITING
        self._list(task)

    def _list(self, task: Task) -> None:
        if task.not_before > self.state.now:
            heappush(self._timers, (task.not_before, "task", task.key))
        else:
            entry = (task.step, task.cost < LONG, task.chunk, _RANK[task.kind])
            if (task.job, entry) not in self._listed:
                self._listed.add((task.job, entry))
                heappush(self._ready.setdefault((task.job, task.role), []), entry)
        if task.avoid_until > max(self.state.now, task.not_before):
            heappush(self._timers, (task.avoid_until, "task", task.key))

    def candidates(self, job: Job, role: Role) -> list[Task]:
        """The first waiting tasks of a job, up to one that goes to any lane."""
        heap = self._ready.get((job.id, role), [])
        self._prune(job, heap)
        if not heap:
            return []
        first = self._task(job, heap[0])
        if not first.failed_on:  # it avoids no lane: none of the others is looked at
            return [first]
        kept: list[Entry] = []
        tasks: list[Task] = []
        while heap and (not tasks or tasks[-1].failed_on):
            kept.append(heappop(heap))
            tasks.append(self._task(job, kept[-1]))
            self._prune(job, heap)
        for entry in kept:
            heappush(heap, entry)
        return tasks

    def has_ready(self, job: Job, role: Role) -> bool:
        heap = self._ready.get((job.id, role), [])
        self._prune(job, heap)
        return bool(heap)

    def _prune(self, job: Job, heap: list[Entry]) -> None:
        while heap:
            task = self._task(job, heap[0])
            if task.state is TaskState.WAITING and task.not_before <= self.state.now:
                return
            self._listed.discard((job.id, heappop(heap)))

    def _task(self, job: Job, entry: Entry) -> Task:
        step, _, chunk, rank = entry
        return job.task(step, _KINDS[rank], chunk)

    # Jobs

    def offer(self, job: Job) -> None:
        """Enter a job in the queues, or take it out, after anything about it has changed."""
        account = self.state.accounts.of(job.terms.user)
        if not account.running and not self.queues["frames"].has(job.terms.user):
            self.state.accounts.wake(job.terms.user)
        self._enter(job)

    def _enter(self, job: Job) -> None:
        for role, queue in self.queues.items():
            open_ = job.works and not (role == "frames" and job.full)
            if open_ and self.has_ready(job, role):
                turn = self._turn(job, role)
                queue.put(job.id, job.terms.user, job.priority, job.terms.deadline, turn)
            else:
                queue.drop(job.id)

    def _turn(self, job: Job, role: Role) -> float:
        """A film is analysed before the one before it is rendered, so that there is always one
        ready to be rendered while another waits for its stitch."""
        kind = _KINDS[self._ready[job.id, role][0][3]]
        return job.turn - 1.5 if kind == "analyse" else float(job.turn)

    def forget(self, job: Job) -> None:
        """A job is removed."""
        for role, queue in self.queues.items():
            queue.drop(job.id)
            for entry in self._ready.pop((job.id, role), ()):
                self._listed.discard((job.id, entry))
        for step in job.steps:
            for kind in ROLES:
                self.winners.difference_update(t.winner or 0 for t in step.tasks[kind])

    # Lanes and nodes

    def idle(self, seat: LaneSeat) -> None:
        """A lane has nothing to do."""
        seat.state, seat.lease = "idle", None
        seat.idle_since = self.state.roster.turn()
        if self.state.roster.nodes[seat.node].usable:
            self.pools[seat.role].put(seat)

    def bench(self, node: Node) -> None:
        """A node is not usable any more: its idle lanes get nothing."""
        for seat in self._idle_lanes(node):
            self.pools[seat.role].drop(seat)
        if node.blocked_until is not None:
            heappush(self._timers, (node.blocked_until, "node", node.name))

    def unbench(self, node: Node) -> None:
        if node.usable:
            for seat in self._idle_lanes(node):
                self.idle(seat)

    def _idle_lanes(self, node: Node) -> list[LaneSeat]:
        lanes = self.state.roster.lanes.values()
        return [seat for seat in lanes if seat.node == node.name and seat.state == "idle"]

    # Time

    def watch(self, lease: Lease, at: float) -> None:
        """Look at a lease again at a time."""
        lease.look_at = at
        heappush(self._looks, (at, "lease", str(lease.number)))

    def due(
        self, now: float, *, leases: bool
    ) -> Iterator[tuple[Literal["lease", "node", "task"], str]]:
        """What has come due; each thing once.

        Args:
            leases: those too.
        """
        for timers in (self._timers, *([self._looks] if leases else [])):
            while (first := self._first(timers)) is not None and first <= now:
                _, what, name = heappop(timers)
                yield what, name

    def next_due(self) -> float | None:
        """When there is something to look at; None: never, if nothing happens."""
        firsts = (self._first(self._timers), self._first(self._looks))
        return min((first for first in firsts if first is not None), default=None)

    def _first(self, timers: list[Timer]) -> float | None:
        while timers and not self._valid(timers[0]):
            heappop(timers)
        return timers[0][0] if timers else None

    def find(self, key: str) -> Task | None:
        """A task by its name, if there is one."""
        job, step, kind, chunk = key.rsplit("/", 3)
        found = self.state.jobs.get(job)
        if found is None or int(step) >= len(found.steps):
            return None
        tasks = found.steps[int(step)].tasks.get(kind, [])  # type: ignore[call-overload]
        return tasks[int(chunk)] if int(chunk) < len(tasks) else None

    def _valid(self, timer: Timer) -> bool:
        due, what, name = timer
        if what == "lease":
            lease = self.state.book.open.get(int(name))
            return lease is not None and lease.look_at == due
        if what == "node":
            return self.state.roster.nodes[name].blocked_until == due
        task = self.find(name)
        return (
            task is not None
            and task.state is TaskState.WAITING
            and due in (task.not_before, task.avoid_until)
        )
