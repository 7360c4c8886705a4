"""The ring: slots go round, never twice at once, and nothing of it outlives its users."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest

from actors.frames import FrameHandle, SlotLayout
from actors.transport.shm import Ring
from kernels.picture import PictureFormat
from scheduler.errors import LaneError, SwapfarmError

LAYOUT = SlotLayout(format=PictureFormat(width=33, height=17), faces=2, crop_size=16)


@pytest.fixture
def ring() -> Iterator[Ring]:
    ring = Ring.create(LAYOUT, 3)
    yield ring
    ring.close()


def test_a_second_view_sees_what_the_first_wrote(ring: Ring) -> None:
    other = Ring(os.dup(ring.fd), LAYOUT, 3)
    frame = ring.acquire(7, 700)
    for plane in frame.picture.planes:
        plane[...] = np.arange(plane.size).reshape(plane.shape) % 256
    frame.crops[1] = 0.25
    frame.affines[1] = [[1, 2, 3], [4, 5, 6]]
    frame.faces = 2
    seen = other.frame(frame.handle)
    for plane, mine in zip(seen.picture.planes, frame.picture.planes, strict=True):
        np.testing.assert_array_equal(plane, mine)
    np.testing.assert_array_equal(seen.crops, frame.crops)
    np.testing.assert_array_equal(seen.affines, frame.affines)
    assert seen.faces == 2
    seen.picture.planes[0][0, 0] = 99
    assert frame.picture.planes[0][0, 0] == 99
    other.close()


def test_slots_do_not_overlap(ring: Ring) -> None:
    frames = [ring.acquire(number, 0) for number in range(3)]
    for number, frame in enumerate(frames):
        for part in (*frame.picture.planes, frame.affines, frame.crops):
            part[...] = number + 1
        frame.faces = number
    for number, frame in enumerate(frames):
        assert all((part == number + 1).all() for part in (*frame.picture.planes, frame.crops))
        assert frame.faces == number


def test_a_slot_comes_back_empty_and_its_old_handle_is_stale(ring: Ring) -> None:
    frame = ring.acquire(0, 0)
    frame.faces = 2
    ring.release(frame.handle.slot)
    again = ring.acquire(1, 1)
    assert again.handle.slot == frame.handle.slot
    assert again.faces == 0
    with pytest.raises(SwapfarmError, match="written over"):
        ring.frame(frame.handle)


def test_without_a_free_slot_it_takes_credits_and_otherwise_says_so(ring: Ring) -> None:
    frames = [ring.acquire(number, 0) for number in range(3)]
    with pytest.raises(SwapfarmError, match="every slot"):
        ring.acquire(3, 0)
    ring.credits = lambda: [frames[1].handle.slot]
    assert ring.acquire(3, 0).handle.slot == frames[1].handle.slot


@pytest.mark.parametrize("slot", [-1, 3, 1])
def test_releasing_what_is_not_in_use_is_an_error(ring: Ring, slot: int) -> None:
    ring.acquire(0, 0)
    with pytest.raises(SwapfarmError, match="not in use"):
        ring.release(slot)


def test_a_handle_beyond_the_ring_is_an_error(ring: Ring) -> None:
    with pytest.raises(SwapfarmError, match="slot 3"):
        ring.frame(FrameHandle(slot=3, generation=0, frame_index=0, pts=0))


def test_a_slot_without_faces_has_no_room_for_crops() -> None:
    ring = Ring.create(SlotLayout(format=LAYOUT.format, faces=0, crop_size=0), 1)
    frame = ring.acquire(0, 0)
    assert frame.crops.shape == (0, 0, 0, 4)
    assert frame.faces == 0
    ring.close()


def test_memory_that_is_not_there_is_asked_for_before_the_kernel_kills() -> None:
    huge = SlotLayout(format=PictureFormat(width=1 << 20, height=1 << 20), faces=0, crop_size=0)
    with pytest.raises(LaneError, match="too little for a ring"):
        Ring.create(huge, 64)


@pytest.mark.parametrize("slots", [0, 65])
def test_more_slots_than_links_can_hold_are_refused(slots: int) -> None:
    with pytest.raises(ValueError, match="1 to 64"):
        Ring.create(LAYOUT, slots)


def test_nothing_has_a_name_and_the_memory_goes_with_its_last_user() -> None:
    named = set(os.listdir("/dev/shm"))
    descriptors = len(os.listdir("/proc/self/fd"))
    ring = Ring.create(LAYOUT, 4)
    frame = ring.acquire(0, 0)
    assert set(os.listdir("/dev/shm")) == named
    ring.close()
    frame.picture.planes[0][...] = 5  # a view outlives the ring, not the other way round
    del frame
    assert len(os.listdir("/proc/self/fd")) == descriptors
    with open("/proc/self/maps") as maps:
        assert "swapfarm-ring" not in maps.read()
