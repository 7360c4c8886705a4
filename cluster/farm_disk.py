"""A farm as it lies on disk: read without asking it, whether or not it is up."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from cluster.farm_view import facts_of, rows_of
from cluster.job_shelf import JobShelf
from cluster.journal import Journal
from scheduler.errors import JobBusy, storage_error
from scheduler.history import Restarted
from scheduler.instructions import JobState
from scheduler.ledger import Ledger

_ENDED: Final = tuple(state.value for state in JobState if state.ended)
_LOCK: Final = "run.lock"
_LOOK: Final = 1.0
"""Seconds that one who only looks may be in the way."""


class FarmDisk:
    """The folder of a farm.

    Args:
        folder: of its journal; it may not be there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shelf = JobShelf(folder / "jobs")

    @property
    def there(self) -> bool:
        """Some farm has been here."""
        return (self.folder / "journal.db").exists()

    def ledger(self, *, works: bool = True) -> Ledger:
        """What the journal comes to.

        Args:
            works: somebody works on it now; if not, nothing is under way.

        Raises:
            StorageError: it cannot be read.
        """
        if not self.there:
            return Ledger()
        journal = Journal(self.folder / "journal.db")
        try:
            ledger = journal.restore()
        finally:
            journal.close()
        if not works:
            ledger.handle(Restarted(), ledger.state.now)
        return ledger

    def rows(self, *, works: bool) -> list[dict[str, Any]]:
        """One row a job.

        Args:
            works: somebody works on it now; if not, what runs or waits is only queued.
        """
        return [_idle(row, works) for row in rows_of(self.ledger(works=works), self.shelf)]

    def show(self, name: str, *, works: bool) -> dict[str, Any]:
        """All that is known of a job, as `farm_view.show_job` has it of a farm.

        Args:
            works: as for `rows`.

        Raises:
            JobUnknown: there is none.
        """
        return _idle(facts_of(self.ledger(works=works), self.shelf, name), works)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Be the one who works here; a lock of the kernel's, which no death leaves behind.

        Raises:
            JobBusy: another process does.
            StorageError: the folder cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise storage_error(error, str(self.folder)) from error
        try:
            until = time.monotonic() + _LOOK
            while not _taken(lock, fcntl.LOCK_EX):
                if time.monotonic() > until:
                    raise JobBusy(
                        f"another process works on {self.folder.name!r}",
                        "one at a time",
                        "wait for it, or end it with Ctrl-C where it runs",
                    )
                time.sleep(0.05)
            yield
        finally:
            os.close(lock)

    @property
    def busy(self) -> bool:
        """Somebody works here now."""
        try:
            lock = os.open(self.folder / _LOCK, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            return not _taken(lock, fcntl.LOCK_SH)
        finally:
            os.close(lock)


def _idle(row: dict[str, Any], works: bool) -> dict[str, Any]:
    """A row, of a job on which maybe nobody works."""
    if works or row["state"] in (*_ENDED, JobState.PAUSED.value):
        return row
    return row | {"state": JobState.QUEUED.value, "waits": "nobody works on it now"}


def _taken(lock: int, how: int) -> bool:
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
