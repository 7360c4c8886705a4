"""Writes to a journal for as long as it is let; says on a pipe what is durable.

Run by test_journal_kills.py. A parent that has loaded everything forks one writer after the other
and kills each at a random moment; its own check of the journal is printed as JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from cluster.journal import Entry, Journal
from scheduler.history import Weighted


def write(path: Path, acknowledged: int) -> None:
    """Weights 1, 2, 3, ... of one user, each acknowledged when it is durable."""
    journal = Journal(path)
    ledger = journal.restore()
    account = ledger.state.accounts.of("ann")
    weight = int(account.weight) if journal.seq else 0
    while True:
        several = 1 + weight % 3
        entries = []
        for _ in range(several):
            weight += 1
            event = Weighted(user="ann", weight=float(weight))
            entries.append(Entry.of(event, float(weight), ledger.handle(event, float(weight))))
        journal.append(entries)
        os.write(acknowledged, f"{weight}\n".encode())
        if weight % 7 == 0:
            journal.compact(ledger.state)


def durable(path: Path) -> tuple[int, list[str]]:
    """The latest weight in the journal, and what is wrong with it."""
    journal = Journal(path)
    try:
        found = journal.check()
        weight = journal.restore().state.accounts.of("ann").weight if journal.seq else 0
        return int(weight), found
    finally:
        journal.close()


def main() -> None:
    path, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    rng = random.Random(seed)
    lost = unreadable = transitions = unasked = 0
    said = 0
    for _ in range(kills):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            try:
                write(path, writer)
            finally:
                os._exit(3)
        os.close(writer)
        time.sleep(rng.expovariate(1 / 0.04))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with os.fdopen(reader, "rb") as pipe:
            words = pipe.read().decode().split("\n")[:-1]
        said = max([said, *map(int, words)])
        there, found = durable(path)
        unreadable += bool(found)
        lost += there < said
        # At most the one batch that this writer had no time to acknowledge.
        unasked += there > max([transitions, *map(int, words)]) + 3
        transitions = there
    print(
        json.dumps(
            {
                "kills": kills,
                "seed": seed,
                "transitions": transitions,
                "lost": lost,
                "unreadable": unreadable,
                "unasked": unasked,
            }
        )
    )


if __name__ == "__main__":
    main()
