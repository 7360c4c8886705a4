"""The journal on a real disk: what was told is there, in order, and comes to the same state."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from cluster.bookkeeper import Bookkeeper
from cluster.journal import MIGRATIONS, Entry, Journal
from scheduler.errors import DiskFull, JournalUnusable, StorageUnwritable
from scheduler.history import Delivered, LaneUp, Progressed, Submitted, Terms, Weighted
from scheduler.instructions import Instruction, Start
from scheduler.ledger import Ledger
from scheduler.retries import Rules
from scheduler.scenario import small_farm
from scheduler.simulation import Simulation


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


def weighted(journal: Journal, weight: float) -> None:
    event = Weighted(user="ann", weight=weight)
    journal.append([Entry.of(event, 1.0, [])])


def broken_into(path: Path, statement: str) -> None:
    base = sqlite3.connect(path)
    base.execute(statement)
    base.commit()
    base.close()


@pytest.mark.parametrize("seed", [3, 5, 9])
def test_a_history_told_again_comes_to_the_same_state(path: Path, seed: int) -> None:
    journal = Journal(path)
    books = Bookkeeper(journal, compact_after=23)
    scenario = small_farm(seed)
    Simulation(scenario, books.ledger, lambda event, now: books.handle([event], now)).run()
    journal.close()
    again = Journal(path)
    assert again.seq >= 24, "it was compacted"
    assert again.restore().state == books.ledger.state
    assert again.check() == []
    again.close()


@pytest.mark.parametrize("seed", [4, 6])
def test_a_ledger_from_its_journal_goes_on_as_if_nothing_had_been(path: Path, seed: int) -> None:
    """At every event a second ledger, made from the journal, says the same."""
    journal = Journal(path)
    ledger = Ledger()

    def handle(event: object, now: float) -> list[Instruction]:
        other = journal.restore()
        assert other.next_due() == ledger.next_due()
        out = ledger.handle(event, now)  # type: ignore[arg-type]
        assert other.handle(event, now) == out  # type: ignore[arg-type]
        journal.append([Entry.of(event, now, out)])  # type: ignore[arg-type]
        if journal.seq % 3 == 0:
            journal.compact(ledger.state)
        return out

    Simulation(small_farm(seed), ledger, handle).run()
    journal.close()


def test_what_is_written_together_is_there_or_not_there(path: Path) -> None:
    journal = Journal(path)
    bad = Entry(event=Weighted(user="ann", weight=2.0), at=None, asked=0)  # type: ignore[arg-type]
    with pytest.raises(JournalUnusable):
        journal.append([Entry.of(Weighted(user="ann", weight=1.0), 1.0, []), bad])
    assert journal.restore().state.accounts.users == {}
    weighted(journal, 3.0)
    assert journal.check() == []
    journal.close()


def test_compaction_drops_the_history_and_keeps_what_it_came_to(path: Path) -> None:
    journal = Journal(path)
    for weight in range(1, 500):
        weighted(journal, weight)
    before = journal.restore().state
    journal.compact(before)
    size = path.stat().st_size
    for weight in range(1, 500):
        weighted(journal, weight)
    journal.compact(journal.restore().state)
    assert path.stat().st_size <= size, "the room is used again"
    journal.close()
    again = Journal(path)
    assert again.seq == 998
    assert again.restore().state == before
    again.close()


def test_a_second_writer_stops_the_first(path: Path) -> None:
    first, second = Journal(path), Journal(path)
    weighted(second, 2.0)
    with pytest.raises(JournalUnusable, match="another process"):
        weighted(first, 3.0)
    assert second.restore().state.accounts.of("ann").weight == 2.0
    first.close()
    second.close()


def test_a_journal_goes_on_under_the_rules_it_began_with(path: Path) -> None:
    journal = Journal(path, Rules(backoff_seconds=7.0))
    journal.close()
    again = Journal(path, Rules(backoff_seconds=1.0))
    assert again.restore().rules.backoff_seconds == 7.0
    again.close()


def test_an_old_journal_is_brought_forward_and_a_newer_one_refused(path: Path) -> None:
    journal = Journal(path)
    weighted(journal, 4.0)
    journal.close()
    later = (*MIGRATIONS, "ALTER TABLE events ADD COLUMN by TEXT NOT NULL DEFAULT '';")
    newer = Journal(path, migrations=later)
    newer.close()
    with pytest.raises(JournalUnusable, match="of version 2"):
        Journal(path)


def test_a_migration_that_breaks_leaves_the_journal_as_it_was(path: Path) -> None:
    journal = Journal(path)
    weighted(journal, 4.0)
    journal.close()
    with pytest.raises(StorageUnwritable):
        Journal(path, migrations=(*MIGRATIONS, "DROP TABLE events; DROP TABLE nothing;"))
    again = Journal(path)
    assert again.restore().state.accounts.of("ann").weight == 4.0
    again.close()


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("DELETE FROM events WHERE seq = 2", "event 3 follows event 1"),
        ("UPDATE events SET body = '{}' WHERE seq = 2", "event 2 (Weighted) cannot be read"),
        ("UPDATE events SET kind = 'Nothing' WHERE seq = 2", "event 2 (Nothing) cannot be read"),
        ("UPDATE events SET asked = 1 WHERE seq = 2", "event 2 has other consequences"),
        ("UPDATE snapshots SET state = x'00'", "snapshot cannot be read"),
    ],
)
def test_check_finds_what_was_changed(path: Path, statement: str, found: str) -> None:
    journal = Journal(path)
    for weight in (1.0, 2.0, 3.0):
        weighted(journal, weight)
    assert journal.check() == []
    journal.close()
    broken_into(path, statement)
    again = Journal(path)
    assert any(found in each for each in again.check())
    again.close()


def test_check_finds_a_state_that_cannot_be(path: Path) -> None:
    journal = Journal(path)
    books = Bookkeeper(journal)
    books.handle([LaneUp(lane="desk", life=1, node="desk", role="film")], 0.0)
    books.handle([Submitted(terms=Terms(job="film"))], 0.0)
    assert journal.check() == []
    books.ledger.state.jobs["film"].leases = []
    journal.compact(books.ledger.state)
    assert any("counts leases" in each for each in journal.check())
    journal.close()


def test_a_file_that_is_no_journal_is_refused(path: Path) -> None:
    path.write_bytes(b"no journal at all, " * 100)
    with pytest.raises(JournalUnusable, match="damaged"):
        Journal(path)


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageUnwritable):
        Journal(tmp_path / "nowhere" / "journal.sqlite")


def test_a_full_disk_is_told_and_nothing_is_asked_for(path: Path) -> None:
    journal = Journal(path)
    journal._base.execute("PRAGMA max_page_count=1")  # as small as it is now
    books = Bookkeeper(journal, compact_after=10**9)
    many = [Weighted(user="x" * 500, weight=weight) for weight in range(1, 1000)]
    with pytest.raises(DiskFull):
        books.handle(many, 0.0)
    assert journal.restore().state.accounts.users == {}
    journal.close()


def test_progress_is_written_down_now_and_then(path: Path) -> None:
    journal = Journal(path)
    books = Bookkeeper(journal)
    books.handle([LaneUp(lane="desk", life=1, node="desk", role="film")], 0.0)
    books.handle([LaneUp(lane="a", life=1, node="a")], 0.0)
    (probe,) = [
        i for i in books.handle([Submitted(terms=Terms(job="f"))], 0.0) if isinstance(i, Start)
    ]
    planned = books.handle([Delivered(lease=probe.lease, chunks=((0, 1000),))], 1.0)
    (analyse,) = [i for i in planned if isinstance(i, Start)]
    before = journal.seq
    for second in range(1, 101):
        books.handle([Progressed(lease=analyse.lease, frames=second)], 1.0 + second / 4)
    assert 5 <= journal.seq - before <= 7
    books.handle([Progressed(lease=999, frames=1)], 30.0)
    assert journal.check() == []
    journal.close()
