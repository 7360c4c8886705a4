"""Pictures in device memory that are lent to an encoder for as long as it looks at them."""

from __future__ import annotations

import weakref
from typing import Final

from actors.transport.cuda_driver import CudaDriver
from scheduler.errors import EncoderFailed

MOST_SURFACES: Final = 64
"""So many input pictures FFmpeg's NVENC knows at once by their pointers."""


class Surface:
    """One picture's memory; it is free again when nobody holds this any more."""

    def __init__(self, pointer: int, pool: Surfaces) -> None:
        self.pointer = pointer
        weakref.finalize(self, pool.give_back, pointer).atexit = False


class Surfaces:
    """A pool of pictures of one size, for one encoder after the other.

    Args:
        driver: of the GPU.
        nbytes: of a picture.
    """

    def __init__(self, driver: CudaDriver, nbytes: int) -> None:
        self.nbytes = nbytes
        self._driver = driver
        self._free: list[int] = []
        self._made = 0
        self._closed = False

    def take(self) -> Surface:
        """One that nobody looks at.

        Raises:
            EncoderFailed: the encoder keeps too many.
            LaneOutOfMemory: no memory for another.
        """
        if not self._free:
            if self._made >= MOST_SURFACES:
                raise EncoderFailed(
                    f"the encoder holds {self._made} pictures",
                    f"fewer than {MOST_SURFACES}",
                    "choose another encoder, and report this",
                )
            self._free.append(self._driver.malloc(self.nbytes))
            self._made += 1
        return Surface(self._free.pop(), self)

    def give_back(self, pointer: int) -> None:
        """Called by whoever held a surface last, on any thread."""
        if self._closed:
            self._driver.free(pointer)
        else:
            self._free.append(pointer)

    def close(self) -> None:
        """Frees the memory; that of lent ones when they come back."""
        self._closed = True
        while self._free:
            self._driver.free(self._free.pop())
