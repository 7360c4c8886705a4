"""A whole GPU without one: `fake_gpu`'s memory, events and streams, the kernels themselves played
by the CPU (`cuda_device`), and a TensorRT that computes with ONNX Runtime (`fake_tensorrt`).

All three have the same memory at the same addresses. What a kernel writes into memory that streams
share is poison to all other streams until something waits for it, as what a copy writes is.
"""

from __future__ import annotations

import ctypes
import os
import struct
import weakref
from collections import defaultdict
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from actors.gpu import Gpu
from kernels.cuda.device import Texture
from kernels.cuda.signatures import Argument
from tests.support.cuda_device import HostDevice
from tests.support.fake_gpu import POISON, Bytes, FakeDriver, Fault, Span, _meet, _rows
from tests.support.fake_tensorrt import FakeTensorRt

BASE: Final = 0x2000_0000_0000
"""Neither this process nor one under AddressSanitizer has anything from here on."""
ROOM: Final = 1 << 30
"""Addresses for each piece of memory."""
POOL: Final = 768 << 20
"""Bytes of a device's own memory; a file with holes."""
_PIECES: Final = count()
_FIXED: Final = 0x100000
"""MAP_FIXED_NOREPLACE"""


def mapped_at(path: Path, nbytes: int, address: int) -> Bytes:
    """A file as memory that processes share, where we want it."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (
        *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int),
        ctypes.c_int64,
    )
    fd = os.open(path, os.O_RDWR)
    try:
        found = libc.mmap(address, nbytes, 3, 1 | _FIXED, fd, 0)
    finally:
        os.close(fd)
    if found != address:
        raise OSError(ctypes.get_errno(), f"{nbytes} bytes at {address:#x}")
    return np.frombuffer((ctypes.c_ubyte * nbytes).from_address(address), np.uint8)


class KernelProcess(HostDevice):
    """A device process that has memory of this one."""

    def map(self, path: Path, address: int, nbytes: int) -> None:
        """Nothing of it may be touched until it is allowed."""
        name = str(path).encode()
        self._send(b"M", struct.pack("<QQQ", address, nbytes, len(name)), name)
        self._receive(1)

    def allow(self, address: int, nbytes: int) -> None:
        self._send(b"U", struct.pack("<QQ", address, nbytes))

    def forbid(self, address: int, nbytes: int) -> None:
        self._send(b"O", struct.pack("<QQ", address, nbytes))


class PlayedDriver(FakeDriver):
    """`FakeDriver` whose memory kernels can read and write.

    Args:
        folder: the GPU: the same for all that see it.
        kernels: this process's.
    """

    def __init__(self, folder: Path, kernels: KernelProcess) -> None:
        self._kernels = kernels
        super().__init__(folder, surfaces=True)

    def run(self, stream: int, kernel: Any, textures: Sequence[Texture]) -> None:
        """Runs a kernel in a stream: it sees what the stream itself wrote and what the stream has
        waited for.

        Args:
            textures: that it reads. What else it reads is not known here.
        """
        with self._state() as state:
            mine = [self._me, stream]
            for each in textures:
                if self._find(each.pointer) is not None:
                    row = each.width * each.channels * np.dtype(each.dtype).itemsize
                    _, span = self._span(each.pointer, each.pitch, row, each.height)
                    state["reads"].append({"id": self._next(state), "by": mine, "span": span})
            own = [write["span"] for write in state["writes"] if write["by"] == mine]
            for mapping in self._mappings.values():
                for span in own:
                    if span[0] == mapping.number:
                        _rows(mapping.seen, span)[...] = _rows(mapping.true, span)
            before = {pointer: each.seen.copy() for pointer, each in self._mappings.items()}
            kernel()
            for pointer, mapping in self._mappings.items():
                changed = np.flatnonzero(mapping.seen != before[pointer])
                if not len(changed):
                    continue
                first, last = int(changed[0]), int(changed[-1]) + 1
                span = [mapping.number, first, last - first, last - first, 1]
                self._check(state, mine, span)
                mapping.true[first:last] = mapping.seen[first:last]
                state["writes"].append({"id": self._next(state), "by": mine, "span": span})
                own.append(span)
            for mapping in self._mappings.values():
                for span in own:
                    if span[0] == mapping.number and stream not in self.eager:
                        _rows(mapping.seen, span)[...] = POISON

    def _check(self, state: dict[str, Any], mine: list[int], span: Span) -> None:
        for kind in ("reads", "writes"):
            for other in state[kind]:
                if other["by"] != mine and _meet(other["span"], span):
                    raise Fault(f"a kernel writes {span} while {other['by']} still {kind} it")

    def _view(self, path: Path, nbytes: int) -> Bytes:
        address = BASE + ROOM * next(_PIECES)
        view = mapped_at(path, nbytes, address)
        self._kernels.map(path, address, nbytes)
        self._kernels.allow(address, nbytes)
        return view

    def _unmap(self, mapping: Any, how: str) -> None:
        self._kernels.forbid(mapping.pointer, mapping.nbytes)
        super()._unmap(mapping, how)


class PoolMemory:
    """Memory of a device's own; fresh memory is NaN, freed memory belongs to nobody."""

    def __init__(self, device: PlayedDevice, nbytes: int) -> None:
        self.nbytes = nbytes
        self.pointer = device.take(nbytes)
        weakref.finalize(self, device.stale.append, self.pointer)


