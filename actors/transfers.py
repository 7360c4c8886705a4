"""How often pixels cross between host and device: every such copy is counted here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from actors.transport.cuda_driver import Direction
from kernels.cuda.device import Device, Memory, Rows, Texture
from kernels.cuda.signatures import Argument


@dataclass(slots=True)
class Transfers:
    """Counts copies, of one process. Those within the device are no transfers."""

    uploads: int = 0
    uploaded: int = 0
    """Bytes."""
    downloads: int = 0
    downloaded: int = 0
    """Bytes."""

    def count(self, direction: Direction, nbytes: int) -> None:
        """Called with each copy."""
        if direction == "up":
            self.uploads += 1
            self.uploaded += nbytes
        elif direction == "down":
            self.downloads += 1
            self.downloaded += nbytes


class CountedDevice:
    """``kernels.cuda.device.Device`` whose copies are counted."""

    def __init__(self, device: Device, transfers: Transfers) -> None:
        self._device = device
        self._transfers = transfers

    def reserve(self, nbytes: int) -> Memory:
        return self._device.reserve(nbytes)

    def write(self, pointer: int, pitch: int, rows: Rows) -> None:
        self._transfers.count("up", rows.nbytes)
        self._device.write(pointer, pitch, rows)

    def read(self, pointer: int, pitch: int, rows: Rows) -> None:
        self._transfers.count("down", rows.nbytes)
        self._device.read(pointer, pitch, rows)

    def texture(self, texture: Texture) -> int:
        return self._device.texture(texture)

    def launch(
        self,
        kernel: str,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        arguments: Sequence[Argument],
    ) -> None:
        self._device.launch(kernel, grid, block, arguments)
