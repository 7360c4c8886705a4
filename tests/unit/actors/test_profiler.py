"""What is measured of a lane's work: each part's own time, for few readings of the clocks."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actors.nvtx import open_ranges
from actors.profiler import Profiler, host_clock
from actors.toolbox import LaneKit, Toolbox
from scheduler.timing import Spent, added, cpu_by_stage


class Clock:
    """Time that goes on when it is told; CPU time is half of it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.read = 0

    def __call__(self) -> tuple[float, float]:
        self.read += 1
        return self.now, self.now / 2


class Gpu:
    """A `DeviceClock` whose GPU is as far as it is told; it takes 3 ms from mark to mark."""

    def __init__(self) -> None:
        self.marked = 0
        self.passed = 0
        self.waits = 0

    def mark(self) -> int:
        self.marked += 1
        return self.marked

    def between(self, one: int, other: int) -> float | None:
        return 3.0 * (other - one) if other <= self.passed else None

    def wait(self) -> None:
        self.waits += 1
        self.passed = self.marked


def test_a_part_has_the_time_in_which_no_part_within_it_was() -> None:
    clock = Clock()
    profiler = Profiler(clock=clock)
    with profiler.span("outer"):
        clock.now += 1
        for _ in range(2):
            with profiler.span("inner"):
                clock.now += 10
            clock.now += 100
    clock.now += 1000
    with profiler.span("inner"):
        clock.now += 10
    assert profiler.take() == {
        "outer": Spent(calls=1, wall_ms=201_000, cpu_ms=100_500),
        "inner": Spent(calls=3, wall_ms=30_000, cpu_ms=15_000),
    }
    assert profiler.take() == {}
    assert clock.read == 2 * 4


def test_a_part_that_fails_is_counted_and_left() -> None:
    clock = Clock()
    profiler = Profiler(clock=clock)
    held: dict[str, int] = {}
    with pytest.raises(KeyError), profiler.span("outer"), profiler.span("inner"):
        clock.now += held.setdefault("a", 1) + held["missing"]
    with profiler.span("next"):
        clock.now += 2
    assert {part: spent.wall_ms for part, spent in profiler.take().items()} == {
        "outer": 0,
        "inner": 0,
        "next": 2000,
    }


def test_who_looks_in_the_middle_gets_what_was_done_and_nothing_twice() -> None:
    clock = Clock()
    profiler = Profiler(clock=clock)
    with profiler.span("outer"):
        clock.now += 1
        with profiler.span("inner"):
            pass
        assert profiler.take()["outer"] == Spent(calls=0, wall_ms=1000, cpu_ms=500)
        clock.now += 2
    assert profiler.take() == {"outer": Spent(calls=1, wall_ms=2000, cpu_ms=1000)}


def test_threads_do_not_take_each_others_time() -> None:
    profiler, rounds, workers = Profiler(), 300, 8
    taken: list[dict[str, Spent]] = []
    ready = threading.Barrier(workers + 1)

    def work(part: str) -> None:
        ready.wait()
        for _ in range(rounds):
            with profiler.span(part), profiler.span("shared"):
                pass

    threads = [threading.Thread(target=work, args=(f"own-{n}",)) for n in range(workers)]
    for thread in threads:
        thread.start()
    ready.wait()
    while any(thread.is_alive() for thread in threads):
        taken.append(profiler.take())
    taken.append(profiler.take())
    sums = added(taken)
    assert sums.pop("shared").calls == rounds * workers
    assert {spent.calls for spent in sums.values()} == {rounds}
    assert len(sums) == workers
    assert all(spent.wall_ms >= 0 and spent.cpu_ms >= 0 for spent in sums.values())


def test_a_gpu_is_never_waited_for_while_work_goes_on() -> None:
    gpu = Gpu()
    profiler = Profiler(clock=Clock(), device=gpu)
    for _ in range(200):
        with profiler.span("outer"), profiler.span("inner"):
            pass
        gpu.passed = gpu.marked - 1
    assert gpu.waits == 0
    taken = profiler.take()
    assert gpu.waits == 1
    assert taken["inner"].device_ms == 200 * 3
    assert taken["outer"].device_ms == 200 * 6
    assert profiler.take() == {}


def test_a_gpu_that_hangs_costs_no_memory() -> None:
    gpu = Gpu()
    profiler = Profiler(clock=Clock(), device=gpu)
    for _ in range(9000):
        with profiler.span("part"):
            pass
    held: deque[Any] = profiler._marks
    assert len(held) == held.maxlen


def test_marks_begin_where_a_gpu_is_first_watched() -> None:
    gpu = Gpu()
    profiler = Profiler(clock=Clock())
    with profiler.span("outer"):
        profiler.watch(gpu)  # opened by the first who needs it
        with profiler.span("inner"):
            pass
    taken = profiler.take()
    assert taken["inner"].device_ms == 3
    assert taken["outer"].device_ms == 3


def test_ranges_are_told_of_parts_in_their_order() -> None:
    told: list[str] = []

    class Told:
        def push(self, name: str) -> None:
            told.append(name)

        def pop(self) -> None:
            told.append("pop")

    profiler = Profiler(ranges=Told())
    with profiler.span("a"), profiler.span("b"):
        pass
    assert told == ["a", "b", "pop", "pop"]


def test_ranges_go_to_the_package_where_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert open_ranges() is None, "the package is not among the test's"
    (tmp_path / "nvtx.py").write_text(
        "told = []\n"
        "def push_range(message=None, color='blue', domain=None, category=None, payload=None):\n"
        "    told.append((message, domain))\n"
        "def pop_range(domain=None):\n"
        "    told.append((None, domain))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    profiler = Toolbox(LaneKit(cache_dir=tmp_path, nvtx=True)).profiler
    with profiler.span("decoder"):
        pass
    import nvtx

    assert nvtx.told == [("decoder", "swapfarm"), (None, "swapfarm")]


def test_the_cpu_time_of_a_stage_is_that_of_its_parts_and_waiting_is_none() -> None:
    one = Spent(calls=1, wall_ms=9, cpu_ms=2)
    times = {"detector": one, "detector.detect": one, "waiting": one, "decoder": one}
    assert cpu_by_stage(times) == {"detector": 4, "decoder": 2}
    assert one + replace(one, device_ms=1.5) == Spent(calls=2, wall_ms=18, cpu_ms=4, device_ms=1.5)


def test_the_clock_of_the_host_goes_forward() -> None:
    before, after = host_clock(), host_clock()
    assert all(a <= b for a, b in zip(before, after, strict=True))
