"""The real ledger under virtual nodes: how well a farm is used, and how fast the ledger decides."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from pathlib import Path

from scheduler.chunk_times import MEASURED, ChunkTimes, from_measured
from scheduler.errors import SettingInvalid
from scheduler.history import Event
from scheduler.instructions import Instruction, JobState
from scheduler.ledger import Ledger
from scheduler.scenario import film_queue
from scheduler.simulation import Simulation
from scheduler.simulation_outcome import Outcome


class TimedLedger:
    """A ledger's ``handle`` with the CPU time it takes."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.seconds = 0.0
        self.slowest = 0.0

    def handle(self, event: Event, now: float) -> list[Instruction]:
        began = time.thread_time()
        out = self._ledger.handle(event, now)
        took = time.thread_time() - began
        self.seconds += took
        self.slowest = max(self.slowest, took)
        return out


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0


def fairness(ledger: Ledger, outcome: Outcome) -> float:
    """Jain's index of the users' lane seconds a second until their last film was done: 1 when all
    were served at the same rate."""
    last: defaultdict[str, float] = defaultdict(float)
    for job in ledger.state.jobs.values():
        last[job.terms.user] = max(last[job.terms.user], outcome.ended[job.id])
    rates = [ledger.state.accounts.of(user).seconds / at for user, at in last.items()]
    return sum(rates) ** 2 / (len(rates) * sum(rate * rate for rate in rates))


def read_times(report: Path) -> ChunkTimes:
    """The chunk times of a report of ``benchmarks/chunk_times.py``.

    Raises:
        SettingInvalid: it cannot be read, or is none.
    """
    try:
        facts = json.loads(report.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SettingInvalid(
            f"--times {report}: {error}",
            "the JSON report of benchmarks/chunk_times.py",
            "correct the path",
        ) from error
    return from_measured(facts, str(report))


def measure(nodes: int, jobs: int, seed: int, times: ChunkTimes = MEASURED) -> dict[str, float]:
    """Work off a queue of films on virtual nodes; the figures.

    Args:
        nodes: with one lane each; 1 % of them fail an hour.
        jobs: films of 10 s to 2 h.
        seed: the same seed gives the same history, whatever the machine.
        times: of chunks.
    """
    scenario = film_queue(seed, nodes, jobs, times=times)
    ledger = Ledger()
    timed = TimedLedger(ledger)
    began = time.process_time()
    outcome = Simulation(scenario, ledger, timed.handle).run()
    waits = list(outcome.began.values())
    done = sum(state is JobState.COMPLETED for state in outcome.states.values())
    return {
        "nodes": nodes,
        "jobs": jobs,
        "seed": seed,
        "completed": done,
        "chunks": sum(-(-film.frames // scenario.chunk_frames) for film in scenario.films),
        "efficiency": outcome.efficiency,
        "efficiency_to_the_end": outcome.efficiency_to_the_end,
        "decisions_per_s": outcome.starts / timed.seconds,
        "events_per_s": outcome.events / timed.seconds,
        "slowest_event_ms": timed.slowest * 1000,
        "wasted_fraction": outcome.wasted_fraction,
        "makespan_s": outcome.seconds,
        "queue_s": outcome.queue_seconds,
        "queue_median_s": quantile(waits, 0.5),
        "queue_p95_s": quantile(waits, 0.95),
        "fairness": fairness(ledger, outcome),
        "starts": outcome.starts,
        "events": outcome.events,
        "cpu_s": time.process_time() - began,
    }


def lines(result: dict[str, float]) -> list[str]:
    """The figures in words."""
    return [
        f"{name:22} {value:12.4f}" if isinstance(value, float) else f"{name:22} {value:12}"
        for name, value in result.items()
    ]
