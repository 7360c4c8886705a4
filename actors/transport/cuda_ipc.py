"""Rings in a GPU's memory, which the processes of a lane share by CUDA's own handles.

A lane has one arena: one allocation of its own, and two events a slot. The process that decodes
makes it when the first task comes, the others open its handles once, and all keep it for the tasks
that follow. What a task has of its own is a ring over it: generations and notes in host memory
(see ``slots``) and a layout. Along the links go the same few bytes as on a CPU.

CUDA leaves undefined what happens when memory is freed that another process has open. So each
process that opens an arena holds a lock on a file without a name, which the kernel takes back when
the process dies, and the owner frees only when nobody holds it.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import time
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any, Final

import numpy as np

from actors.device_frames import DeviceFrame, DeviceLayout
from actors.frames import FrameHandle
from actors.transport.cuda_driver import HANDLE_NBYTES, CudaDriver
from actors.transport.shm import host_ring, pages, shared_memory
from actors.transport.slots import GENERATION, SlotRing, check_slots
from kernels.picture import PictureFormat
from scheduler.errors import HandleForeign, LaneError, LinkClosed

BLOCK: Final = 2 << 20
"""Bytes that CUDA maps at once. A smaller allocation could share such a block with others, and its
handle would show them, too."""
_PAUSE: Final = 0.005


class Arena:
    """Device memory of a lane and the events of its slots, in one of its processes.

    From ``create`` in the process that owns it, from ``open`` in the others.
    """

    def __init__(
        self, driver: CudaDriver, fd: int, nbytes: int, slots: int, *, owned: bool
    ) -> None:
        self.driver = driver
        self.fd = fd
        """Of the page with the handles, to be sent to other processes."""
        self.nbytes = nbytes
        self.slots = slots
        self.owned = owned
        self.pointer = 0
        self.filled: list[int] = []
        """By slot: what belongs to the frame in it has been done."""
        self.free: list[int] = []
        """By slot: its last reader has read it."""
        self._page = mmap.mmap(fd, _papers(slots))

    @classmethod
    def create(cls, driver: CudaDriver, nbytes: int, slots: int) -> Arena:
        """Raises: LaneOutOfMemory, GpuFailed."""
        nbytes = -(-nbytes // BLOCK) * BLOCK
        arena = cls(driver, shared_memory(_papers(slots), slots), nbytes, slots, owned=True)
        with ExitStack() as undo:
            undo.callback(arena._leave)
            arena.pointer = driver.malloc(nbytes)
            handles = [driver.mem_handle(arena.pointer)]
            for events in (arena.filled, arena.free):
                for _ in range(slots):
                    events.append(driver.create_event())
                    handles.append(driver.event_handle(events[-1]))
            for place, handle in enumerate(handles):
                arena._page[_place(place)] = handle
            undo.pop_all()
        return arena

    @classmethod
    def open(cls, driver: CudaDriver, fd: int, nbytes: int, slots: int) -> Arena:
        """Opens another process's arena; ``fd`` stays the caller's.

        Raises:
            LinkClosed: its owner has given it up.
            GpuFailed: CUDA refuses its handles.
        """
        # Opened anew: a descriptor that was received shares its locks with the sender's.
        own = os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_CLOEXEC)
        arena = cls(driver, own, nbytes, slots, owned=False)
        with ExitStack() as undo:
            undo.callback(arena._leave)
            try:
                fcntl.flock(own, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                raise _given_up() from None
            if arena._page[0]:
                raise _given_up()
            arena.pointer = driver.open_mem_handle(arena._page[_place(0)])
            for number in range(2 * slots):
                events = arena.filled if number < slots else arena.free
                events.append(driver.open_event(arena._page[_place(1 + number)]))
            undo.pop_all()
        return arena

    def close(self, patience: float = 0.0) -> bool:
        """Lets go of the memory. The owner first waits until no other process has it open.

        Args:
            patience: seconds that the owner waits.
        Returns: False if another process still has it open; then nothing was freed.
        """
        if self.fd < 0:
            return True
        if self.owned:
            self._page[0] = 1  # who comes now comes too late
            until = time.monotonic() + patience
            while not self._alone():
                if time.monotonic() >= until:
                    return False
                time.sleep(_PAUSE)
        try:
            self.driver.synchronize()
        finally:
            self._leave()
        return True

    def _alone(self) -> bool:
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _leave(self) -> None:
        """Undoes what was done; the lock goes last."""
        with ExitStack() as steps:
            steps.callback(os.close, self.fd)
            self.fd = -1
            self._page.close()
            if self.pointer:
                give_back = self.driver.free if self.owned else self.driver.close_mem_handle
                steps.callback(give_back, self.pointer)
                self.pointer = 0
            for event in (*self.filled, *self.free):
                steps.callback(self.driver.destroy_event, event)
            self.filled, self.free = [], []


class CudaRing(SlotRing[DeviceFrame]):
    """Slots of one layout in an arena. The arena outlives it."""

    _last_first = False
    # A slot comes back when its last read was asked for. The one that came back last would make the
    # next frame wait for that read while others have been free for long.

    def __init__(self, fd: int, layout: DeviceLayout, slots: int, arena: Arena) -> None:
        """Maps the host memory behind ``fd`` and owns the descriptor from now on."""
        self.fd = fd
        self.layout = layout
        self.arena = arena
        self._first = pages(GENERATION * slots)
        memory = memoryview(mmap.mmap(fd, self.notes_nbytes(layout, slots)))
        super().__init__(slots, np.frombuffer(memory, np.int64, slots))
        self._memory = memory

    @staticmethod
    def notes_nbytes(layout: DeviceLayout, slots: int) -> int:
        """Bytes of a ring in host memory."""
        return pages(GENERATION * slots) + layout.notes_nbytes * slots

    @classmethod
    def create(cls, layout: DeviceLayout, slots: int, arena: Arena) -> CudaRing:
        """A new ring in an arena that has room for it.

        Raises:
            ValueError: too many slots, or none, or too little room.
            LaneOutOfMemory: no host memory.
        """
        check_slots(slots)
        if slots > arena.slots or slots * layout.nbytes > arena.nbytes:
            raise ValueError(f"{slots} slots of {layout.nbytes} bytes do not fit into the arena")
        return cls(shared_memory(cls.notes_nbytes(layout, slots), slots), layout, slots, arena)

    def hello(self) -> dict[str, Any]:
        arena = self.arena
        return {
            "device": arena.driver.uuid,
            "layout": asdict(self.layout),
            "slots": self.slots,
            "arena": [arena.nbytes, arena.slots],
        }

    def descriptors(self) -> list[int]:
        return [self.fd, self.arena.fd]

    def close(self) -> None:
        """Waits for what the GPU still does for this process, then lets go of the host memory."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            self._memory = memoryview(b"")
            self._forget()
            self.arena.driver.synchronize()

    def _view(self, handle: FrameHandle) -> DeviceFrame:
        start = self._first + handle.slot * self.layout.notes_nbytes
        return DeviceFrame(
            handle,
            self.layout,
            self._memory[start : start + self.layout.notes_nbytes],
            self.arena.pointer + handle.slot * self.layout.nbytes,
            self.arena.driver,
            self.arena.filled[handle.slot],
            self.arena.free[handle.slot],
        )


