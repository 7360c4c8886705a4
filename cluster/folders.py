"""A job's own folder, and the sweep of what dead processes left behind."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from scheduler.errors import storage_error

OWNER: Final = "owner.json"
STALE: Final = 3600.0
"""Seconds after which what was only begun, and says nobody's name yet, belongs to the dead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The process that a job folder belongs to. A pid alone may be given to another process."""

    pid: int
    started: float
    """Unix seconds at which the process started."""
    partials: tuple[str, ...]
    """The half-written results that must go when the owner is dead."""

    @property
    def alive(self) -> bool:
        try:
            return bool(abs(psutil.Process(self.pid).create_time() - self.started) < 1.0)
        except psutil.NoSuchProcess:
            return False


def claim(folder: Path, partials: Sequence[Path]) -> None:
    """Make a job's folder and write who owns it, before anything else is put there.

    A new folder appears with its owner's name in it, or not at all.

    Args:
        partials: where results are written before they get their names.

    Raises:
        StorageUnwritable, DiskFull: the folder cannot be made.
    """
    owner = {
        "pid": os.getpid(),
        "started": psutil.Process().create_time(),
        "partials": [str(partial) for partial in partials],
    }
    place = folder if folder.exists() else folder.with_name(f".{folder.name}.new")
    try:
        for part in (place, place / "analysis", place / "segments"):
            part.mkdir(parents=True, exist_ok=True)
        temporary = place / f"{OWNER}.tmp"
        temporary.write_text(json.dumps(owner))
        temporary.rename(place / OWNER)
        if place != folder:
            place.rename(folder)
    except OSError as error:
        if place != folder:
            shutil.rmtree(place, ignore_errors=True)
        raise storage_error(error, str(folder)) from error


def release(folder: Path, partials: Sequence[Path], *, keep: bool = False) -> None:
    """Remove a job's half-written results and, unless it is to be kept, its folder."""
    for partial in partials:
        partial.unlink(missing_ok=True)
    if keep:
        (folder / OWNER).unlink(missing_ok=True)
        return
    discard(folder)


def discard(folder: Path) -> None:
    """Remove a folder so that it is never seen with half of its files gone."""
    doomed = folder.with_name(f".{folder.name}.gone")
    try:
        folder.rename(doomed)
    except OSError:  # it was never made, another process is faster, or the disk is read-only
        doomed = folder
    shutil.rmtree(doomed, ignore_errors=True)


def sweep(root: Path) -> tuple[str, ...]:
    """Remove what jobs of dead processes left under ``root``; return the names of those jobs."""
    swept = []
    for note in sorted(root.glob(f"[!.]*/{OWNER}")):
        try:
            text = note.read_text()
        except FileNotFoundError:
            continue  # another start swept it at the same time
        owner = _owner(text)
        if not owner.alive:
            release(note.parent, [Path(partial) for partial in owner.partials])
            swept.append(note.parent.name)
    for doomed in root.glob(".*.gone"):
        shutil.rmtree(doomed, ignore_errors=True)
    for begun in root.glob(".*.new"):
        if stale(begun):
            shutil.rmtree(begun, ignore_errors=True)
    return tuple(swept)


def stale(path: Path) -> bool:
    """Whether something was begun so long ago that nobody is at work on it any more."""
    try:
        return time.time() - path.stat().st_mtime > STALE
    except FileNotFoundError:
        return False


def _owner(text: str) -> Owner:
    """From the file; of one that a power cut has emptied, somebody who is dead."""
    try:
        said = json.loads(text)
        return Owner(pid=said["pid"], started=said["started"], partials=tuple(said["partials"]))
    except (ValueError, TypeError, KeyError):
        return Owner(pid=0, started=0.0, partials=())
