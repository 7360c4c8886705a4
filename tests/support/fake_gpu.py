"""A GPU that looks over one's shoulder: ``CudaDriver`` over memory that processes really share.

What a stream is asked to write is not to be seen (it is poison) until something waits for it: an
event that was recorded after it, or the host. So a reader that forgets the event reads poison, in
whatever process it is. What a GPU would leave undefined, or forgive, is a `Fault` here.

A fake GPU is a folder. Each `FakeDriver` on it counts as a process of its own, in whatever process
it lives; what belongs to one whose process has died is taken back, as by a real driver.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import numpy as np
from numpy.typing import NDArray

from actors.transport.cuda_driver import HANDLE_NBYTES, Direction
from scheduler.errors import GpuFailed, LaneOutOfMemory

POISON = 0xA5
Bytes = NDArray[np.uint8]
Span = list[int]
"""Memory's number, first byte, bytes from row to row, bytes of a row, rows."""


class Fault(AssertionError):
    """CUDA was used in a way that it does not promise to bear."""


def device_uuid(number: int) -> str:
    """Of the fake GPU of a number."""
    return str(uuid5(UUID(int=0), f"fake GPU {number}"))


def _ends(span: Span) -> tuple[int, int]:
    _, first, pitch, row, rows = span
    return first, first + pitch * (rows - 1) + row


def _meet(one: Span, other: Span) -> bool:
    (a, b), (c, d) = _ends(one), _ends(other)
    return one[0] == other[0] and a < d and c < b


def mapped(path: Path, nbytes: int) -> Bytes:
    """A file as memory that processes share."""
    with open(path, "r+b") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), nbytes), np.uint8)


View = Callable[[Path, int], Bytes]


class _Mapping:
    """A memory of the GPU in this process: what is true, and what can be seen of it."""

    def __init__(self, folder: Path, number: int, nbytes: int, view: View = mapped) -> None:
        self.number, self.nbytes = number, nbytes
        self.seen = view(folder / f"{number}.seen", nbytes)
        self.true = mapped(folder / f"{number}.true", nbytes)
        self.pointer = self.seen.ctypes.data


