"""What all rings share: slots that are handed out, named by generation, and come back.

Where the pixels lie is another matter (``shm``: host memory, ``cuda_ipc``: a GPU's). The
generations lie in host memory in both: each look-up of a handle reads one, on the CPU, before
anything touches the slot. On a GPU that would be a copy and a wait a frame; in a page that both
processes have mapped it is one load.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Final, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from actors.frames import FrameHandle
from scheduler.errors import SwapfarmError

MOST_SLOTS: Final = 64
"""So many messages the kernel holds for a link: with more slots, links could wait for each other
in a circle."""
GENERATION: Final = 8
"""Bytes of a slot's generation counter."""

Credits = Callable[[], Iterable[int]]
"""Blocks until at least one slot is free again and gives the slots that are; raises LinkClosed
when none will ever be."""


class SlotFrame(Protocol):
    """What a ring must know of its frames."""

    @property
    def handle(self) -> FrameHandle: ...

    faces: int


F = TypeVar("F", bound=SlotFrame)


def _no_credits() -> Iterable[int]:
    raise SwapfarmError(
        "every slot of the ring is in use by this very process",
        "a stage that gives a frame on before it takes the next",
        "give the lane more slots; if that does not help, this is a bug",
    )


class SlotRing(ABC, Generic[F]):
    """A fixed number of slots.

    The process that made the ring hands slots out (`acquire`) and takes them back (`release`); the
    others look frames up by handle (`frame`). Not for use by several threads at once.

    Args:
        slots: 1 to ``MOST_SLOTS``.
        generations: int64 [slots] in memory that all processes of the lane share.
    """

    _last_first: ClassVar[bool] = True
    """The slot that came back last is handed out next: a CPU's caches still have it."""

    def __init__(self, slots: int, generations: NDArray[np.int64]) -> None:
        self.slots = slots
        self.credits: Credits = _no_credits
        """Where free slots come from when none is left here: the link to the last process."""
        self._generations = generations
        self._free = deque(range(slots))

    @abstractmethod
    def hello(self) -> dict[str, Any]:
        """What another process must be told of the ring, in values that JSON has."""

    @abstractmethod
    def descriptors(self) -> list[int]:
        """File descriptors that another process needs with it."""

    @abstractmethod
    def close(self) -> None:
        """This process is done with the ring."""

    @abstractmethod
    def _view(self, handle: FrameHandle) -> F:
        """The frame that lies in a slot."""

    def acquire(self, frame_index: int, pts: int) -> F:
        """A free slot for a new frame, with no faces in it; blocks until there is one.

        Raises:
            LinkClosed: no slot will come back, since the lane's last process is gone.
        """
        while not self._free:
            for slot in self.credits():
                self.release(slot)
        slot = self._free.popleft()
        self._generations[slot] += 1
        frame = self._view(
            FrameHandle(
                slot=slot,
                generation=int(self._generations[slot]),
                frame_index=frame_index,
                pts=pts,
            )
        )
        frame.faces = 0
        return frame

    def frame(self, handle: FrameHandle) -> F:
        """The frame that a handle from another process names.

        Raises:
            SwapfarmError: the slot does not exist or was filled anew since.
        """
        if not 0 <= handle.slot < self.slots:
            raise SwapfarmError(
                f"a frame handle for slot {handle.slot}", f"0 to {self.slots - 1}", "report this"
            )
        now = int(self._generations[handle.slot])
        if now != handle.generation:
            raise SwapfarmError(
                f"frame {handle.frame_index} was written over in its slot (generation {now})",
                f"generation {handle.generation}",
                "report this: a slot was released while a stage still had it",
            )
        return self._view(handle)

    def release(self, slot: int) -> None:
        """Gives a slot back. Only for the process that made the ring.

        Raises:
            SwapfarmError: the slot is free already.
        """
        if slot in self._free or not 0 <= slot < self.slots:
            raise SwapfarmError(
                f"slot {slot} was released but is not in use", "one release a frame", "report this"
            )
        if self._last_first:
            self._free.appendleft(slot)
        else:
            self._free.append(slot)

    def _forget(self) -> None:
        self._generations = np.zeros(0, np.int64)
        self._free.clear()


OpenRing = Callable[[dict[str, Any], list[int]], SlotRing[Any]]
"""Makes a ring of this process from another's ``hello`` and ``descriptors``, which it owns then."""


def check_slots(slots: int) -> None:
    """Raises ValueError for too many slots, or none."""
    if not 1 <= slots <= MOST_SLOTS:
        raise ValueError(f"{slots} slots; a ring has 1 to {MOST_SLOTS}")
