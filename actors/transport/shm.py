"""The ring: a fixed number of frame slots in memory that the processes of a lane share.

The memory is one anonymous memfd. It has no name, so nothing is left behind by a process that is
killed, and it does not count against the size of /dev/shm, which containers keep small. The lane's
first process makes it for a task and hands its file descriptor down the links; it is gone when
the last process has closed it.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from collections.abc import Callable, Iterable
from typing import Final

import numpy as np
import psutil
from numpy.typing import NDArray

from actors.frames import Frame, FrameHandle, SlotLayout
from scheduler.errors import LaneOutOfMemory, SwapfarmError

MOST_SLOTS: Final = 64
"""So many messages the kernel holds for a link: with more slots, links could wait for each other
in a circle."""
HEADER: Final = 8
"""Bytes of a slot's generation counter, before all slots."""

Credits = Callable[[], Iterable[int]]
"""Blocks until at least one slot is free again and gives the slots that are; raises LinkClosed
when none will ever be."""


def _no_credits() -> Iterable[int]:
    raise SwapfarmError(
        "every slot of the ring is in use by this very process",
        "a stage that gives a frame on before it takes the next",
        "give the lane more slots; if that does not help, this is a bug",
    )


class Ring:
    """Slots of one layout. Memory is fixed: it does not grow with the film.

    The process that made the ring hands slots out (`acquire`) and takes them back (`release`); the
    others look frames up by handle (`frame`). Not for use by several threads at once.
    """

    def __init__(self, fd: int, layout: SlotLayout, slots: int) -> None:
        """Maps the memory behind ``fd`` and owns the descriptor from now on."""
        self.fd = fd
        self.layout = layout
        self.slots = slots
        self.credits: Credits = _no_credits
        """Where free slots come from when none is left here: the link to the last process."""
        self._first = _page(HEADER * slots)
        memory = memoryview(mmap.mmap(fd, self.nbytes(layout, slots)))
        self._generations: NDArray[np.int64] = np.frombuffer(memory, np.int64, slots)
        self._memory = memory
        self._free = list(range(slots - 1, -1, -1))

    @staticmethod
    def nbytes(layout: SlotLayout, slots: int) -> int:
        """Bytes of a whole ring: the generations' page(s) and the slots."""
        return _page(HEADER * slots) + layout.nbytes * slots

    @classmethod
    def create(cls, layout: SlotLayout, slots: int) -> Ring:
        """A new ring whose memory is really there.

        Args:
            layout: of each slot.
            slots: 1 to ``MOST_SLOTS``.

        Raises:
            ValueError: too many slots, or none.
            LaneOutOfMemory: the machine does not have the memory now.
        """
        if not 1 <= slots <= MOST_SLOTS:
            raise ValueError(f"{slots} slots; a ring has 1 to {MOST_SLOTS}")
        nbytes = cls.nbytes(layout, slots)
        # A memfd may grow past the machine's memory and then wakes the OOM killer: ask first.
        available = psutil.virtual_memory().available
        if nbytes > available:
            raise _no_memory(nbytes, slots, f"{available >> 20} MiB are free")
        fd = os.memfd_create("swapfarm-ring", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            # Without this a full memory shows itself as SIGBUS on a later write.
            os.posix_fallocate(fd, 0, nbytes)
            fcntl.fcntl(
                fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
            )
            return cls(fd, layout, slots)
        except OSError as error:
            os.close(fd)
            if error.errno in (errno.ENOSPC, errno.ENOMEM):
                raise _no_memory(nbytes, slots, os.strerror(error.errno)) from error
            raise

    def acquire(self, frame_index: int, pts: int) -> Frame:
        """A free slot for a new frame, with no faces in it; blocks until there is one.

        Raises:
            LinkClosed: no slot will come back, since the lane's last process is gone.
        """
        while not self._free:
            for slot in self.credits():
                self.release(slot)
        slot = self._free.pop()
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

    def frame(self, handle: FrameHandle) -> Frame:
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
        self._free.append(slot)

    def close(self) -> None:
        """Lets go of the memory; it is freed when the last frame's views are gone, too."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            self._memory = memoryview(b"")
            self._generations = np.zeros(0, np.int64)
            self._free = []

    def _view(self, handle: FrameHandle) -> Frame:
        start = self._first + handle.slot * self.layout.nbytes
        return Frame(handle, self.layout, self._memory[start : start + self.layout.nbytes])


def _page(nbytes: int) -> int:
    return -(-nbytes // mmap.PAGESIZE) * mmap.PAGESIZE


def _no_memory(nbytes: int, slots: int, found: str) -> LaneOutOfMemory:
    return LaneOutOfMemory(
        f"{found}, too little for a ring of {slots} frames",
        f"{nbytes >> 20} MiB",
        "free some memory, use fewer lanes or fewer slots a lane",
    )
