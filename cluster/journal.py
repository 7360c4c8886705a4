"""The truth about the farm's jobs, on disk: a history in SQLite, and what it came to.

A transition is durable when `append` returns (WAL, synchronous=FULL); only then is what follows
from it carried out. From time to time the history is replaced by the state that it comes to. One
process writes; a second one finds its next number taken and stops.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import TypeAdapter, ValidationError

from scheduler.errors import DiskFull, JournalUnusable, StorageError, StorageUnwritable
from scheduler.farm_state import FarmState
from scheduler.history import Event
from scheduler.instructions import Instruction
from scheduler.invariants import broken
from scheduler.ledger import Ledger
from scheduler.retries import Rules

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    CREATE TABLE events (
        seq INTEGER PRIMARY KEY,
        at REAL NOT NULL,       -- seconds on the ledger's clock
        kind TEXT NOT NULL,     -- a class of scheduler.history
        body TEXT NOT NULL,     -- JSON
        asked INTEGER NOT NULL  -- checksum of the instructions that followed
    ) STRICT;
    CREATE TABLE snapshots (
        seq INTEGER PRIMARY KEY, -- of the last event in it
        rules TEXT NOT NULL,     -- JSON of scheduler.retries.Rules
        state BLOB NOT NULL      -- JSON of scheduler.farm_state.FarmState, deflated
    ) STRICT;
    """,
)
"""Each brings a journal of the version before to the next. Never changed, only added to."""

