"""A farm as it lies on disk: read without asking it, whether or not it is up."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from cluster.farm_view import rows_of
from cluster.job_shelf import JobShelf
from cluster.journal import Journal
from scheduler.errors import JobBusy, storage_error
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

    def ledger(self) -> Ledger:
        """What the journal comes to.

        Raises:
            StorageError: it cannot be read.
        """
        if not self.there:
            return Ledger()
        journal = Journal(self.folder / "journal.db")
        try:
            return journal.restore()
        finally:
            journal.close()

    def rows(self, *, works: bool) -> list[dict[str, Any]]:
        """One row a job.

        Args:
            works: somebody works on it now; if not, what runs or waits is only queued.
        """
        rows = rows_of(self.ledger(), self.shelf)
        for row in rows:
            if not works and row["state"] not in (*_ENDED, JobState.PAUSED.value):
                row["state"] = JobState.QUEUED.value
                row["running"] = 0
        return rows

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


def _taken(lock: int, how: int) -> bool:
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
