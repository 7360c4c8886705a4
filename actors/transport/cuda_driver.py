"""What a lane asks of CUDA besides kernels: memory that processes share, events, streams, copies.

``libcuda`` is the real one. The tests have another between real processes that checks how it is
used. Pointers, streams, events are numbers, as CUDA has them; stream 0 is the legacy default one.
"""

from __future__ import annotations

from typing import Literal, Protocol

Direction = Literal["up", "down", "across"]
"""Of a copy: to the device, to the host, within the device."""

HANDLE_NBYTES = 64
"""Of a memory handle and of an event handle."""


class CudaDriver(Protocol):
    """One GPU, in one process, by its primary context.

    Raises (each call): GpuFailed, LaneOutOfMemory where there is no memory.
    """

    @property
    def uuid(self) -> str:
        """Of the device, or of the slice of one: "GPU-..." or "MIG-..."."""
        ...

    @property
    def dlpack_device(self) -> tuple[int, int]:
        """As DLPack names it: (2, number among the devices that this process sees)."""
        ...

    @property
    def context(self) -> int:
        """The driver's handle of the device's primary context."""
        ...

    def malloc(self, nbytes: int) -> int:
        """Device memory of its own, which a handle can name."""
        ...

    def free(self, pointer: int) -> None: ...

    def mem_handle(self, pointer: int) -> bytes:
        """What another process opens. ``pointer`` must be what `malloc` gave."""
        ...

    def open_mem_handle(self, handle: bytes) -> int:
        """A pointer to another process's memory; once for each handle."""
        ...

    def close_mem_handle(self, pointer: int) -> None: ...

    def create_event(self) -> int:
        """An event that other processes can open."""
        ...

    def event_handle(self, event: int) -> bytes: ...

    def open_event(self, handle: bytes) -> int: ...

    def destroy_event(self, event: int) -> None: ...

    def record(self, event: int, stream: int) -> None:
        """The event comes once all is done that was asked of the stream before."""
        ...

    def wait(self, event: int, stream: int) -> None:
        """What is asked of the stream from now on waits for the event's last record; an event that
        nobody has recorded is no reason to wait."""
        ...

    def create_stream(self) -> int:
        """A stream that does not wait for stream 0. It lives as long as the process."""
        ...

    def synchronize(self, stream: int | None = None) -> None:
        """The caller waits until all is done that was asked of a stream; None: of the device."""
        ...

    def host_memory(self, nbytes: int) -> memoryview:
        """Pinned memory, from which and to which copies need no detour. It lives as long as the
        process."""
        ...

    def copy(
        self,
        to: int,
        to_pitch: int,
        source: int,
        pitch: int,
        row: int,
        rows: int,
        direction: Direction,
        stream: int,
    ) -> None:
        """Copy rows of ``row`` bytes. From and to pinned or device memory it is done later."""
        ...
