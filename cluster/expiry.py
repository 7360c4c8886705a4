"""What nobody used for long goes: kept job folders, analyses, records, fetched and unsent films."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cluster.folders import OWNER, discard

_JOB: Final = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Where things are kept that are used less and less."""

    jobs: Path
    """Of job folders; other folders may be beside them."""
    folders: tuple[Path, ...]
    """All of whose entries are swapfarm's."""


def expire(
    kept: Kept,
    seconds: float,
    *,
    now: float | None = None,
    needed: Callable[[str], bool] = lambda _: False,
) -> tuple[str, ...]:
    """Remove what was last used before so many seconds.

    Args:
        seconds: 0: nothing goes.
        now: Unix seconds; None: the clock's.
        needed: whether a farm that is up, or will be, has a job of this name.

    Returns: the names of what went.
    """
    if seconds <= 0:
        return ()
    limit = (time.time() if now is None else now) - seconds
    doomed = [path for path in _jobs(kept.jobs) if not needed(path.name)]
    doomed += [path for folder in kept.folders for path in _entries(folder)]
    gone = []
    for path in doomed:
        try:
            if last_used(path) >= limit:
                continue
        except FileNotFoundError:
            continue  # another process was faster
        if path.is_dir():
            discard(path)
        else:
            path.unlink(missing_ok=True)
        gone.append(path.name)
    return tuple(gone)


def last_used(path: Path) -> float:
    """Unix seconds: of a file, or the latest of a folder and what is right in it."""
    inside: Sequence[Path] = tuple(path.iterdir()) if path.is_dir() else ()
    return max(each.stat().st_mtime for each in (path, *inside))


def _jobs(root: Path) -> Iterator[Path]:
    """Folders that were kept: those of jobs that run have an owner, and a sweep of their own."""
    for path in _entries(root):
        if _JOB.fullmatch(path.name) and path.is_dir() and not (path / OWNER).exists():
            yield path


def _entries(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in sorted(folder.iterdir()) if not path.name.startswith("."))