_EVENTS: Final[dict[str, TypeAdapter[Any]]] = {
    kind.__name__: TypeAdapter(kind) for kind in get_args(Event)
}
_STATE: Final = TypeAdapter(FarmState)
_RULES: Final = TypeAdapter(Rules)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One event with its time and what followed from it."""

    event: Event
    at: float
    asked: int

    @classmethod
    def of(cls, event: Event, at: float, instructions: Sequence[Instruction]) -> Entry:
        return cls(event=event, at=at, asked=zlib.crc32(repr(instructions).encode()))

    def row(self, seq: int) -> tuple[int, float, str, str, int]:
        """Of the table of events."""
        kind = type(self.event).__name__
        return seq, self.at, kind, _EVENTS[kind].dump_json(self.event).decode(), self.asked


class Journal:
    """One journal file, open for writing. For one thread at a time.

    Args:
        path: made if it is not there.
        rules: of the ledger, for a journal that is new; an old one goes on under its own.
        migrations: other than in tests, all there are.

    Raises:
        JournalUnusable: it is damaged, or was written by a newer version.
        DiskFull, StorageUnwritable: it cannot be written.
    """

    def __init__(
        self, path: Path, rules: Rules | None = None, migrations: Sequence[str] = MIGRATIONS
    ) -> None:
        self._path = path
        with self._errors():
            # Several threads may use it, one after the other: whoever does holds a lock.
            self._base = sqlite3.connect(
                path, isolation_level=None, timeout=5.0, check_same_thread=False
            )
            try:
                self._base.execute("PRAGMA journal_mode=WAL")
                self._base.execute("PRAGMA synchronous=FULL")
                self._migrate(migrations, rules or Rules())
                self._seq: int = self._base.execute(
                    "SELECT max((SELECT max(seq) FROM snapshots), "
                    "coalesce((SELECT max(seq) FROM events), 0))"
                ).fetchone()[0]
            except BaseException:
                self._base.close()
                raise

    @property
    def seq(self) -> int:
        """Number of the latest transition."""
        return self._seq

    def append(self, entries: Sequence[Entry]) -> None:
        """Write transitions, all or none; they are durable when this returns.

        Raises:
            JournalUnusable: another process has written since.
            DiskFull, StorageUnwritable: they could not be written.
        """
        rows = [entry.row(self._seq + number) for number, entry in enumerate(entries, 1)]
        with self._errors(), self._transaction():
            self._base.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?)", rows)
        self._seq += len(rows)

    def restore(self) -> Ledger:
        """The ledger as it was at the latest transition.

        Raises:
            JournalUnusable: the journal cannot be read.
        """
        ledger = self._ledger()
        for _, entry in self._entries():
            ledger.handle(entry.event, entry.at)
        return ledger

    def compact(self, state: FarmState) -> None:
        """Put the state in place of the history that led to it.

        Args:
            state: of a ledger that has handled all that was appended, and nothing else.
        """
        blob = zlib.compress(_STATE.dump_json(state), 1)
        with self._errors():
            with self._transaction():
                (rules,) = self._base.execute("SELECT rules FROM snapshots").fetchone()
                self._base.execute("DELETE FROM snapshots")
                row = (self._seq, rules, blob)
                self._base.execute("INSERT INTO snapshots VALUES (?, ?, ?)", row)
                self._base.execute("DELETE FROM events WHERE seq <= ?", (self._seq,))
            self._base.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def check(self) -> list[str]:
        """What is wrong with the journal, in words; nothing when all is well.

        Looks at the file, at the row of numbers, at each event, at what followed from it when it
        is told again, and at all that must hold of the state after it.
        """
        found: list[str] = []
        try:
            with self._errors():
                rows = self._base.execute("PRAGMA integrity_check").fetchall()
                found += [str(row[0]) for row in rows if row[0] != "ok"]
                (expected,) = self._base.execute("SELECT max(seq) FROM snapshots").fetchone()
            ledger = self._ledger()
            found += [f"in the snapshot: {each}" for each in broken(ledger.state)]
            for seq, entry in self._entries():
                expected += 1
                if seq != expected:
                    found.append(f"event {seq} follows event {expected - 1}")
                    expected = seq
                told = Entry.of(entry.event, entry.at, ledger.handle(entry.event, entry.at))
                if told.asked != entry.asked:
                    found.append(f"event {seq} has other consequences than when it happened")
                found += [f"after event {seq}: {each}" for each in broken(ledger.state)]
        except JournalUnusable as error:
            found.append(error.found)
        return found

    def close(self) -> None:
        self._base.close()

    def _migrate(self, migrations: Sequence[str], rules: Rules) -> None:
        (version,) = self._base.execute("PRAGMA user_version").fetchone()
        if version > len(migrations):
            raise JournalUnusable(
                f"journal {str(self._path)!r} of version {version}",
                f"version {len(migrations)} or older",
                "use the version of swapfarm that wrote it, or a newer one",
            )
        for number in range(version, len(migrations)):
            script = f"BEGIN IMMEDIATE; {migrations[number]} PRAGMA user_version = {number + 1};"
            self._base.executescript(script)
            if number == 0:
                empty = zlib.compress(_STATE.dump_json(FarmState()))
                row = (_RULES.dump_json(rules).decode(), empty)
                self._base.execute("INSERT INTO snapshots VALUES (0, ?, ?)", row)
            self._base.execute("COMMIT")

    def _ledger(self) -> Ledger:
        with self._errors():
            row = self._base.execute("SELECT rules, state FROM snapshots").fetchone()
        try:
            state = _STATE.validate_json(zlib.decompress(row[1]))
            return Ledger(_RULES.validate_json(row[0]), state)
        except (ValidationError, zlib.error) as error:
            raise self._damaged(f"its snapshot cannot be read ({error})") from error

    def _entries(self) -> Iterator[tuple[int, Entry]]:
        with self._errors():
            rows = self._base.execute("SELECT * FROM events ORDER BY seq").fetchall()
        for seq, at, kind, body, asked in rows:
            try:
                event = _EVENTS[kind].validate_json(body)
            except (KeyError, ValidationError) as error:
                raise self._damaged(f"its event {seq} ({kind}) cannot be read") from error
            yield seq, Entry(event=event, at=at, asked=asked)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._base.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._base.execute("COMMIT")
        except BaseException:
            if self._base.in_transaction:
                self._base.execute("ROLLBACK")
            raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """SQLite's errors as errors of the tree."""
        try:
            yield
        except sqlite3.IntegrityError as error:
            raise JournalUnusable(
                f"journal {str(self._path)!r} was written to by another process ({error})",
                "one service for each journal",
                "end the other service, or give this one a journal of its own",
            ) from error
        except sqlite3.DatabaseError as error:
            raise self._refused(error) from error

    def _refused(self, error: sqlite3.DatabaseError) -> StorageError:
        where = repr(str(self._path))
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            return DiskFull(
                f"no room to write {where}", "room on that disk", "free some space and start again"
            )
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return self._damaged(str(error))
        return StorageUnwritable(
            f"cannot write {where}: {error}",
            "a file that this user may write, on a disk of this machine",
            "check the folder and its rights, and whether another service uses the file",
        )

    def _damaged(self, what: str) -> JournalUnusable:
        return JournalUnusable(
            f"journal {str(self._path)!r} is damaged: {what}",
            "the file as it was written",
            "bring it back from a copy, or move it away and submit its jobs again",
        )
