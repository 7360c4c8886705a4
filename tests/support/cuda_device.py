"""``kernels.cuda.device.Device`` without a GPU: the kernels themselves, compiled for the CPU with
AddressSanitizer and UndefinedBehaviorSanitizer, in a process that plays the device."""

from __future__ import annotations

import hashlib
import shutil
import struct
import subprocess
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kernels.cuda.device import TEXTURE_PITCH, Texture
from kernels.cuda.signatures import SOURCES, Argument

SUPPORT: Final = Path(__file__).resolve().parent
KERNELS: Final = SUPPORT.parents[1] / "kernels" / "cuda"
COMPILER: Final = (
    *("g++", "-std=c++17", "-O1", "-g1", "-ffp-contract=off", "-Wall", "-Wno-unknown-pragmas"),
    *("-Wno-unused-function", "-Wno-attributes", "-Werror", "-fsanitize=address,undefined"),
    *("-fsanitize=float-cast-overflow", "-fno-sanitize-recover=all", f"-I{SUPPORT}"),
)
STARTS: Final = 20
_SANITIZERS: Final = {
    "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0:exitcode=99",
    "UBSAN_OPTIONS": "print_stacktrace=0:exitcode=99",
    "PATH": "/usr/bin:/bin",
}


class HostFault(AssertionError):
    """The device process ended: what a sanitizer or the shim found is the message."""


def build(folder: Path, changed: Mapping[str, str] | None = None) -> Path:
    """Compile the device process; what the folder has already is not compiled again.

    Args:
        folder: for objects and programs.
        changed: files of ``kernels/cuda`` by name that are to have another text.
    """
    texts = {path.name: path.read_text() for path in sorted(KERNELS.glob("*.cu*"))}
    texts |= changed or {}
    shared = {name: text for name, text in texts.items() if name.endswith(".cuh")}
    objects = [_object(folder, (SUPPORT / "cuda_host.cpp").read_text(), {})]
    for name, kernels in SOURCES.items():
        entries = ", ".join(f"HOST_KERNEL({kernel})" for kernel in kernels)
        wrapper = (
            f'#include "cuda_host.h"\n#include "{name}"\n'
            f"static const HostKernel entries[] = {{{entries}}};\n"
            f"static const int told = cuda_host_offer(entries, {len(kernels)});\n"
        )
        objects.append(_object(folder, wrapper, {name: texts[name], **shared}))
    program = folder / f"device-{_digest(*(each.name for each in objects))}"
    if not program.exists():
        fresh = program.with_suffix(".new")
        _run([*COMPILER, *map(str, objects), "-o", str(fresh)])
        fresh.rename(program)
    return program


def _object(folder: Path, source: str, files: Mapping[str, str]) -> Path:
    shim = (SUPPORT / "cuda_host.h").read_text()
    target = folder / f"{_digest(source, shim, *COMPILER, *files.values())}.o"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=folder) as place:
            for name, text in files.items():
                Path(place, name).write_text(text)
            main = Path(place, "main.cpp")
            main.write_text(source)
            made = Path(place, "made.o")
            _run([*COMPILER, f"-I{place}", "-c", str(main), "-o", str(made)])
            made.rename(target)
    return target


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:24]


def _run(command: Sequence[str]) -> None:
    if not shutil.which(command[0]):
        raise AssertionError(f"{command[0]} is missing: the kernels are run on the CPU through it")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)}\n{done.stderr}")


class HostMemory:
    """Freed in the device process when nobody holds it any more."""

    def __init__(self, device: HostDevice, nbytes: int) -> None:
        self.nbytes = nbytes
        self.pointer = device.allocate(nbytes)
        weakref.finalize(self, device.release, self.pointer)


