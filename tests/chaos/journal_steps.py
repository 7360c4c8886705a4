"""Dies before each step of the journal's writer, and before each step of the one after it.

Run by test_journal_steps.py. A parent that has loaded everything forks the writers; what it finds
is printed as JSON.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, replace
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What the writers of a journal have come to."""

    folder: Path
    acknowledged: int = 0
    steps: int = 0
    """Of the latest life."""
    wrong: tuple[str, ...] = ()

    def live(self, told: list[tuple[Event, float]], die_at: int | None) -> Past:
        """One more writer's life, to its death or its end, and a look at the journal after it."""
        code, steps, said = fork(self.folder, told, die_at)
        most = max(self.acknowledged, said)
        wrong = [] if code == (0 if die_at is None else DIED) else [f"exit {code}"]
        wrong += self._look(told, most, whole=die_at is None)
        return replace(
            self,
            acknowledged=most,
            steps=len(steps),
            wrong=(*self.wrong, *(f"death at {die_at}: {each}" for each in wrong)),
        )

    def _look(self, told: list[tuple[Event, float]], most: int, *, whole: bool) -> list[str]:
        """At a copy: the next writer is to find what the death has left."""
        with TemporaryDirectory() as name:
            place = Path(name) / "journal"
            shutil.copytree(self.folder / "journal", place)
            with closing(Journal(place / "journal.sqlite")) as journal:
                wrong = journal.check()
                if journal.seq < most:
                    wrong.append(f"{most} was acknowledged and {journal.seq} is there")
                ledger = Ledger()
                for event, now in told[: journal.seq]:
                    ledger.handle(event, now)
                if journal.restore().state != ledger.state:
                    wrong.append(f"another state after {journal.seq} events")
                if whole and journal.seq != len(told):
                    wrong.append(f"{journal.seq} events in the end")
        return wrong

    def copy(self, folder: Path) -> Past:
        """The same, to go on from in another way."""
        shutil.copytree(self.folder, folder)
        return replace(self, folder=folder)


def stories(
    told: list[tuple[Event, float]], first: int, choose: Callable[[range], Iterable[int]]
) -> tuple[int, list[str]]:
    """A writer that dies at a step; then one that does not, or dies, too, and one that does not.

    Args:
        choose: of all steps of the second writer those at which it dies.

    Returns:
        How many stories there were, and what went wrong in them.
    """
    with TemporaryDirectory() as name:
        folder = Path(name) / "first"
        folder.mkdir()
        dead = Past(folder=folder).live(told, first)
        after = dead.copy(Path(name) / "whole").live(told, None)
        count, wrong = 1, [*after.wrong]
        for second in choose(range(1, after.steps + 1)):
            place = Path(name) / str(second)
            wrong += dead.copy(place).live(told, second).live(told, None).wrong
            shutil.rmtree(place)
            count += 1
    return count, [f"after {first}: {each}" for each in wrong]


def main() -> None:
    asked = ArgumentParser()
    asked.add_argument("seed", type=int)
    asked.add_argument("--pairs", type=int, default=0, help="each step, and so many drawn pairs")
    asked.add_argument("--share", type=int, nargs=2, help="of each pair the N-th of M shares")
    given = asked.parse_args()
    told = history(given.seed)
    with TemporaryDirectory() as name:
        _, steps, _ = fork(Path(name), told, None)
    firsts = range(1, len(steps) + 1)
    rng = random.Random(given.seed)
    drawn = Counter(rng.choices(firsts, k=given.pairs))
    if given.share:
        share, shares = given.share
        firsts = firsts[share::shares]
    count, wrong = 0, list[str]()
    for first in firsts:

        def choose(every: range, first: int = first) -> Iterable[int]:
            return every if given.share else rng.choices(every, k=drawn[first])

        more, found = stories(told, first, choose)
        count += more
        wrong += found
    names = list(dict.fromkeys(steps))
    print(json.dumps({"stories": count, "steps": len(steps), "names": names, "wrong": wrong}))


if __name__ == "__main__":
    main()
