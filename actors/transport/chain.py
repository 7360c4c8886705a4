"""The processes of a lane in a row, for one task.

Each process is linked to the next, and the last to the first: frames go along the row and free
slots come back from its end.

    first --frames--> second --frames--> ... --frames--> last
      ^------------------------credits----------------------'
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from actors.transport.links import Link, Listener, connect
from actors.transport.shm import host_ring
from actors.transport.slots import OpenRing, SlotFrame, SlotRing
from scheduler.errors import Cancelled

R = TypeVar("R", bound=SlotRing[Any])


class Chain:
    """One process's place in the row. A row of one process has no links at all.

    Use as a context manager: on the way out its sockets and its hold on the ring are gone.

    Args:
        name: of this attempt of the task on this lane; no two at the same time may share it.
        position: of this process in the row, 0-based.
        processes: in the row.
        patience: seconds without a word from a neighbour after which it counts as hung.
        node: of the cluster that this process is on: all of the row must be on the same.
        open_ring: makes a ring of this process from the first one's; where rings are on a GPU
            ``cuda_ipc.Arenas.open``.
    """

    def __init__(
        self,
        name: str,
        position: int = 0,
        processes: int = 1,
        *,
        patience: float = 300.0,
        node: str = "",
        open_ring: OpenRing = host_ring,
    ) -> None:
        self._name = name
        self._position = position
        self._processes = processes
        self._patience = patience
        self._node = node
        self._open_ring = open_ring
        self._cancelled = threading.Event()
        self._listener: Listener | None = None
        self._inward: Link | None = None
        self._onward: Link | None = None
        self._ring: SlotRing[Any] | None = None

    @property
    def first(self) -> bool:
        """This process makes the ring and the frames."""
        return self._position == 0

    @property
    def last(self) -> bool:
        """This process is done with a frame last and frees its slot."""
        return self._position == self._processes - 1

    def __enter__(self) -> Self:
        if self._processes > 1:
            # Taken before any slow work, so that a neighbour finds it.
            self._listener = Listener(self._link(self._position))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for end in (self._listener, self._inward, self._onward, self._ring):
            if end is not None:
                end.close()

    def open(self, make_ring: Callable[[], R]) -> R:
        """Connects the row; every process of it gets the ring that the first one makes.

        Raises:
            LinkClosed: a neighbour did not come, or went away.
            HandleForeign: a neighbour is on another node, or has another GPU.
            LaneError: no memory for the ring.
        """
        if self._listener is None:
            self._ring = make_ring()
            return self._ring
        if self.first:
            self._ring = make_ring()
        else:
            self._inward = self._listener.accept(self._patience, self._cancelled)
            self._check()
            self._ring = self._inward.receive_ring(self._node, self._open_ring)
        next_link = self._link((self._position + 1) % self._processes)
        self._onward = connect(next_link, self._patience, self._cancelled)
        self._check()
        if not self.last:
            self._onward.send_ring(self._ring, self._node)
        if self.first:
            self._inward = self._listener.accept(self._patience, self._cancelled)
            self._check()
            self._ring.credits = self._inward.credits
        return cast(R, self._ring)

    def frames(self) -> Iterator[Any]:
        """The frames that the process before passes on, in its order. Not for the first one.

        Raises:
            LinkClosed: it went away before its end.
        """
        if self._inward is None or self._ring is None or self.first:
            raise ValueError("frames come to an opened process that is not the first")
        for handle in self._inward.frames():
            yield self._ring.frame(handle)

    def pass_on(self, frame: SlotFrame) -> None:
        """This process is done with a frame; it must not be touched here any more.

        Raises:
            LinkClosed: nobody is there to take it.
            Cancelled: the task was cancelled.
        """
        self._check()
        if self._ring is None:
            raise ValueError("frames are passed on by an opened process")
        if self._onward is None:
            self._ring.release(frame.handle.slot)
        elif self.last:
            self._onward.send_credit(frame.handle.slot)
        else:
            self._onward.send(frame.handle)

    def end(self) -> None:
        """This process has passed its last frame on."""
        if self._onward is not None and not self.last:
            self._onward.send_end()

    def cancel(self) -> None:
        """Makes the process stop soon, wherever it waits. May be called by any thread."""
        self._cancelled.set()
        for link in (self._inward, self._onward):
            if link is not None:
                link.cut()

    def _check(self) -> None:
        if self._cancelled.is_set():
            raise Cancelled("the task was cancelled", "work until the end", "start it again")

    def _link(self, to: int) -> str:
        return f"{self._name}/{to}"
