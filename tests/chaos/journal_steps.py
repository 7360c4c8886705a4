"""Dies before each step of the journal's writer, and before each step of the one after it.

Run by test_journal_steps.py. A parent that has loaded everything forks the writers; what it finds
is printed as JSON.
"""

from __future__ import annotations

import json
import os
import random
from argparse import ArgumentParser
from pathlib import Path
from tempfile import TemporaryDirectory

from cluster.bookkeeper import Bookkeeper
from cluster.journal import Journal
from scheduler.history import Event, Progressed
from scheduler.instructions import Instruction
from scheduler.ledger import Ledger
from scheduler.scenario import small_farm
from scheduler.simulation import Simulation
from tests.support.crashing import DIED, Steps

EVENTS = 20
COMPACT = 7


def history(seed: int) -> list[tuple[Event, float]]:
    """The first events of a simulated farm."""
    told: list[tuple[Event, float]] = []
    ledger = Ledger()

    def handle(event: Event, now: float) -> list[Instruction]:
        if not isinstance(event, Progressed):
            told.append((event, now))
        return ledger.handle(event, now)

    Simulation(small_farm(seed), ledger, handle).run()
    return told[:EVENTS]


def write(path: Path, told: list[tuple[Event, float]], acknowledged: int) -> None:
    """Goes on where the journal ends, and says how far it is whenever something is durable."""
    journal = Journal(path)
    books = Bookkeeper(journal, compact_after=COMPACT)
    for event, now in told[journal.seq :]:
        books.handle([event], now)
        os.write(acknowledged, f"{journal.seq}\n".encode())
    journal.close()


def fork(
    folder: Path, told: list[tuple[Event, float]], die_at: int | None
) -> tuple[int, list[str], int]:
    """One writer's life: its exit code, the steps that it began, and what it acknowledged."""
    notes = folder / "steps"
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.close(reader)
            steps = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            (folder / "journal").mkdir(exist_ok=True)
            Steps(folder / "journal", steps, die_at).install()
            write(folder / "journal" / "journal.sqlite", told, writer)
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = [int(word) for word in pipe.read().split()]
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), notes.read_text().splitlines(), max(said, default=0)


def story(told: list[tuple[Event, float]], deaths: tuple[int, ...]) -> list[str]:
    """What is wrong after writers that died at these steps, one after the other."""
    wrong, most = [], 0
    with TemporaryDirectory() as name:
        folder = Path(name)
        for die_at in (*deaths, None):
            code, _, said = fork(folder, told, die_at)
            most = max(most, said)
            if code not in (0, DIED) or (die_at is None and code != 0):
                wrong.append(f"exit {code}")
            journal = Journal(folder / "journal" / "journal.sqlite")
            try:
                wrong += journal.check()
                if journal.seq < most:
                    wrong.append(f"{most} was acknowledged and {journal.seq} is there")
                ledger = Ledger()
                for event, now in told[: journal.seq]:
                    ledger.handle(event, now)
                if journal.restore().state != ledger.state:
                    wrong.append(f"another state after {journal.seq} events")
            finally:
                journal.close()
        if journal.seq != len(told):
            wrong.append(f"{journal.seq} events in the end")
    return [f"{deaths}: {each}" for each in wrong]


def main() -> None:
    asked = ArgumentParser()
    asked.add_argument("seed", type=int)
    asked.add_argument("--pairs", type=int, default=0, help="each step, and so many drawn pairs")
    asked.add_argument("--share", type=int, nargs=2, help="of each pair the N-th of M shares")
    given = asked.parse_args()
    told = history(given.seed)
    with TemporaryDirectory() as name:
        _, steps, _ = fork(Path(name), told, None)
    every = range(1, len(steps) + 1)
    if given.share:
        share, shares = given.share
        stories: list[tuple[int, ...]] = [(first, second) for first in every for second in every][
            share::shares
        ]
    else:
        rng = random.Random(given.seed)
        stories = [(step,) for step in every]
        stories += [(rng.choice(every), rng.choice(every)) for _ in range(given.pairs)]
    wrong = [each for deaths in stories for each in story(told, deaths)]
    names = list(dict.fromkeys(steps))
    print(
        json.dumps({"stories": len(stories), "steps": len(steps), "names": names, "wrong": wrong})
    )


if __name__ == "__main__":
    main()
