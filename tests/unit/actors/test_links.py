"""Links and chains: what is sent arrives, and an end that goes away is noticed at once."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from uuid import uuid4

import pytest

from actors.frames import FrameHandle
from actors.transport.chain import Chain
from actors.transport.links import Link, Listener, connect
from scheduler.errors import Cancelled, HandleForeign, LinkClosed
from tests.support.rings import HostPlace, Place


@pytest.fixture
def name() -> str:
    return uuid4().hex


@contextmanager
def pair(name: str, patience: float = 5.0) -> Iterator[tuple[Link, Link]]:
    never = threading.Event()
    with (
        closing(Listener(name)) as listener,
        closing(connect(name, patience, never)) as caller,
        closing(listener.accept(patience, never)) as answerer,
    ):
        yield caller, answerer


def handle(number: int) -> FrameHandle:
    return FrameHandle(slot=number % 4, generation=number, frame_index=number, pts=-number << 40)


def test_the_ring_arrives_as_it_is(name: str, place: Place) -> None:
    with pair(name) as (caller, answerer), closing(place.ring(5)) as ring:
        caller.send_ring(ring)
        received = answerer.receive_ring(open_ring=place.opener(1))
        assert (received.layout, received.slots) == (place.layout(), 5)
        frame = ring.acquire(3, 30)
        place.fill(frame, 1023)
        assert (place.samples(received.frame(frame.handle))[0] == 1023).all()
        received.close()


def test_frames_arrive_whole_and_in_order_and_end(name: str) -> None:
    with pair(name) as (caller, answerer):
        sent = [handle(number) for number in range(40)]
        for each in sent:
            caller.send(each)
        caller.send_end()
        caller.close()
        assert list(answerer.frames()) == sent


def test_an_end_that_goes_away_early_is_an_error(name: str) -> None:
    with pair(name) as (caller, answerer):
        caller.send(handle(0))
        caller.close()
        frames = answerer.frames()
        assert next(frames) == handle(0)
        with pytest.raises(LinkClosed, match="end of stream"):
            next(frames)


def test_sending_to_nobody_is_an_error_but_giving_credit_back_is_not(name: str) -> None:
    with pair(name) as (caller, answerer):
        answerer.close()
        caller.send_credit(1)
        with pytest.raises(LinkClosed):
            caller.send(handle(0))


def test_silence_is_an_error_after_a_while(name: str) -> None:
    with pair(name, patience=0.1) as (_, answerer), pytest.raises(LinkClosed, match="timed out"):
        next(answerer.frames())


def test_nobody_listens(name: str) -> None:
    with pytest.raises(LinkClosed, match="no process of this user listens"):
        connect(name, 0.1, threading.Event())


def test_nobody_calls(name: str) -> None:
    listener = Listener(name)
    with pytest.raises(LinkClosed, match="no process of this user called"):
        listener.accept(0.1, threading.Event())
    listener.close()


def test_a_late_listener_is_found(name: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        calling = pool.submit(connect, name, 5.0, threading.Event())
        time.sleep(0.1)
        listener = Listener(name)
        answerer = listener.accept(5.0, threading.Event())
        for end in (calling.result(), answerer, listener):
            end.close()


def row(name: str, place: Place, processes: int, work: Callable[[Chain], int]) -> list[Future[int]]:
    """Runs the places of a row in threads; sockets and ring are those of real processes."""

    def position(number: int) -> int:
        opener = place.opener(number)
        with Chain(name, number, processes, patience=5.0, open_ring=opener) as chain:
            return work(chain)

    pool = ThreadPoolExecutor(processes)
    futures = [pool.submit(position, number) for number in range(processes)]
    pool.shutdown()
    return futures


FRAMES = 20


@pytest.mark.parametrize("processes", [1, 2, 3, 5])
def test_more_frames_than_slots_pass_a_row_in_order(
    name: str, place: Place, processes: int
) -> None:
    def work(chain: Chain) -> int:
        ring = chain.open(lambda: place.ring(3))
        if chain.first:
            frames = (ring.acquire(number, number) for number in range(FRAMES))
        else:
            frames = chain.frames()
        count = 0
        for frame in frames:
            if chain.first:
                place.fill(frame, count)
            assert frame.handle.frame_index == count
            place.add(frame, 1)
            if chain.last:
                assert (place.samples(frame)[0] == count + processes).all()
                place.done(frame)
            chain.pass_on(frame)
            count += 1
        chain.end()
        return count

    done = [future.result() for future in row(name, place, processes, work)]
    assert done == [FRAMES] * processes


@pytest.mark.parametrize("culprit", [0, 1, 2])
def test_one_that_gives_up_takes_the_row_with_it(name: str, place: Place, culprit: int) -> None:
    started = time.monotonic()

    def work(chain: Chain) -> int:
        ring = chain.open(lambda: place.ring(3))
        position = 0 if chain.first else 2 if chain.last else 1
        frames = (ring.acquire(n, n) for n in range(10**6)) if chain.first else chain.frames()
        for frame in frames:
            if position == culprit and frame.handle.frame_index == 20:
                raise ZeroDivisionError("the cause")
            chain.pass_on(frame)
        raise AssertionError("unreachable")

    errors = [future.exception() for future in row(name, place, 3, work)]
    assert isinstance(errors[culprit], ZeroDivisionError)
    assert all(isinstance(e, LinkClosed) for at, e in enumerate(errors) if at != culprit)
    assert time.monotonic() - started < 4, "noticed by patience only"


@pytest.mark.parametrize("position", [0, 1])
def test_cancelling_ends_the_wait_for_a_neighbour(name: str, place: Place, position: int) -> None:
    chain = Chain(name, position, 2, patience=30.0)
    threading.Timer(0.1, chain.cancel).start()
    with chain, pytest.raises(LinkClosed):
        chain.open(lambda: place.ring(1))


def test_cancelling_ends_the_wait_for_a_frame_and_for_a_slot(name: str, place: Place) -> None:
    chains: list[Chain] = []

    def work(chain: Chain) -> int:
        chains.append(chain)
        ring = chain.open(lambda: place.ring(2))
        if chain.last:
            return len(list(chain.frames()))
        while True:
            ring.acquire(0, 0)  # and never passed on

    futures = row(name, place, 2, work)
    time.sleep(0.2)
    for chain in chains:
        chain.cancel()
    assert [type(future.exception(timeout=4)) for future in futures] == [LinkClosed] * 2


def test_a_cancelled_row_of_one_stops_at_the_next_frame(name: str, place: Place) -> None:
    with Chain(name) as chain:
        ring = chain.open(lambda: place.ring(2))
        chain.pass_on(ring.acquire(0, 0))
        chain.cancel()
        with pytest.raises(Cancelled):
            chain.pass_on(ring.acquire(1, 1))


def test_a_row_leaves_no_descriptor_open(name: str) -> None:
    before, place = len(os.listdir("/proc/self/fd")), HostPlace()
    with Chain(name) as alone:
        alone.open(lambda: place.ring(2))
    test_more_frames_than_slots_pass_a_row_in_order(name, place, 3)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_handle_never_crosses_from_one_node_to_another(name: str, place: Place) -> None:
    """Two nodes may well be able to talk, as emulated ones on one machine are."""

    def work(position: int, node: str) -> int:
        opener = place.opener(position)
        with Chain(name, position, 2, patience=5.0, node=node, open_ring=opener) as chain:
            ring = chain.open(lambda: place.ring(2))
            frames = (ring.acquire(n, n) for n in range(4)) if chain.first else chain.frames()
            for frame in frames:
                chain.pass_on(frame)
            chain.end()
            return 4

    for position in range(2):
        place.opener(position)
    rings = len(own_descriptors())
    with ThreadPoolExecutor(2) as pool:
        near = [pool.submit(work, position, "a") for position in range(2)]
        assert [future.result() for future in near] == [4, 4]
        far = [pool.submit(work, position, node) for position, node in enumerate("ab")]
        first, second = (future.exception() for future in far)
    assert isinstance(first, LinkClosed)
    assert isinstance(second, HandleForeign)
    assert "node a" in second.found
    place.close()
    assert len(own_descriptors()) == rings, "memory of the other node is still held"


def own_descriptors() -> list[str]:
    """Of memory without a name."""
    names = os.listdir("/proc/self/fd")
    links = [f"/proc/self/fd/{each}" for each in names]
    return [link for link in links if os.path.islink(link) and "memfd:" in os.readlink(link)]
