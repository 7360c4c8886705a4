"""What an executor tells of its lanes, in the ledger's words."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from scheduler.errors import LaneDied, SwapfarmError
from scheduler.events import ExecutorEvent, LaneLost, LaneReady, TaskDone, TaskFailed, TaskProgress
from scheduler.failure import Failure
from scheduler.history import Delivered, Event, Failed, LaneDown, LaneUp, Progressed
from scheduler.ledger import Ledger

_NODE: Final = "lanes"
"""Of lanes whose executor does not say where they are."""
FALLS: Final = 3
"""How often in a row a lane may fail to come up, while no other is up, before there is no use in
waiting for it."""


class LaneReports:
    """Counts the lives of an executor's lanes and translates what it tells.

    An attempt's number is its lease's; a lane's name is its number.

    Args:
        ledger: that is told.
        falls: see ``FALLS``; None: it waits as long as it takes.
    """

    def __init__(self, ledger: Ledger, falls: int | None = FALLS) -> None:
        self._ledger = ledger
        self._most_falls = falls
        self._lives: defaultdict[int, int] = defaultdict(int)
        self._falls: defaultdict[int, int] = defaultdict(int)
        self._up: set[int] = set()

    def told(self, event: ExecutorEvent) -> Event | None:
        """The ledger's event; None where there is nothing to tell.

        Raises:
            LaneDied: a lane does not come up, however often it is built, and no other is up.
        """
        match event:
            case TaskProgress():
                return Progressed(lease=event.attempt, frames=event.frames, beats=event.beats)
            case TaskDone():
                return Delivered(lease=event.attempt, frames=event.result.frames)
            case TaskFailed(error=LaneDied()):
                # The lane is not idle after it: it is gone.
                known = event.attempt in self._ledger.state.book.open
                return self._down(event.lane, event.error) if known else None
            case TaskFailed():
                return Failed(lease=event.attempt, failure=Failure.of(event.error))
            case LaneReady():
                self._lives[event.lane] += 1
                self._falls[event.lane] = 0
                self._up.add(event.lane)
                return LaneUp(
                    lane=str(event.lane),
                    life=self._lives[event.lane],
                    node=event.node or _NODE,
                    gpu_memory=event.gpu_memory,
                )
            case LaneLost():
                self._fell(event)
                return self._down(event.lane, event.error)

    def _down(self, lane: int, error: SwapfarmError) -> LaneDown:
        return LaneDown(lane=str(lane), life=self._lives[lane], failure=Failure.of(error))

    def _fell(self, event: LaneLost) -> None:
        self._falls[event.lane] += 1
        self._up.discard(event.lane)
        most = self._most_falls
        # The lanes of a node that dies fall until its cluster has noticed.
        if most is not None and self._falls[event.lane] >= most and not self._up:
            raise LaneDied(
                f"lane {event.lane} did not come up {most} times in a row: {event.error.found}",
                "a lane whose processes start",
                "free memory or lower --lanes; `farm doctor` checks this machine",
            )
