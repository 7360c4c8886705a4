"""One body for the tests of rings in host memory and on a GPU: what they do to frames."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from actors.device_frames import DeviceFrame, DeviceLayout
from actors.frames import SlotLayout
from actors.transport.cuda_ipc import Arenas, CudaRing
from actors.transport.libcuda import LibCuda
from actors.transport.shm import Ring, host_ring
from actors.transport.slots import OpenRing
from kernels.picture import PictureFormat
from tests.support.fake_gpu import FakeDriver

STREAM: Final = 7
FORMAT: Final = PictureFormat(width=34, height=18, depth=10, matrix="bt2020")


class HostPlace:
    """Rings in host memory."""

    no_memory = "too little for a ring"
    folder = "a folder that is not there"

    def layout(self, fmt: PictureFormat = FORMAT, faces: int = 2, size: int = 16) -> SlotLayout:
        return SlotLayout(format=fmt, faces=faces, crop_size=size)

    def ring(self, slots: int, layout: Any = None, process: int = 0) -> Ring:
        return Ring.create(layout or self.layout(), slots)

    def opener(self, process: int) -> OpenRing:
        return host_ring

    def peer(self, ring: Ring) -> Ring:
        """The ring as another process has it."""
        return host_ring(ring.hello(), [os.dup(fd) for fd in ring.descriptors()])

    def fill(self, frame: Any, value: int) -> None:
        """What the first stage does: all samples and crops get a value."""
        for part in (*frame.picture.planes, frame.crops, frame.originals):
            part[...] = value

    def samples(self, frame: Any) -> list[NDArray[Any]]:
        """What a later stage sees: planes and crops."""
        return [*(plane.copy() for plane in frame.picture.planes), frame.crops.copy()]

    def add(self, frame: Any, value: int) -> None:
        """What a stage between does to luma."""
        frame.picture.planes[0][...] += value

    def done(self, frame: Any) -> None:
        """What the last stage says."""

    def close(self) -> None:
        """Nothing is kept."""


class RealDriver(LibCuda):
    """A GPU's driver with what the fake one has for tests: reads and writes in a stream."""

    def load(self, pointer: int, pitch: int, row: int, rows: int, stream: int) -> NDArray[np.uint8]:
        back = np.frombuffer(self.host_memory(row * rows), np.uint8).reshape(rows, row)
        self.copy(back.ctypes.data, row, pointer, pitch, row, rows, "down", stream)
        self.synchronize(stream)
        return back

    def store(self, pointer: int, pitch: int, data: NDArray[np.uint8], stream: int) -> None:
        rows, row = data.shape
        sent = np.frombuffer(self.host_memory(row * rows), np.uint8).reshape(rows, row)
        sent[...] = data
        self._on_its_way = [*getattr(self, "_on_its_way", [])[-50:], sent]
        self.copy(pointer, pitch, sent.ctypes.data, row, row, rows, "up", stream)


class GpuPlace:
    """Rings on a fake GPU; each process has its own driver.

    Args:
        folder: the fake GPU.
        driver: of another one.
    """

    no_memory = "bytes are free"

    def __init__(self, folder: Path, driver: RealDriver | None = None) -> None:
        self.stream = STREAM
        self._driver = driver
        self.folder = str(folder)
        self._folder = folder
        self._arenas: dict[int, Arenas] = {}

    def layout(self, fmt: PictureFormat = FORMAT, faces: int = 2, size: int = 16) -> DeviceLayout:
        return DeviceLayout(format=fmt, faces=faces, crop_size=size, semi_planar=False)

    def arenas(self, process: int) -> Arenas:
        if process not in self._arenas:
            self._arenas[process] = Arenas(self._driver or FakeDriver(self._folder), patience=5.0)
        return self._arenas[process]

    def ring(self, slots: int, layout: Any = None, process: int = 0) -> CudaRing:
        return self.arenas(process).ring(layout or self.layout(), slots)

    def opener(self, process: int) -> OpenRing:
        return self.arenas(process).open

    def peer(self, ring: CudaRing) -> Any:
        return self.opener(1)(ring.hello(), [os.dup(fd) for fd in ring.descriptors()])

    def fill(self, frame: DeviceFrame, value: int) -> None:
        frame.await_free(self.stream)
        driver, layout = driver_of(frame), frame.layout
        for number, plane in enumerate(frame.picture.planes):
            rows, row = layout.rows(number)
            data = np.full((rows, row // plane.itemsize), value, plane.dtype).view(np.uint8)
            driver.store(plane.pointer, plane.pitch, data, self.stream)
        for pointer, channels in ((frame.crops, 4), (frame.originals, 3)):
            values = np.full((1, layout.faces * layout.crop_size**2 * channels), value, "float32")
            if values.size:
                driver.store(pointer, values.nbytes, values.view(np.uint8), self.stream)
        frame.mark_filled(self.stream)

    def samples(self, frame: DeviceFrame) -> list[NDArray[Any]]:
        frame.await_filled(self.stream)
        return self.look(frame)

    def look(self, frame: DeviceFrame) -> list[NDArray[Any]]:
        """What is in a frame, whoever waits for it or not."""
        driver, layout = driver_of(frame), frame.layout
        found = []
        for number, plane in enumerate(frame.picture.planes):
            rows, row = layout.rows(number)
            seen = driver.load(plane.pointer, plane.pitch, row, rows, self.stream)
            found.append(seen.view(plane.dtype))
        if layout.faces:
            nbytes = layout.faces * layout.crop_size**2 * 4 * 4
            found.append(driver.load(frame.crops, nbytes, nbytes, 1, self.stream).view("float32"))
        return found

    def add(self, frame: DeviceFrame, value: int) -> None:
        frame.await_filled(self.stream)
        luma = self.look(frame)[0] + value
        plane = frame.picture.planes[0]
        driver_of(frame).store(plane.pointer, plane.pitch, luma.view(np.uint8), self.stream)
        frame.mark_filled(self.stream)

    def done(self, frame: DeviceFrame) -> None:
        frame.mark_free(self.stream)

    def used(self) -> tuple[int, int]:
        """(bytes, events) of the GPU that are taken."""
        driver = FakeDriver(self._folder)
        return driver.used(), driver.events()

    def close(self) -> None:
        for process in sorted(self._arenas, reverse=True):
            self._arenas[process].close()
        self._arenas.clear()


Place = HostPlace | GpuPlace


def driver_of(frame: DeviceFrame) -> FakeDriver | RealDriver:
    """The driver of the process that a frame belongs to, as tests have it."""
    driver = frame._driver
    assert isinstance(driver, FakeDriver | RealDriver)
    return driver
