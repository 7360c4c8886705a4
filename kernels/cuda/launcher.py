"""Starts kernels: arguments by their types, grids by their blocks, memory that is used again."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.cuda.device import TEXTURE_PITCH, Device, Memory
from kernels.cuda.signatures import SIGNATURES

ROW = 128
"""Rows of pictures that the launcher lays out begin on a multiple of this many bytes."""
assert ROW % TEXTURE_PITCH == 0


class Launcher:
    """A device and memory on it that grows to what was needed and is kept.

    Args:
        device: all work goes to it, in order.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        self._held: dict[str, Memory] = {}

    def run(self, kernel: str, width: int, height: int, *values: Any, count: int = 1) -> None:
        """Launch a kernel over so many outputs, and as many pictures of them as ``count``.

        Raises:
            TypeError: not the arguments that the kernel takes.
        """
        signature = SIGNATURES[kernel]
        if len(values) != len(signature.arguments):
            raise TypeError(
                f"{kernel} with {len(values)} arguments; wanted {len(signature.arguments)}"
            )
        arguments = [
            value if isinstance(value, kind) else kind(value)
            for kind, value in zip(signature.arguments, values, strict=True)
        ]
        across, down, _ = signature.block
        if width > 0 and height > 0 and count > 0:
            grid = (-(-width // across), -(-height // down), count)
            self.device.launch(kernel, grid, signature.block, arguments)

    def memory(self, name: str, nbytes: int) -> int:
        """A pointer to at least so many bytes, valid until the same name is asked for more."""
        held = self._held.get(name)
        if held is None or held.nbytes < nbytes:
            # The old one goes first: both need not fit at once.
            self._held.pop(name, None)
            held = self._held[name] = self.device.reserve(max(nbytes, 1))
        return held.pointer

    def sent(self, name: str, array: NDArray[Any]) -> int:
        """A host array, copied to the device without gaps."""
        whole = np.ascontiguousarray(array).reshape(1, -1)
        pointer = self.memory(name, whole.nbytes)
        self.device.write(pointer, whole.nbytes, whole)
        return pointer

    def fetched(self, pointer: int, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        """An array without gaps, copied from the device."""
        array: NDArray[Any] = np.empty(shape, dtype)
        whole = array.reshape(1, -1)
        self.device.read(pointer, whole.nbytes, whole)
        return array


def pitch_of(width: int, itemsize: int) -> int:
    """Bytes from row to row of a picture that the launcher lays out."""
    return -(-width * itemsize // ROW) * ROW


def rows_nbytes(width: int, height: int, itemsize: int, pitch: int) -> int:
    """Bytes of a picture; its last row ends with its last pixel."""
    return pitch * (height - 1) + width * itemsize
