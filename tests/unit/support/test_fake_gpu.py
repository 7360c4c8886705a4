"""The fake GPU catches what it is there to catch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scheduler.errors import LaneOutOfMemory
from tests.support.fake_gpu import POISON, FakeDriver, Fault

ROW = np.arange(8, dtype=np.uint8).reshape(1, 8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "gpu"


@pytest.fixture
def one(folder: Path) -> FakeDriver:
    return FakeDriver(folder)


@pytest.fixture
def two(folder: Path) -> FakeDriver:
    """Of another process."""
    return FakeDriver(folder)


def test_two_processes_have_the_same_memory(one: FakeDriver, two: FakeDriver) -> None:
    pointer, event = one.malloc(64), one.create_event()
    there = two.open_mem_handle(one.mem_handle(pointer))
    other = two.open_event(one.event_handle(event))
    one.store(pointer + 8, 8, ROW, 1)
    one.record(event, 1)
    two.wait(other, 5)
    assert (two.load(there + 8, 8, 8, 1, 5) == ROW).all()
    two.close_mem_handle(there)
    two.destroy_event(other)
    one.free(pointer)
    one.destroy_event(event)
    assert (one.used(), one.events()) == (0, 0)


def test_what_nobody_waited_for_is_poison(one: FakeDriver) -> None:
    pointer, event = one.malloc(8), one.create_event()
    one.store(pointer, 8, ROW, 1)
    assert (one.load(pointer, 8, 8, 1, 2) == POISON).all()
    one.wait(event, 2)  # nobody has recorded it
    assert (one.load(pointer, 8, 8, 1, 2) == POISON).all()
    assert (one.load(pointer, 8, 8, 1, 1) == ROW).all()


def test_an_event_is_of_what_was_asked_before_it(one: FakeDriver) -> None:
    pointer, event = one.malloc(16), one.create_event()
    one.store(pointer, 8, ROW, 1)
    one.record(event, 1)
    one.store(pointer + 8, 8, ROW, 1)
    one.wait(event, 2)
    assert (one.load(pointer, 8, 8, 1, 2) == ROW).all()
    assert (one.load(pointer + 8, 8, 8, 1, 2) == POISON).all()
    one.synchronize(1)
    assert (one.load(pointer + 8, 8, 8, 1, 2) == ROW).all()


def test_two_streams_must_not_write_the_same(one: FakeDriver) -> None:
    pointer = one.malloc(8)
    one.store(pointer, 8, ROW, 1)
    with pytest.raises(Fault, match="still writes"):
        one.store(pointer + 7, 8, ROW[:, :1], 2)


def test_what_is_read_must_not_be_written(one: FakeDriver) -> None:
    pointer, event = one.malloc(8), one.create_event()
    one.load(pointer, 8, 8, 1, 1)
    with pytest.raises(Fault, match="still reads"):
        one.store(pointer, 8, ROW, 2)
    one.record(event, 1)
    one.wait(event, 2)
    one.store(pointer, 8, ROW, 2)


def test_misused_handles(folder: Path, one: FakeDriver, two: FakeDriver) -> None:
    pointer = one.malloc(64)
    handle = one.mem_handle(pointer)
    with pytest.raises(Fault, match="not its beginning"):
        one.mem_handle(pointer + 8)
    with pytest.raises(Fault, match="that made it"):
        one.open_mem_handle(handle)
    with pytest.raises(Fault, match="another GPU"):
        FakeDriver(folder, 1).open_mem_handle(handle)
    with pytest.raises(Fault, match="opened as event"):
        two.open_event(handle)
    there = two.open_mem_handle(handle)
    with pytest.raises(Fault, match="opened twice"):
        two.open_mem_handle(handle)
    with pytest.raises(Fault, match="others still have open"):
        one.free(pointer)
    with pytest.raises(Fault, match="another process is freed"):
        two.free(there)
    two.close_mem_handle(there)
    with pytest.raises(Fault, match="was closed"):
        two.close_mem_handle(there)
    with pytest.raises(Fault, match="not opened here"):
        one.close_mem_handle(pointer)
    one.free(pointer)
    with pytest.raises(Fault, match="was freed"):
        one.free(pointer)
    with pytest.raises(Fault, match="memory that is gone"):
        two.open_mem_handle(handle)
    with pytest.raises(Fault, match=r"use of .* was closed"):
        two.load(there, 8, 8, 1, 0)


def test_misused_events(one: FakeDriver, two: FakeDriver) -> None:
    event = one.create_event()
    with pytest.raises(Fault, match="not one that this process has"):
        two.record(event, 0)
    two.open_event(one.event_handle(event))
    with pytest.raises(Fault, match="others still have open"):
        one.destroy_event(event)
    two.destroy_event(event)
    one.destroy_event(event)
    with pytest.raises(Fault, match="not one that this process has"):
        one.wait(event, 0)


def test_memory_ends_and_a_pitch_is_no_shorter_than_a_row(one: FakeDriver) -> None:
    pointer = one.malloc(15)
    with pytest.raises(Fault, match="beyond"):
        one.load(pointer, 8, 8, 2, 0)
    with pytest.raises(Fault, match="beyond"):
        one.load(pointer, 4, 8, 1, 0)
    with pytest.raises(Fault, match="no memory of this GPU"):
        one.load(1, 4, 4, 1, 0)
    with pytest.raises(LaneOutOfMemory):
        one.malloc(1 << 30)


def test_what_the_dead_had_is_free(one: FakeDriver, two: FakeDriver) -> None:
    mine, theirs = one.malloc(64), two.malloc(32)
    two.open_mem_handle(one.mem_handle(mine))
    there = one.open_mem_handle(two.mem_handle(theirs))
    two.die()
    one.free(mine)  # nobody has it open any more
    assert one.used() == 0
    one.close_mem_handle(there)