class Arenas:
    """The arenas of one process: its own, and the one it has open. Kept for the process's life.

    Args:
        driver: of the lane's GPU.
        patience: seconds that `close` waits for other processes to let go of its own.
    """

    def __init__(self, driver: CudaDriver, patience: float = 300.0) -> None:
        self.driver = driver
        self._patience = patience
        self._own: list[Arena] = []
        """The last one is in use; those before it are still open elsewhere."""
        self._opened: tuple[tuple[int, int], Arena] | None = None

    def ring(self, layout: DeviceLayout, slots: int) -> CudaRing:
        """A new ring in this process's own arena, which is made anew only if it is too small.

        Raises: ValueError, LaneOutOfMemory, GpuFailed.
        """
        check_slots(slots)
        nbytes = slots * layout.nbytes
        fits = bool(self._own) and nbytes <= self._own[-1].nbytes and slots <= self._own[-1].slots
        kept = self._own[-1:] if fits else []
        # The others let go of an old one when they open its successor.
        old = self._own[:-1] if fits else self._own
        self._own = [arena for arena in old if not arena.close()] + kept
        if not kept:
            self._own.append(Arena.create(self.driver, nbytes, slots))
        return CudaRing.create(layout, slots, self._own[-1])

    def open(self, hello: dict[str, Any], descriptors: list[int]) -> SlotRing[Any]:
        """Another process's ring as this one's (``slots.OpenRing``), in host memory or on the GPU.

        Raises:
            HandleForeign: it is on another GPU.
            LinkClosed: its owner has given it up.
            GpuFailed: CUDA refuses its handles.
        """
        if "device" not in hello:
            return host_ring(hello, descriptors)
        fd, papers = descriptors
        with ExitStack() as undo:
            undo.callback(os.close, fd)
            try:
                if hello["device"] != self.driver.uuid:
                    raise HandleForeign(
                        f"frame handles of a ring on GPU {hello['device']}",
                        f"one on GPU {self.driver.uuid}, which this process has",
                        "report this: all processes of a lane must see the lane's GPU",
                    )
                arena = self._open_arena(papers, *hello["arena"])
            finally:
                os.close(papers)
            layout = {**hello["layout"], "format": PictureFormat(**hello["layout"]["format"])}
            undo.pop_all()
        return CudaRing(fd, DeviceLayout(**layout), hello["slots"], arena)

    def close(self) -> None:
        """Lets go of all memory.

        Raises:
            LaneError: another process did not let go of this one's in time; it is freed when this
                process ends.
        """
        self._let_go()
        self._own = [arena for arena in self._own if not arena.close(self._patience)]
        if self._own:
            raise LaneError(
                f"another process still holds {self._own[0].nbytes >> 20} MiB of this lane's "
                f"memory on GPU {self.driver.uuid} after {self._patience:.0f} s",
                "all of the lane's processes to end their task",
                "the lane is built anew, and the memory freed when this process ends",
            )

    def _let_go(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            opened[1].close()

    def _open_arena(self, papers: int, nbytes: int, slots: int) -> Arena:
        facts = os.fstat(papers)
        which = (facts.st_dev, facts.st_ino)
        if self._opened is None or self._opened[0] != which:
            self._let_go()
            self._opened = (which, Arena.open(self.driver, papers, nbytes, slots))
        return self._opened[1]


def _papers(slots: int) -> int:
    """Bytes of the page with the handles: a byte that says that it is over, then the memory's
    handle, those of the events ``filled`` and those of the events ``free``."""
    return pages(_place(2 * slots).stop)


def _place(number: int) -> slice:
    return slice((1 + number) * HANDLE_NBYTES, (2 + number) * HANDLE_NBYTES)


def _given_up() -> LinkClosed:
    return LinkClosed(
        "the lane's memory on the GPU was given up by its owner",
        "an owner that is at work",
        "the chunk is tried again on a fresh lane",
    )
