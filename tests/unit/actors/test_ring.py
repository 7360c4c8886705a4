"""The ring: slots go round, never twice at once, and nothing of it outlives its users.

Each test runs on rings in host memory and on rings in a GPU's memory.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from actors.frames import FrameHandle
from kernels.picture import PictureFormat
from scheduler.errors import LaneError, SwapfarmError
from tests.support.rings import GpuPlace, Place


@pytest.fixture
def ring(place: Place) -> Iterator[Any]:
    ring = place.ring(3)
    yield ring
    ring.close()


def test_a_second_view_sees_what_the_first_wrote(place: Place, ring: Any) -> None:
    other = place.peer(ring)
    frame = ring.acquire(7, 700)
    place.fill(frame, 77)
    frame.affines[1] = [[1, 2, 3], [4, 5, 6]]
    frame.tracks[1] = 9
    frame.faces = 2
    seen = other.frame(frame.handle)
    assert all((part == 77).all() for part in place.samples(seen))
    np.testing.assert_array_equal(seen.affines, frame.affines)
    np.testing.assert_array_equal(seen.tracks, frame.tracks)
    assert seen.faces == 2
    place.add(seen, 22)
    assert (place.samples(frame)[0] == 99).all()
    other.close()


def test_slots_do_not_overlap(place: Place, ring: Any) -> None:
    frames = [ring.acquire(number, 0) for number in range(3)]
    for number, frame in enumerate(frames):
        place.fill(frame, number + 1)
        frame.affines[...] = number + 1
        frame.tracks[...] = number + 1
        frame.faces = number
    for number, frame in enumerate(frames):
        parts = (*place.samples(frame), frame.affines, frame.tracks)
        assert all((part == number + 1).all() for part in parts)
        assert frame.faces == number


def test_a_slot_comes_back_empty_and_its_old_handle_is_stale(ring: Any) -> None:
    frame = ring.acquire(0, 0)
    frame.faces = 2
    ring.release(frame.handle.slot)
    fresh = [ring.acquire(number, number) for number in (1, 2, 3)]
    (again,) = (each for each in fresh if each.handle.slot == frame.handle.slot)
    assert again.faces == 0
    with pytest.raises(SwapfarmError, match="written over"):
        ring.frame(frame.handle)


def test_a_stale_handle_is_seen_by_another_process(place: Place, ring: Any) -> None:
    other = place.peer(ring)
    frame = ring.acquire(0, 0)
    ring.release(frame.handle.slot)
    for number in (1, 2, 3):
        ring.acquire(number, number)
    with pytest.raises(SwapfarmError, match="written over"):
        other.frame(frame.handle)
    other.close()


def test_more_faces_than_fit_are_refused(ring: Any) -> None:
    with pytest.raises(ValueError, match="room for 2"):
        ring.acquire(0, 0).faces = 3


def test_without_a_free_slot_it_takes_credits_and_otherwise_says_so(ring: Any) -> None:
    frames = [ring.acquire(number, 0) for number in range(3)]
    with pytest.raises(SwapfarmError, match="every slot"):
        ring.acquire(3, 0)
    ring.credits = lambda: [frames[1].handle.slot]
    assert ring.acquire(3, 0).handle.slot == frames[1].handle.slot


def test_a_gpu_hands_out_the_slot_that_has_been_free_for_longest(place: Place, ring: Any) -> None:
    one, two = ring.acquire(0, 0), ring.acquire(1, 1)
    ring.release(two.handle.slot)
    ring.release(one.handle.slot)
    third = 3 - one.handle.slot - two.handle.slot
    found = [ring.acquire(number, number).handle.slot for number in (2, 3, 4)]
    if isinstance(place, GpuPlace):
        assert found == [third, two.handle.slot, one.handle.slot]
    else:
        assert found == [one.handle.slot, two.handle.slot, third]


@pytest.mark.parametrize("slot", [-1, 3, 1])
def test_releasing_what_is_not_in_use_is_an_error(ring: Any, slot: int) -> None:
    ring.acquire(0, 0)
    with pytest.raises(SwapfarmError, match="not in use"):
        ring.release(slot)


def test_a_handle_beyond_the_ring_is_an_error(ring: Any) -> None:
    with pytest.raises(SwapfarmError, match="slot 3"):
        ring.frame(FrameHandle(slot=3, generation=0, frame_index=0, pts=0))


def test_a_slot_without_faces_has_no_room_for_crops(place: Place) -> None:
    ring = place.ring(1, place.layout(faces=0, size=0))
    frame = ring.acquire(0, 0)
    place.fill(frame, 1)
    assert sum(part.size for part in place.samples(frame)[3:]) == 0
    assert frame.faces == 0
    ring.close()


def test_memory_that_is_not_there_is_asked_for_before_the_kernel_kills(place: Place) -> None:
    huge = place.layout(PictureFormat(width=1 << 20, height=1 << 20), 0, 0)
    with pytest.raises(LaneError, match=place.no_memory):
        place.ring(64, huge)


@pytest.mark.parametrize("slots", [0, 65])
def test_more_slots_than_links_can_hold_are_refused(place: Place, slots: int) -> None:
    with pytest.raises(ValueError, match="1 to 64"):
        place.ring(slots)


def open_files(place: Place) -> list[str]:
    """Descriptors of this process but for those by which a fake GPU exists."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the one that lists them
            found.append(os.readlink(f"/proc/self/fd/{name}"))
    return [each for each in found if not each.startswith(place.folder)]


def test_nothing_has_a_name_and_the_memory_goes_with_its_last_user(place: Place) -> None:
    gc.collect()
    named = set(os.listdir("/dev/shm"))
    descriptors = len(open_files(place))
    ring = place.ring(4)
    frame = ring.acquire(0, 0)
    assert set(os.listdir("/dev/shm")) == named
    ring.close()
    frame.faces = 1  # a view outlives the ring, not the other way round
    del frame
    place.close()
    assert len(open_files(place)) == descriptors
    with open("/proc/self/maps") as maps:
        assert "swapfarm-ring" not in maps.read()