class FakeDriver:
    """``CudaDriver`` on a folder.

    Args:
        folder: the GPU: the same for all that see it.
        number: of the GPU among those of that folder.
        capacity: bytes that it has.
        surfaces: whether a copy from the device may begin where this GPU has no memory: decoders'
            own frames, which lie in host memory here.
        eager: streams in which FFmpeg reads, so that what is written there can be seen at once.
    """

    dlpack_device = (1, 0)
    context = 0xC0

    def __init__(
        self,
        folder: Path,
        number: int = 0,
        *,
        capacity: int = 1 << 30,
        surfaces: bool = False,
    ) -> None:
        self._folder = folder
        self.uuid = device_uuid(number)
        self._capacity, self._surfaces = capacity, surfaces
        self.eager: set[int] = set()
        self._mappings: dict[int, _Mapping] = {}
        self._gone: list[tuple[_Mapping, str]] = []
        self._streams = 0
        folder.mkdir(exist_ok=True, parents=True)
        with self._state(sweep=True) as state:
            self._me = self._next(state)
            path = folder / f"{self._me}.alive"
            self._alive = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
            fcntl.flock(self._alive, fcntl.LOCK_EX)

    # -- what tests ask ---------------------------------------------------------------------------

    def used(self) -> int:
        """Bytes of the GPU that somebody has, in all processes that live."""
        with self._state(sweep=True) as state:
            return sum(m["nbytes"] for m in state["memory"].values() if m["uuid"] == self.uuid)

    def events(self) -> int:
        """Events of all processes that live."""
        with self._state(sweep=True) as state:
            return len(state["events"])

    def die(self) -> None:
        """As if the process had been killed."""
        os.close(self._alive)

    def load(self, pointer: int, pitch: int, row: int, rows: int, stream: int) -> Bytes:
        """What a kernel in a stream reads."""
        with self._state() as state:
            return self._read(state, pointer, pitch, row, rows, stream)

    def store(self, pointer: int, pitch: int, data: Bytes, stream: int) -> None:
        """What a kernel in a stream writes."""
        with self._state() as state:
            self._write(state, pointer, pitch, data, stream)

    # -- CudaDriver -------------------------------------------------------------------------------

    def malloc(self, nbytes: int) -> int:
        with self._state(sweep=True) as state:
            taken = sum(m["nbytes"] for m in state["memory"].values() if m["uuid"] == self.uuid)
            if taken + nbytes > self._capacity:
                raise LaneOutOfMemory(
                    f"{self._capacity - taken} bytes are free", f"{nbytes}", "fewer lanes"
                )
            number = self._next(state)
            for kind in ("seen", "true"):
                (self._folder / f"{number}.{kind}").write_bytes(bytes([POISON]) * nbytes)
            state["memory"][str(number)] = {
                "nbytes": nbytes, "owner": self._me, "uuid": self.uuid, "open": [],
            }  # fmt: skip
        return self._map(number, nbytes)

    def free(self, pointer: int) -> None:
        mapping = self._base(pointer, "free")
        with self._state(sweep=True) as state:
            memory = state["memory"][str(mapping.number)]
            if memory["owner"] != self._me:
                raise Fault("memory of another process is freed")
            if memory["open"]:
                raise Fault(f"memory is freed that {len(memory['open'])} others still have open")
            del state["memory"][str(mapping.number)]
        self._unmap(mapping, "freed")

    def mem_handle(self, pointer: int) -> bytes:
        mapping = self._base(pointer, "a handle")
        return self._handle("memory", mapping.number)

    def open_mem_handle(self, handle: bytes) -> int:
        number = self._opened("memory", handle)
        with self._state(sweep=True) as state:
            memory = state["memory"].get(str(number))
            if memory is None:
                raise Fault("a handle of memory that is gone is opened")
            self._check_opener(memory)
            memory["open"].append(self._me)
            nbytes = memory["nbytes"]
        return self._map(number, nbytes)

    def close_mem_handle(self, pointer: int) -> None:
        mapping = self._base(pointer, "close")
        with self._state(sweep=True) as state:
            memory = state["memory"].get(str(mapping.number))
            if memory is not None:
                if self._me not in memory["open"]:
                    raise Fault("memory is closed that was not opened here")
                memory["open"].remove(self._me)
        self._unmap(mapping, "closed")

    def create_event(self) -> int:
        with self._state() as state:
            number = self._next(state)
            state["events"][str(number)] = {
                "owner": self._me, "uuid": self.uuid, "open": [], "writes": [], "reads": [],
            }  # fmt: skip
        return number

    def event_handle(self, event: int) -> bytes:
        with self._state() as state:
            self._event(state, event)
        return self._handle("event", event)

    def open_event(self, handle: bytes) -> int:
        number = self._opened("event", handle)
        with self._state(sweep=True) as state:
            event = state["events"].get(str(number))
            if event is None:
                raise Fault("a handle of an event that is gone is opened")
            self._check_opener(event)
            event["open"].append(self._me)
        return number

    def destroy_event(self, event: int) -> None:
        with self._state(sweep=True) as state:
            if event in state["lost"]:
                return
            found = self._event(state, event)
            if found["owner"] != self._me:
                found["open"].remove(self._me)
                return
            if found["open"]:
                raise Fault("an event is destroyed that others still have open")
            del state["events"][str(event)]

    def record(self, event: int, stream: int) -> None:
        with self._state() as state:
            mine = [self._me, stream]
            found = self._event(state, event)
            found["writes"] = [w["id"] for w in state["writes"] if w["by"] == mine]
            found["reads"] = [r["id"] for r in state["reads"] if r["by"] == mine]

    def wait(self, event: int, stream: int) -> None:
        with self._state() as state:
            found, mine = self._event(state, event), [self._me, stream]
            # A stream that waits for itself tells nobody anything.
            done = {
                kind: {e["id"] for e in state[kind] if e["id"] in found[kind] and e["by"] != mine}
                for kind in ("writes", "reads")
            }
            self._show(state, done["writes"])
            state["reads"] = [r for r in state["reads"] if r["id"] not in done["reads"]]

    def create_stream(self) -> int:
        self._streams += 1
        return self._streams

    def synchronize(self, stream: int | None = None) -> None:
        with self._state() as state:
            self._settle(state, stream)

    def host_memory(self, nbytes: int) -> memoryview:
        return memoryview(bytearray(nbytes))

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
        with self._state() as state:
            outside = self._surfaces and self._find(source) is None
            if direction == "up" or outside:
                data = _host(source, pitch, row, rows).copy()
            else:
                data = self._read(state, source, pitch, row, rows, stream)
            if direction == "down":
                _host(to, to_pitch, row, rows)[...] = data
            else:
                self._write(state, to, to_pitch, data, stream)

    # -- how it is done ---------------------------------------------------------------------------

    @contextmanager
    def _state(self, sweep: bool = False) -> Iterator[dict[str, Any]]:
        """What all processes know of the GPU; changed by one at a time.

        Args:
            sweep: take back what the dead had.
        """
        with open(self._folder / "state", "a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            text = file.read()
            empty = {"next": 1, "memory": {}, "events": {}, "lost": [], "writes": [], "reads": []}
            state = json.loads(text) if text else empty
            if sweep:
                self._sweep(state)
            yield state
            file.truncate(0)
            file.write(json.dumps(state))

    def _sweep(self, state: dict[str, Any]) -> None:
        """What a driver does for processes that have died."""
        for path in self._folder.glob("*.alive"):
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            finally:
                os.close(fd)
            dead = int(path.stem)
            path.unlink()
            for kind in ("memory", "events"):
                for number, thing in list(state[kind].items()):
                    thing["open"] = [each for each in thing["open"] if each != dead]
                    if thing["owner"] == dead:
                        state["lost"].append(int(number))
                        del state[kind][number]
            for kind in ("writes", "reads"):
                state[kind] = [each for each in state[kind] if each["by"][0] != dead]

    def _next(self, state: dict[str, Any]) -> int:
        state["next"] += 1
        return int(state["next"])

    def _handle(self, kind: str, number: int) -> bytes:
        return json.dumps([kind, number]).encode().ljust(HANDLE_NBYTES)

    def _opened(self, kind: str, handle: bytes) -> int:
        if len(handle) != HANDLE_NBYTES:
            raise Fault(f"a handle of {len(handle)} bytes")
        found, number = json.loads(handle)
        if found != kind:
            raise Fault(f"a handle of {found} is opened as {kind}")
        return int(number)

    def _check_opener(self, thing: dict[str, Any]) -> None:
        if thing["uuid"] != self.uuid:
            raise Fault("a handle of another GPU is opened")
        if thing["owner"] == self._me:
            raise Fault("a handle is opened by the process that made it")
        if self._me in thing["open"]:
            raise Fault("a handle is opened twice by one process")

    def _event(self, state: dict[str, Any], event: int) -> dict[str, Any]:
        if event in state["lost"]:
            raise GpuFailed(f"event {event} of a process that died", "a living one", "build anew")
        found = state["events"].get(str(event))
        if found is None or self._me not in (found["owner"], *found["open"]):
            raise Fault(f"event {event} is not one that this process has")
        return found  # type: ignore[no-any-return]

    def _map(self, number: int, nbytes: int) -> int:
        mapping = _Mapping(self._folder, number, nbytes, self._view)
        self._mappings[mapping.pointer] = mapping
        return mapping.pointer

    def _view(self, path: Path, nbytes: int) -> Bytes:
        """What is to be seen of a memory, as memory."""
        return mapped(path, nbytes)

    def _unmap(self, mapping: _Mapping, how: str) -> None:
        del self._mappings[mapping.pointer]
        # Kept, so that its addresses are not met again under another meaning.
        self._gone.append((mapping, how))

    def _base(self, pointer: int, what: str) -> _Mapping:
        found = self._mappings.get(pointer)
        if found is None:
            raise Fault(f"{what} of {pointer:#x}, {self._where(pointer)}")
        return found

    def _find(self, pointer: int) -> _Mapping | None:
        for mapping in self._mappings.values():
            if 0 <= pointer - mapping.pointer < mapping.nbytes:
                return mapping
        return None

    def _where(self, pointer: int) -> str:
        if self._find(pointer) is not None:
            return "which is inside an allocation, not its beginning"
        for gone, how in self._gone:
            if 0 <= pointer - gone.pointer < gone.nbytes:
                return f"which was {how}"
        return "which is no memory of this GPU"

    def _span(self, pointer: int, pitch: int, row: int, rows: int) -> tuple[_Mapping, Span]:
        mapping = self._find(pointer)
        if mapping is None:
            raise Fault(f"use of {pointer:#x}, {self._where(pointer)}")
        span = [mapping.number, pointer - mapping.pointer, pitch, row, rows]
        if _ends(span)[1] > mapping.nbytes or row > pitch:
            raise Fault(f"use of {span} beyond an allocation of {mapping.nbytes} bytes")
        return mapping, span

    def _read(
        self, state: dict[str, Any], pointer: int, pitch: int, row: int, rows: int, stream: int
    ) -> Bytes:
        mapping, span = self._span(pointer, pitch, row, rows)
        mine = [self._me, stream]
        self._show(state, {w["id"] for w in state["writes"] if w["by"] == mine})
        state["reads"].append({"id": self._next(state), "by": mine, "span": span})
        return _rows(mapping.seen, span).copy()

    def _write(
        self, state: dict[str, Any], pointer: int, pitch: int, data: Bytes, stream: int
    ) -> None:
        rows, row = data.shape
        mapping, span = self._span(pointer, pitch, row, rows)
        mine = [self._me, stream]
        for kind in ("reads", "writes"):
            for other in state[kind]:
                if other["by"] != mine and _meet(other["span"], span):
                    raise Fault(f"{span} is written while {other['by']} still {kind} it")
        _rows(mapping.true, span)[...] = data
        _rows(mapping.seen, span)[...] = POISON
        state["writes"].append({"id": self._next(state), "by": mine, "span": span})
        if stream in self.eager:
            self._show(state, {w["id"] for w in state["writes"] if w["by"] == mine})

    def _settle(self, state: dict[str, Any], stream: int | None) -> None:
        def mine(each: dict[str, Any]) -> bool:
            return bool(each["by"][0] == self._me and stream in (None, each["by"][1]))

        self._show(state, {w["id"] for w in state["writes"] if mine(w)})
        state["reads"] = [r for r in state["reads"] if not mine(r)]

    def _show(self, state: dict[str, Any], writes: set[int]) -> None:
        """What was written can be seen from now on."""
        shown = [write["span"] for write in state["writes"] if write["id"] in writes]
        for span in shown:
            number = span[0]
            mapping = next((m for m in self._mappings.values() if m.number == number), None)
            if mapping is None:  # who waits need not have it open
                mapping = _Mapping(self._folder, number, state["memory"][str(number)]["nbytes"])
            _rows(mapping.seen, span)[...] = _rows(mapping.true, span)
        state["writes"] = [w for w in state["writes"] if w["id"] not in writes]


def _rows(memory: Bytes, span: Span) -> Bytes:
    _, first, pitch, row, rows = span
    return np.lib.stride_tricks.as_strided(memory[first:], (rows, row), (pitch, 1))


def _host(pointer: int, pitch: int, row: int, rows: int) -> Bytes:
    nbytes = pitch * (rows - 1) + row
    memory = np.frombuffer((ctypes.c_ubyte * nbytes).from_address(pointer), np.uint8)
    return np.lib.stride_tricks.as_strided(memory, (rows, row), (pitch, 1))
