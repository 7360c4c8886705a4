"""The ledger and its journal as one: nothing is asked for that is not written down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cluster.journal import Entry, Journal
from scheduler.history import Event, Progressed
from scheduler.instructions import Instruction
from scheduler.ledger import Ledger

_PROGRESS: Final = 5.0
"""Seconds between two words on the progress of a lease that are written down."""


class Bookkeeper:
    """Handles events and writes them down before anyone may act on them.

    Args:
        compact_after: so many transitions after the last time, the journal is compacted.
    """

    def __init__(self, journal: Journal, *, compact_after: int = 20_000) -> None:
        self._journal = journal
        self._compact_after = compact_after
        self._since = 0
        self.ledger: Ledger = journal.restore()

    def handle(self, events: Sequence[Event], now: float) -> list[Instruction]:
        """Take events and say what follows from them. They are durable when this returns.

        After an error the ledger is ahead of its journal: make a new one from the journal.

        Raises:
            StorageError: they could not be written; nothing that follows may be done.
        """
        entries, out = [], []
        for event in events:
            if isinstance(event, Progressed) and not self._news(event, now):
                continue
            instructions = self.ledger.handle(event, now)
            entries.append(Entry.of(event, now, instructions))
            out += instructions
        if entries:
            self._journal.append(entries)
            self._since += len(entries)
        if self._since >= self._compact_after:
            self._since = 0
            self._journal.compact(self.ledger.state)
        return out

    def _news(self, event: Progressed, now: float) -> bool:
        lease = self.ledger.state.book.open.get(event.lease)
        return lease is not None and (not lease.beats or now - lease.moved >= _PROGRESS)
