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
from dataclasses import asdict
from typing import Any

import numpy as np
import psutil

from actors.frames import Frame, FrameHandle, SlotLayout
from actors.transport.slots import GENERATION, MOST_SLOTS, SlotRing, check_slots
from kernels.picture import PictureFormat
from scheduler.errors import HandleForeign, LaneOutOfMemory

__all__ = ["MOST_SLOTS", "Ring", "host_ring", "pages", "shared_memory"]


class Ring(SlotRing[Frame]):
    """Slots of one layout in host memory. Memory is fixed: it does not grow with the film."""

    def __init__(self, fd: int, layout: SlotLayout, slots: int) -> None:
        """Maps the memory behind ``fd`` and owns the descriptor from now on."""
        self.fd = fd
        self.layout = layout
        self._first = pages(GENERATION * slots)
        memory = memoryview(mmap.mmap(fd, self.nbytes(layout, slots)))
        super().__init__(slots, np.frombuffer(memory, np.int64, slots))
        self._memory = memory

    @staticmethod
    def nbytes(layout: SlotLayout, slots: int) -> int:
        """Bytes of a whole ring: the generations' page(s) and the slots."""
        return pages(GENERATION * slots) + layout.nbytes * slots

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
        check_slots(slots)
        nbytes = cls.nbytes(layout, slots)
        fd = shared_memory(nbytes, slots)
        try:
            return cls(fd, layout, slots)
        except OSError as error:
            os.close(fd)
            if error.errno in (errno.ENOSPC, errno.ENOMEM):
                raise _no_memory(nbytes, slots, os.strerror(error.errno)) from error
            raise

    def hello(self) -> dict[str, Any]:
        return {"layout": asdict(self.layout), "slots": self.slots}

    def descriptors(self) -> list[int]:
        return [self.fd]

    def close(self) -> None:
        """Lets go of the memory; it is freed when the last frame's views are gone, too."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            self._memory = memoryview(b"")
            self._forget()

    def _view(self, handle: FrameHandle) -> Frame:
        start = self._first + handle.slot * self.layout.nbytes
        return Frame(handle, self.layout, self._memory[start : start + self.layout.nbytes])


def host_ring(hello: dict[str, Any], descriptors: list[int]) -> Ring:
    """The ring of another process, as this one's (``slots.OpenRing``).

    Raises:
        HandleForeign: it lies on a GPU.
    """
    if "device" in hello:
        for fd in descriptors:
            os.close(fd)
        raise HandleForeign(
            f"frame handles of a ring on GPU {hello['device']}",
            "a ring in host memory: this process was given no GPU",
            "report this: all processes of a lane must see the lane's GPU",
        )
    (fd,) = descriptors
    layout = {**hello["layout"], "format": PictureFormat(**hello["layout"]["format"])}
    return Ring(fd, SlotLayout(**layout), hello["slots"])


def shared_memory(nbytes: int, slots: int) -> int:
    """A file descriptor of memory without a name that is really there, for a ring of ``slots``.

    Raises:
        LaneOutOfMemory: the machine does not have the memory now.
    """
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
    except OSError as error:
        os.close(fd)
        if error.errno in (errno.ENOSPC, errno.ENOMEM):
            raise _no_memory(nbytes, slots, os.strerror(error.errno)) from error
        raise
    return fd


def pages(nbytes: int) -> int:
    """Bytes rounded up to whole pages."""
    return -(-nbytes // mmap.PAGESIZE) * mmap.PAGESIZE


def _no_memory(nbytes: int, slots: int, found: str) -> LaneOutOfMemory:
    return LaneOutOfMemory(
        f"{found}, too little for a ring of {slots} frames",
        f"{nbytes >> 20} MiB",
        "free some memory, use fewer lanes or fewer slots a lane",
    )
