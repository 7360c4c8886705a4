"""Watches a ledger from outside: what it was told, what it asked for, and what must hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scheduler.history import Delivered, Event, Restarted
from scheduler.instructions import Instruction, Kill, Start, Stop
from scheduler.invariants import broken
from scheduler.ledger import Ledger

History = list[tuple[Event, float]]


class Broken(Exception):
    """Something that must hold does not. Carries the history up to there."""

    def __init__(self, found: str, history: History) -> None:
        super().__init__(found)
        self.found = found
        self.history = history


class Referee:
    """Passes events to a ledger and checks it after each one.

    It keeps its own list of the leases that count, made from the instructions alone, so that the
    ledger's word is not taken for it.

    Args:
        ledger: fresh, or at rest.
        thorough: look up everything that must hold after each event; else only the deliveries.
    """

    def __init__(self, ledger: Ledger, *, thorough: bool = True) -> None:
        self.ledger = ledger
        self.history: History = []
        self._thorough = thorough
        self._current: dict[int, Start] = {}
        self._lanes: dict[str, int] = {}
        self._counted: set[int] = set()

    def handle(self, event: Event, now: float) -> list[Instruction]:
        """As the ledger's.

        Raises:
            Broken: something does not hold any more.
        """
        self.history.append((event, now))
        last = self.ledger.state.book.last
        out = self.ledger.handle(event, now)
        if isinstance(event, Delivered):
            self._check_delivery(event, last)
        if isinstance(event, Restarted):
            self._current.clear()
        for instruction in out:
            match instruction:
                case Start():
                    if instruction.lease <= last:
                        self._fail(f"lease {instruction.lease} was given out a second time")
                    last = instruction.lease
                    self._current[instruction.lease] = instruction
                    self._lanes[instruction.lane] = instruction.lease
                case Stop():
                    self._current.pop(instruction.lease, None)
                case Kill():
                    self._current.pop(self._lanes.get(instruction.lane, 0), None)
        if self._thorough:
            for found in broken(self.ledger.state):
                self._fail(found)
        return out

    def _check_delivery(self, event: Delivered, last: int) -> None:
        """What counts now must have been current, and must be what was asked for."""
        start = self._current.pop(event.lease, None)
        if event.lease <= last and event.lease in self.ledger.state.book.open:
            self._fail(f"lease {event.lease} is open after its delivery")
        for job in self.ledger.state.jobs.values() if start is None and self._thorough else ():
            for step in job.steps:
                for tasks in step.tasks.values():
                    for task in tasks:
                        if task.winner == event.lease and event.lease not in self._counted:
                            self._fail(f"{task.key} took the stale lease {event.lease}")
        if start is not None and start.job in self.ledger.state.jobs:
            task = self.ledger.task(start.job, start.step, start.kind, start.chunk)
            if task.winner == event.lease:
                self._counted.add(event.lease)
                if task.frames and task.frames != event.frames:
                    self._fail(f"{task.key} took {event.frames} frames for {task.frames}")

    def _fail(self, found: str) -> None:
        raise Broken(found, list(self.history))


def replay(history: Sequence[tuple[Event, float]], ledger: Ledger) -> str | None:
    """Tell a history again. Gives what breaks, if anything does."""
    referee = Referee(ledger)
    try:
        for event, now in history:
            referee.handle(event, now)
    except Broken as error:
        return error.found
    return None


def shrink(history: History, fails: Callable[[History], bool]) -> History:
    """A history as short as can be found that still fails: events are left out, more and more of
    them while it fails, fewer when it does not (delta debugging, Zeller and Hildebrandt 2002)."""
    size = max(len(history) // 2, 1)
    while size:
        at, shorter = 0, False
        while at < len(history):
            without = history[:at] + history[at + size :]
            if fails(without):
                history, shorter = without, True
            else:
                at += size
        if size > 1 or not shorter:
            size //= 2
    return history
