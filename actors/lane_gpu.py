"""A GPU as the stages of one process of a lane use it: streams, copies that are counted, and pinned
memory for what must go through the host."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from actors.device_frames import DeviceFrame, DeviceLayout
from actors.surfaces import Surfaces
from actors.transfers import Transfers
from actors.transport.cuda_driver import CudaDriver, Direction
from kernels.picture import Plane

FFMPEG: Final = 0
"""The stream in which FFmpeg decodes: it cannot be told another."""


class LaneGpu:
    """Streams of one process on one GPU.

    Decoding, computing and encoding each have a stream, so that they wait for each other only where
    an event says so.

    Args:
        driver: of the GPU.
        compute: the stream of kernels and networks (``CupyDevice.stream``); None: a new one.
    """

    def __init__(self, driver: CudaDriver, compute: int | None = None) -> None:
        self.driver = driver
        self.transfers = Transfers()
        """All copies between host and device that this process has asked for."""
        self.decode = driver.create_stream()
        """Of uploads; NVDEC's own stream is ``FFMPEG``."""
        self.compute = driver.create_stream() if compute is None else compute
        """Of kernels and networks."""
        self.encode = driver.create_stream()
        """Of the encoder's copies, and NVENC's where it can be told."""
        self._staging: dict[str, memoryview] = {}
        self._turn = 0
        self._surfaces: Surfaces | None = None

    def surfaces(self, nbytes: int) -> Surfaces:
        """Pictures to lend to an encoder; the same pool for the same size."""
        if self._surfaces is None or self._surfaces.nbytes != nbytes:
            self.close()
            self._surfaces = Surfaces(self.driver, nbytes)
        return self._surfaces

    def close(self) -> None:
        """Frees the device memory that was taken here."""
        if self._surfaces is not None:
            gc.collect()  # an encoder that nobody uses any more may still know them
            self.driver.synchronize()
            self._surfaces.close()
            self._surfaces = None

    def upload(self, planes: Sequence[Plane], frame: DeviceFrame) -> None:
        """Fills a frame from host memory, and marks it.

        Two pinned buffers take turns: one is filled while the other is on its way.

        Args:
            planes: as those of the frame, [h, w]; [h, 2 w] where chroma lies in pairs.
        """
        layout, stream = frame.layout, self.decode
        self._turn ^= 1
        staged = self._pinned(f"up {self._turn}", layout)
        for number, plane in enumerate(planes):
            np.copyto(_rows(staged, layout, number), plane.view(np.uint8))
        # The other buffer's copy is done after this, so that it can be filled next.
        self.driver.synchronize(stream)
        frame.await_free(stream)
        self._copy_spans(frame, staged, "up", stream)
        frame.mark_filled(stream)

    def download(self, frame: DeviceFrame) -> list[NDArray[np.uint8]]:
        """The planes of a frame in host memory, as bytes [rows, bytes of a row]; the frame is free
        again. Good until the next download."""
        layout, stream = frame.layout, self.encode
        staged = self._pinned("down", layout)
        frame.await_filled(stream)
        self._copy_spans(frame, staged, "down", stream)
        frame.mark_free(stream)
        self.driver.synchronize(stream)
        return [_rows(staged, layout, number) for number in range(layout.planes)]

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
        """As ``CudaDriver.copy``, counted."""
        self.transfers.count(direction, row * rows)
        self.driver.copy(to, to_pitch, source, pitch, row, rows, direction, stream)

    def _copy_spans(
        self, frame: DeviceFrame, staged: memoryview, direction: Direction, stream: int
    ) -> None:
        host = ctypes.addressof(ctypes.c_ubyte.from_buffer(staged))
        device, pitch = frame.picture.planes[0].pointer, frame.layout.pitch
        for offset, row, rows in frame.layout.spans:
            there, here = device + offset, host + offset
            if direction == "down":
                there, here = here, there
            self.copy(there, pitch, here, pitch, row, rows, direction, stream)

    def _pinned(self, name: str, layout: DeviceLayout) -> memoryview:
        nbytes = layout.crops_offset
        held = self._staging.get(name)
        if held is None or held.nbytes < nbytes:
            self._staging.pop(name, None)
            held = self._staging[name] = self.driver.host_memory(nbytes)
        return held


def _rows(staged: memoryview, layout: DeviceLayout, number: int) -> NDArray[np.uint8]:
    """A plane in memory that is laid out as a slot is."""
    rows, row = layout.rows(number)
    start = layout.plane_offset(number)
    whole = np.frombuffer(staged, np.uint8, rows * layout.pitch, start)
    return whole.reshape(rows, layout.pitch)[:, :row]
