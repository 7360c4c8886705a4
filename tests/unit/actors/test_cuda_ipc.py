"""Rings in a GPU's memory: who opens, waits and frees, and what becomes of it when somebody dies.

The GPU is a fake one that checks how it is used; the processes are real where it says so.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import pytest

from actors.device_frames import DeviceFrame
from actors.transport.cuda_ipc import BLOCK, Arena, Arenas
from actors.transport.shm import host_ring
from scheduler.errors import GpuFailed, HandleForeign, LaneError, LinkClosed
from tests.support.fake_gpu import POISON, FakeDriver, Fault, device_uuid
from tests.support.rings import STREAM, GpuPlace

ROOT = Path(__file__).resolve().parents[3]
PROCESS = Path(__file__).with_name("gpu_process.py")


@pytest.fixture
def place(tmp_path: Path) -> GpuPlace:
    return GpuPlace(tmp_path / "gpu")


def count(monkeypatch: pytest.MonkeyPatch, *names: str) -> list[str]:
    """Names of the driver's functions, as they are called from now on."""
    calls: list[str] = []
    for name in names:
        true = getattr(FakeDriver, name)

        def counted(self: Any, *values: Any, name: str = name, true: Any = true) -> Any:
            calls.append(name)
            return true(self, *values)

        monkeypatch.setattr(FakeDriver, name, counted)
    return calls


