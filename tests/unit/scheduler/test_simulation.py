"""Thousands of farms that exist only here: whatever goes wrong, what must hold does."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from scheduler.completions import Completions
from scheduler.history import Delivered, Event
from scheduler.instructions import Instruction, JobState, Start
from scheduler.ledger import Ledger
from scheduler.referee import Broken, History, Referee, replay, shrink
from scheduler.scenario import Faults, film_queue, small_farm
from scheduler.simulation import Simulation, Stuck, WrongFilm
from scheduler.simulation_outcome import Outcome
from scheduler.tasks import TaskState
from tests.support.record import part

LONGEST = 2e5
"""Virtual seconds within which each of the small farms must have ended its jobs."""


def play(seed: int) -> tuple[Outcome, Ledger]:
    """One small farm from its seed; what breaks is told with the shortest history that shows it."""
    ledger = Ledger()
    referee = Referee(ledger)
    try:
        return Simulation(small_farm(seed), ledger, referee.handle, LONGEST).run(), ledger
    except Broken as error:
        kind = kind_of(error.found)
        short = shrink(error.history, lambda history: kind_of(replay(history, Ledger())) == kind)
        told = "\n".join(f"{now:.3f} {event}" for event, now in short)
        pytest.fail(f"seed {seed}: {replay(short, Ledger())}, by\n{told}")
    except (Stuck, WrongFilm) as error:
        pytest.fail(f"seed {seed}: {type(error).__name__}: {error}")


def kind_of(found: str | None) -> str:
    """What breaks, whichever job or lane it breaks at."""
    return re.sub(r"\d+", "#", found or "")


def play_all(seeds: range) -> dict[JobState, int]:
    ends = dict.fromkeys(JobState, 0)
    for seed in seeds:
        outcome, ledger = play(seed)
        for state in outcome.states.values():
            assert state.ended, seed
            ends[state] += 1
        assert ledger.next_due() is None or not any(j.works for j in ledger.state.jobs.values())
    return ends


@pytest.mark.parametrize("first", range(0, 2000, 250))
def test_histories_with_faults_and_wishes(first: int) -> None:
    ends = play_all(range(first, first + 250))
    assert ends[JobState.COMPLETED] > 200, "most films are finished in spite of all"
    assert ends[JobState.FAILED] > 10, "some of the faults are meant to be fatal"
    assert ends[JobState.CANCELLED] > 5


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("first", range(2000, 102_000, 1000))
def test_many_more_histories(first: int) -> None:
    with part(f"histories-{first:06}") as facts:
        ends = play_all(range(first, first + 1000))
        facts |= {state.value: count for state, count in ends.items() if count}
        assert ends[JobState.COMPLETED] > 800


def test_one_seed_is_one_history() -> None:
    told: list[History] = []
    for _ in range(2):
        ledger = Ledger()
        referee = Referee(ledger)
        Simulation(small_farm(7), ledger, referee.handle, LONGEST).run()
        told.append(referee.history)
    assert told[0] == told[1]
    assert len(told[0]) > 20


class Counting(Referee):
    """Counts the second attempts of stragglers."""

    again = 0

    def handle(self, event: Event, now: float) -> list[Instruction]:
        out = super().handle(event, now)
        leases = [each.lease for each in out if isinstance(each, Start)]
        self.again += sum(self.ledger.state.book.open[number].second for number in leases)
        return out


def test_without_faults_nothing_is_done_twice() -> None:
    for seed in range(100):
        scenario = replace(small_farm(seed), faults=Faults())
        ledger = Ledger()
        referee = Counting(ledger)
        outcome = Simulation(scenario, ledger, referee.handle, LONGEST).run()
        assert set(outcome.states.values()) == {JobState.COMPLETED}
        tasks = sum(
            task.state is TaskState.DONE
            for job in ledger.state.jobs.values()
            for step in job.steps
            for each in step.tasks.values()
            for task in each
        )
        assert outcome.starts == tasks + referee.again, seed


def first_broken(ledger_of: type[Ledger], seeds: range = range(400)) -> tuple[int, Broken]:
    for seed in seeds:
        ledger = ledger_of()
        try:
            Simulation(small_farm(seed), ledger, Referee(ledger).handle, LONGEST).run()
        except Broken as error:
            return seed, error
    raise AssertionError("a planted fault was not found")


class TrustsZombies(Ledger):
    """Counts a delivery whose lease is over if the task is not done yet."""

    def handle(self, event: Event, now: float) -> list[Instruction]:
        self._leases = getattr(self, "_leases", {})
        if isinstance(event, Delivered) and event.lease not in self.state.book.open:
            start = self._leases.get(event.lease)
            if start is not None and start.job in self.state.jobs:
                task = self.task(start.job, start.step, start.kind, start.chunk)
                if task.state is TaskState.WAITING and task.frames == event.frames:
                    task.state, task.winner = TaskState.DONE, event.lease
        out = super().handle(event, now)
        self._leases.update({i.lease: i for i in out if isinstance(i, Start)})
        return out


class ForgetsToWake(Ledger):
    """A lane whose task failed stays idle for the rest of its life."""

    def handle(self, event: Event, now: float) -> list[Instruction]:
        self._board.pools["frames"].fitting = lambda *_: None  # type: ignore[method-assign]
        return super().handle(event, now)


class NeverTires(Ledger):
    """Retries without end."""

    def handle(self, event: Event, now: float) -> list[Instruction]:
        for job in self.state.jobs.values():
            for step in job.steps:
                for task in step.tasks["render"]:
                    task.failed_on = []
            job.terms = replace(job.terms, attempts=50)
        out = super().handle(event, now)
        for job in self.state.jobs.values():
            job.terms = replace(job.terms, attempts=3)
        return out


@pytest.mark.parametrize(
    ("ledger_of", "found"),
    [
        (TrustsZombies, ""),
        (ForgetsToWake, "is idle"),
        (NeverTires, "at most"),
    ],
)
def test_planted_faults_are_found_and_their_histories_shrunk(
    ledger_of: type[Ledger], found: str
) -> None:
    seed, error = first_broken(ledger_of)
    assert found in error.found, seed
    assert replay(error.history, Ledger()) is None, "the real ledger stands it"
    short = shrink(error.history, lambda h: replay(h, ledger_of()) is not None)
    assert replay(short, ledger_of()) is not None
    assert len(short) <= min(len(error.history), 40), (seed, short)


def test_wrong_counts_that_are_taken_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Completions, "_implausible", lambda *_: None)
    _, error = first_broken(Ledger)
    assert "frames for" in error.found
    short = shrink(error.history, lambda h: replay(h, Ledger()) is not None)
    assert len(short) <= 20


def test_a_queue_of_films_uses_the_farm() -> None:
    ledger = Ledger()
    outcome = Simulation(film_queue(1, nodes=20, jobs=8), ledger).run()
    assert set(outcome.states.values()) == {JobState.COMPLETED}
    assert outcome.efficiency > 0.97
    assert outcome.efficiency_to_the_end > 0.9
    assert outcome.wasted_fraction < 0.02