class HostDevice:
    """A device process, to be closed.

    Args:
        program: from ``build``.
        seed: of the orders in which threads and blocks run.
    """

    def __init__(self, program: Path, seed: int = 0) -> None:
        for attempt in range(STARTS):
            self._start(program)
            try:
                self._send(b"P")
                self._receive(1)
                break
            except HostFault as fault:
                # Older AddressSanitizers do not always find room where addresses are very random.
                if "hadow memory" not in str(fault) or attempt == STARTS - 1:
                    raise
        self._orders = np.random.default_rng(seed)
        self._textures: dict[Texture, int] = {}
        self._stale: list[int] = []
        self.launched: list[str] = []
        """Names of the kernels, in order."""

    def _start(self, program: Path) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=_SANITIZERS,
        )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            if pipe is not None:
                pipe.close()

    def allocate(self, nbytes: int) -> int:
        for pointer in self._stale:
            self._send(b"F", struct.pack("<Q", pointer))
        self._stale.clear()
        self._send(b"A", struct.pack("<Q", nbytes))
        (pointer,) = struct.unpack("<Q", self._receive(8))
        return int(pointer)

    def release(self, pointer: int) -> None:
        # From a finalizer, which may run in the middle of another message.
        self._stale.append(pointer)

    def reserve(self, nbytes: int) -> HostMemory:
        return HostMemory(self, nbytes)

    def write(self, pointer: int, pitch: int, rows: NDArray[Any]) -> None:
        row = rows[0].nbytes if len(rows) else 0
        head = struct.pack("<QQQQ", pointer, pitch, row, len(rows))
        self._send(b"W", head, np.ascontiguousarray(rows).tobytes())

    def read(self, pointer: int, pitch: int, rows: NDArray[Any]) -> None:
        row = rows[0].nbytes if len(rows) else 0
        self._send(b"R", struct.pack("<QQQQ", pointer, pitch, row, len(rows)))
        data = self._receive(row * len(rows))
        rows[...] = np.frombuffer(data, rows.dtype).reshape(rows.shape)

    def texture(self, texture: Texture) -> int:
        if texture not in self._textures:
            facts = (
                *(texture.width, texture.height, texture.channels),
                *(np.dtype(texture.dtype).itemsize, int(texture.zero_beyond)),
            )
            head = struct.pack("<Qq5i", texture.pointer, texture.pitch, *facts)
            self._send(b"T", head)
            (self._textures[texture],) = struct.unpack("<Q", self._receive(8))
        return self._textures[texture]

    def launch(
        self,
        kernel: str,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        arguments: Sequence[Argument],
    ) -> None:
        self.launched.append(kernel)
        order = int(self._orders.integers(2**32))
        values = [bytes(value) for value in arguments]
        head = kernel.encode().ljust(64, b"\0")
        shape = struct.pack("<6IIi", *grid, *block, order, len(values))
        sizes = struct.pack(f"<{len(values)}i", *map(len, values))
        self._send(b"L", head, shape, sizes, *values)
        self._receive(1)

    def _send(self, *parts: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(b"".join(parts))
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._fault() from None

    def _receive(self, nbytes: int) -> bytes:
        assert self._process.stdout is not None
        data = self._process.stdout.read(nbytes)
        if len(data) < nbytes:
            raise self._fault()
        return data

    def _fault(self) -> HostFault:
        self._process.wait()
        self._errors.seek(0)
        text = self._errors.read().decode(errors="replace")
        return HostFault(f"the device process ended with {self._process.returncode}\n{text[:4000]}")


class Devices:
    """Device processes of one test session, compiled once. Use as a context manager.

    Args:
        folder: for what is compiled.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._usual: HostDevice | None = None
        self._made: list[HostDevice] = []

    def __enter__(self) -> Devices:
        return self

    def __exit__(self, *_: object) -> None:
        for device in self._made:
            device.close()

    def usual(self) -> HostDevice:
        """A device with the kernels as they are; after a fault another one."""
        if self._usual is None or not self._usual.alive:
            self._usual = self.changed({})
        return self._usual

    def program(self) -> Path:
        """What runs the kernels as they are."""
        return build(self._folder)

    def changed(self, files: Mapping[str, str], seed: int = 0) -> HostDevice:
        """A device of its own, with some files of ``kernels/cuda`` replaced."""
        device = HostDevice(build(self._folder, files), seed)
        self._made.append(device)
        return device


assert TEXTURE_PITCH == 32, "cuda_host.cpp refuses what is not on this"