def test_a_lane_exports_once_and_each_process_opens_once(
    place: GpuPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = count(monkeypatch, "malloc", "mem_handle", "open_mem_handle", "open_event", "free")
    for _ in range(3):  # tasks
        ring = place.ring(4)
        peers = [place.opener(n)(ring.hello(), _copies(ring)) for n in (1, 2)]
        for each in (*peers, ring):
            each.close()
    assert [calls.count(name) for name in ("malloc", "mem_handle", "free")] == [1, 1, 0]
    assert calls.count("open_mem_handle") == 2
    assert calls.count("open_event") == 2 * 2 * 4
    place.close()
    assert place.used() == (0, 0)


def test_a_larger_task_gets_a_larger_arena_and_the_old_one_goes(place: GpuPlace) -> None:
    small = place.ring(2)
    peer = place.peer(small)
    small.close()
    assert place.used() == (BLOCK, 4)
    large = place.ring(4)
    assert place.used() == (2 * BLOCK, 12), "the other process still has the old one open"
    place.peer(large).close()
    peer.close()
    place.ring(4).close()
    assert place.used() == (BLOCK, 8)
    place.close()


def test_the_owner_waits_for_the_others(place: GpuPlace) -> None:
    place.peer(place.ring(2))
    owner, borrower = place.arenas(0), place.arenas(1)
    closing = threading.Thread(target=owner.close)
    closing.start()
    closing.join(0.2)
    assert closing.is_alive()
    assert place.used() == (BLOCK, 4)
    borrower.close()
    closing.join(5)
    assert not closing.is_alive()
    assert place.used() == (0, 0)


def test_one_that_does_not_let_go_is_an_error_and_nothing_is_freed(tmp_path: Path) -> None:
    place = GpuPlace(tmp_path / "gpu")
    place._arenas[0] = owner = Arenas(FakeDriver(tmp_path / "gpu"), patience=0.05)
    place.peer(place.ring(2))
    with pytest.raises(LaneError, match="still holds 2 MiB"):
        owner.close()
    assert place.used() == (BLOCK, 4)
    place.arenas(1).close()
    owner.close()
    assert place.used() == (0, 0)


def test_what_was_given_up_cannot_be_opened(place: GpuPlace) -> None:
    ring = place.ring(2)
    hello, descriptors = ring.hello(), _copies(ring)
    place.arenas(0).close()
    with pytest.raises(LinkClosed, match="given up"):
        place.opener(1)(hello, descriptors)
    assert place.used() == (0, 0)


def test_a_ring_on_another_gpu_is_refused(place: GpuPlace, tmp_path: Path) -> None:
    ring = place.ring(2)
    elsewhere = Arenas(FakeDriver(tmp_path / "gpu", 1))
    with pytest.raises(HandleForeign, match=f"on GPU {device_uuid(0)}") as caught:
        elsewhere.open(ring.hello(), _copies(ring))
    assert caught.value.code == "lane.handle-foreign"
    with pytest.raises(HandleForeign, match="given no GPU"):
        host_ring(ring.hello(), _copies(ring))
    place.close()


@pytest.mark.parametrize(
    ("step", "at"), [("malloc", 1), ("mem_handle", 1), ("create_event", 1), ("event_handle", 3)]
)
def test_an_arena_that_cannot_be_made_leaves_nothing(
    place: GpuPlace, monkeypatch: pytest.MonkeyPatch, step: str, at: int
) -> None:
    calls = count(monkeypatch, step)
    _fail_at(monkeypatch, calls, step, at)
    with pytest.raises(GpuFailed):
        place.ring(2)
    assert place.used() == (0, 0)


@pytest.mark.parametrize(("step", "at"), [("open_mem_handle", 1), ("open_event", 3)])
def test_an_arena_that_cannot_be_opened_leaves_nothing(
    place: GpuPlace, monkeypatch: pytest.MonkeyPatch, step: str, at: int
) -> None:
    ring = place.ring(2)
    calls = count(monkeypatch, step)
    _fail_at(monkeypatch, calls, step, at)
    with pytest.raises(GpuFailed):
        place.peer(ring)
    place.arenas(0).close()
    assert place.used() == (0, 0)


def test_an_arena_has_a_block_of_its_own(tmp_path: Path) -> None:
    arena = Arena.create(FakeDriver(tmp_path / "gpu"), BLOCK + 1, 1)
    assert arena.nbytes == 2 * BLOCK
    assert arena.close()


# Planted bugs


def test_planted_a_reader_that_does_not_wait_reads_poison(
    place: GpuPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = place.ring(2)
    peer = place.peer(ring)
    monkeypatch.setattr(DeviceFrame, "await_filled", lambda frame, stream: None)
    frame = ring.acquire(0, 0)
    place.fill(frame, 5)
    seen = peer.frame(frame.handle)
    assert (place.samples(seen)[0].view("uint8") == POISON).all()
    monkeypatch.undo()
    assert (place.samples(seen)[0] == 5).all()
    place.close()


def test_planted_a_writer_that_does_not_record_is_not_seen(
    place: GpuPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = place.ring(2)
    peer = place.peer(ring)
    monkeypatch.setattr(DeviceFrame, "mark_filled", lambda frame, stream: None)
    frame = ring.acquire(0, 0)
    place.fill(frame, 5)
    assert (place.samples(peer.frame(frame.handle))[0].view("uint8") == POISON).all()
    place.close()


@pytest.mark.parametrize("forgotten", ["await_free", "mark_free"])
def test_planted_a_slot_that_is_filled_while_it_is_read(
    place: GpuPlace, monkeypatch: pytest.MonkeyPatch, forgotten: str
) -> None:
    monkeypatch.setattr(DeviceFrame, forgotten, lambda frame, stream: None)
    ring = place.ring(1)
    peer = place.peer(ring)
    frame = ring.acquire(0, 0)
    place.fill(frame, 5)
    last = peer.frame(frame.handle)
    place.samples(last)
    place.done(last)
    ring.release(frame.handle.slot)
    with pytest.raises(Fault, match=r"while .* still reads"):
        place.fill(ring.acquire(1, 1), 6)
    place.close()


def test_planted_memory_that_is_freed_while_others_have_it_open(
    place: GpuPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Arena, "_alone", lambda arena: True)
    place.peer(place.ring(2))
    with pytest.raises(Fault, match="still have open"):
        place.arenas(0).close()


def test_planted_a_handle_that_is_opened_for_each_task(
    place: GpuPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgetful(arenas: Arenas, papers: int, nbytes: int, slots: int) -> Arena:
        return Arena.open(arenas.driver, papers, nbytes, slots)

    monkeypatch.setattr(Arenas, "_open_arena", forgetful)
    place.peer(place.ring(2))
    with pytest.raises(Fault, match="opened twice"):
        place.peer(place.ring(2))


def test_planted_a_handle_from_inside_an_allocation(
    place: GpuPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = FakeDriver.malloc
    monkeypatch.setattr(FakeDriver, "malloc", lambda self, nbytes: true(self, nbytes) + 512)
    with pytest.raises(Fault, match="not its beginning"):
        place.ring(2)


def test_planted_a_frame_that_is_used_after_its_memory_went(place: GpuPlace) -> None:
    frame = place.ring(2).acquire(0, 0)
    place.close()
    plane = frame.picture.planes[0]
    driver = frame._driver
    assert isinstance(driver, FakeDriver)
    with pytest.raises(Fault, match="was freed"):
        driver.load(plane.pointer, plane.pitch, 4, 1, STREAM)


# Real processes


class Row:
    """Real processes in a row over one fake GPU."""

    def __init__(self, folder: Path, processes: int, frames: int, hangs: int | None = None) -> None:
        name = uuid4().hex
        self.processes = [
            subprocess.Popen(
                [
                    *(sys.executable, PROCESS, folder, name),
                    *map(str, (number, processes, frames)),
                    *(["hang"] if number == hangs else []),
                ],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
            for number in range(processes)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()

    def ends(self) -> list[tuple[int, str, str]]:
        """(exit code, standard output, standard error) of each."""
        said = [process.communicate(timeout=120) for process in self.processes]
        codes = [process.returncode for process in self.processes]
        return [(code, *each) for code, each in zip(codes, said, strict=True)]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "gpu"
    driver = FakeDriver(tmp_path / "gpu")
    assert (driver.used(), driver.events()) == (0, 0), "memory of the GPU is lost"


def test_frames_pass_through_real_processes(folder: Path) -> None:
    with Row(folder, 3, 12) as row:
        ends = row.ends()
    assert [(code, said) for code, said, _ in ends] == [(0, "done\n")] * 3, ends


@pytest.mark.parametrize("victim", [0, 1])
def test_one_that_is_killed_ends_the_row_and_the_next_one_has_all_memory(
    folder: Path, victim: int
) -> None:
    with Row(folder, 2, 12, hangs=victim) as row:
        out = row.processes[victim].stdout
        assert out is not None
        assert out.readline() == "hangs\n"
        row.processes[victim].kill()
        ends = row.ends()
    for number, (code, _, errors) in enumerate(ends):
        told = "LinkClosed" in errors or "of a process that died" in errors
        assert number == victim or (code == 1 and told), errors
    driver = FakeDriver(folder)
    assert (driver.used(), driver.events()) == (0, 0)
    with Row(folder, 2, 6) as again:
        assert [code for code, _, _ in again.ends()] == [0, 0], "the lane built anew"


def _copies(ring: Any) -> list[int]:
    return [os.dup(fd) for fd in ring.descriptors()]


def _fail_at(monkeypatch: pytest.MonkeyPatch, calls: list[str], step: str, at: int) -> None:
    counted = getattr(FakeDriver, step)

    def failing(self: Any, *values: Any) -> Any:
        if len(calls) + 1 == at:
            raise GpuFailed("no", "yes", "so")
        return counted(self, *values)

    monkeypatch.setattr(FakeDriver, step, failing)
