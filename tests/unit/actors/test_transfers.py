"""Every copy between host and device is counted, and none within the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from actors.transfers import CountedDevice, Transfers
from kernels.cuda.device import Device, Memory, Texture
from kernels.cuda.launcher import Launcher
from kernels.cuda.signatures import Argument


class Block:
    def __init__(self, nbytes: int) -> None:
        self.held = np.zeros(nbytes, np.uint8)
        self.nbytes = nbytes

    @property
    def pointer(self) -> int:
        return self.held.ctypes.data


class HostMemory:
    """A device whose memory is the host's, for contiguous rows."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.asked: list[Any] = []

    def reserve(self, nbytes: int) -> Memory:
        self.blocks.append(Block(nbytes))
        return self.blocks[-1]

    def _at(self, pointer: int, nbytes: int) -> np.ndarray[Any, Any]:
        (block,) = (b for b in self.blocks if 0 <= pointer - b.pointer < b.nbytes)
        first = pointer - block.pointer
        return block.held[first : first + nbytes]

    def write(self, pointer: int, pitch: int, rows: np.ndarray[Any, Any]) -> None:
        self._at(pointer, rows.nbytes)[...] = rows.view(np.uint8).ravel()

    def read(self, pointer: int, pitch: int, rows: np.ndarray[Any, Any]) -> None:
        rows.view(np.uint8).ravel()[...] = self._at(pointer, rows.nbytes)

    def texture(self, texture: Texture) -> int:
        self.asked.append(texture)
        return 5

    def launch(
        self,
        kernel: str,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        arguments: Sequence[Argument],
    ) -> None:
        self.asked.append((kernel, grid, block, list(arguments)))


def test_a_device_is_the_same_but_counted() -> None:
    transfers, inner = Transfers(), HostMemory()
    device: Device = CountedDevice(inner, transfers)
    launcher = Launcher(device)
    sent = np.arange(12, dtype=np.float32).reshape(3, 4)
    pointer = launcher.sent("a", sent)
    assert (launcher.fetched(pointer, (3, 4), "float32") == sent).all()
    launcher.sent("a", sent[:1])
    texture = Texture(pointer=512, pitch=32, width=1, height=1, dtype="uint8")
    assert device.texture(texture) == 5
    device.launch("k", (1, 2, 3), (4, 5, 6), [])
    assert inner.asked == [texture, ("k", (1, 2, 3), (4, 5, 6), [])]
    assert transfers == Transfers(uploads=2, uploaded=64, downloads=1, downloaded=48)


def test_copies_within_the_device_are_none() -> None:
    transfers = Transfers()
    transfers.count("across", 10)
    assert transfers == Transfers()
