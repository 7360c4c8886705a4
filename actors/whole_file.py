"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from scheduler.errors import storage_error


@contextmanager
def whole_file(path: Path, partial: Path | None = None) -> Iterator[BinaryIO]:
    """A file to fill, beside its place; on leaving it is synced and gets its name by a rename.

    After an exception there is no such file, or still the one from before.

    Args:
        path: what appears.
        partial: the name until then, in the same folder, where somebody must know it to sweep up
            after a killed process; otherwise each process has its own.

    Raises:
        StorageUnwritable, DiskFull: it cannot be written.
    """
    temporary = partial or path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise storage_error(error, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)