class PlayedDevice:
    """``kernels.cuda.device.Device`` and ``actors.inference.engines.StreamDevice``."""

    def __init__(self, folder: Path, driver: PlayedDriver, kernels: KernelProcess) -> None:
        self.stream = driver.create_stream()
        self._driver, self._kernels = driver, kernels
        self.stale: list[int] = []
        """To be freed: a finalizer may run at any time."""
        self._live: dict[int, int] = {}
        self._free: defaultdict[int, list[int]] = defaultdict(list)
        self._textures: dict[int, Texture] = {}
        path = folder / f"pool {os.getpid()} {id(self)}"
        with open(path, "wb") as file:
            file.truncate(POOL)
        self._next = self._first = BASE + ROOM * next(_PIECES)
        self._bytes = mapped_at(path, POOL, self._first)
        kernels.map(path, self._first, POOL)
        path.unlink()

    def take(self, nbytes: int) -> int:
        while self.stale:
            pointer = self.stale.pop()
            nbytes_then = self._live.pop(pointer)
            self._kernels.forbid(pointer, nbytes_then)
            self._free[_whole(nbytes_then)].append(pointer)
        size = _whole(nbytes)
        if self._free[size]:
            pointer = self._free[size].pop()
        else:
            pointer, self._next = self._next, self._next + size
            assert self._next <= self._first + POOL, "the pool is used up"
        self._live[pointer] = nbytes
        self._kernels.allow(pointer, nbytes)
        self.array(pointer, (nbytes,), "uint8")[...] = 0xFF
        return pointer

    def reserve(self, nbytes: int) -> PoolMemory:
        return PoolMemory(self, nbytes)

    def at(self, pointer: int, nbytes: int) -> int:
        """The same pointer, if all of that is one living piece of memory."""
        for start, size in self._live.items():
            if start <= pointer and pointer + nbytes <= start + size:
                return pointer
        raise Fault(f"{nbytes} bytes at {pointer:#x} are nobody's")

    def array(self, pointer: int, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        """A view of device memory."""
        nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        first = self.at(pointer, nbytes) - self._first
        return self._bytes[first : first + nbytes].view(dtype).reshape(shape)

    def write(self, pointer: int, pitch: int, rows: NDArray[Any]) -> None:
        self._strided(pointer, pitch, rows)[...] = _bytes(np.ascontiguousarray(rows))

    def read(self, pointer: int, pitch: int, rows: NDArray[Any]) -> None:
        _bytes(rows)[...] = self._strided(pointer, pitch, rows)

    def _strided(self, pointer: int, pitch: int, rows: NDArray[Any]) -> NDArray[Any]:
        row = rows[0].nbytes
        flat = self.array(pointer, (pitch * (len(rows) - 1) + row,), "uint8")
        return np.lib.stride_tricks.as_strided(flat, (len(rows), row), (pitch, 1))

    def texture(self, texture: Texture) -> int:
        handle = self._kernels.texture(texture)
        self._textures[handle] = texture
        return handle

    def launch(
        self,
        kernel: str,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        arguments: Sequence[Argument],
    ) -> None:
        values = [each.value for each in arguments if isinstance(each, ctypes.c_uint64)]
        self._driver.run(
            self.stream,
            lambda: self._kernels.launch(kernel, grid, block, arguments),
            [self._textures[value] for value in values if value in self._textures],
        )


class PlayedGpu:
    """Args:
    folder: the GPU: the same for all processes that see it.
    program: of the kernels (`cuda_device.build`).
    """

    def __init__(self, folder: Path, program: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.kernels = KernelProcess(program)
        self.driver = PlayedDriver(folder, self.kernels)
        self.device = PlayedDevice(folder, self.driver, self.kernels)
        self.tensorrt = FakeTensorRt(self.device)  # type: ignore[arg-type]
        self.gpu = Gpu(
            device=self.device, stream=self.device, tensorrt=self.tensorrt, driver=self.driver
        )

    def close(self) -> None:
        self.kernels.close()
        self.driver.die()


def _whole(nbytes: int) -> int:
    """With a gap after it that nobody may touch."""
    return (nbytes // 512 + 2) * 512


def _bytes(rows: NDArray[Any]) -> NDArray[np.uint8]:
    return rows.reshape(len(rows), -1).view(np.uint8)
