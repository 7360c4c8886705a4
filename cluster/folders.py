"""A job's own folder, and the sweep of what dead processes left behind."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from scheduler.errors import storage_error

OWNER: Final = "owner.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The process that a job folder belongs to. A pid alone may be given to another process."""

    pid: int
    started: float
    """Unix seconds at which the process started."""
    partial: str
    """The half-written output that must go when the owner is dead."""

    @property
    def alive(self) -> bool:
        try:
            return bool(abs(psutil.Process(self.pid).create_time() - self.started) < 1.0)
        except psutil.NoSuchProcess:
            return False


def claim(folder: Path, partial: Path) -> None:
    """Make a job's folder and write who owns it, before anything else is put there.

    Raises:
        StorageUnwritable, DiskFull: the folder cannot be made.
    """
    owner = {
        "pid": os.getpid(),
        "started": psutil.Process().create_time(),
        "partial": str(partial),
    }
    try:
        for part in (folder, folder / "analysis", folder / "segments"):
            part.mkdir(parents=True, exist_ok=True)
        temporary = folder / f"{OWNER}.tmp"
        temporary.write_text(json.dumps(owner))
        temporary.rename(folder / OWNER)
    except OSError as error:
        raise storage_error(error, str(folder)) from error


def release(folder: Path, partial: Path, *, keep: bool = False) -> None:
    """Remove a job's half-written output and, unless it is to be kept, its folder."""
    partial.unlink(missing_ok=True)
    if keep:
        (folder / OWNER).unlink(missing_ok=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(root: Path) -> tuple[str, ...]:
    """Remove what jobs of dead processes left under ``root``; return the names of those jobs."""
    swept = []
    for note in sorted(root.glob(f"*/{OWNER}")):
        try:
            owner = Owner(**json.loads(note.read_text()))
        except FileNotFoundError:
            continue  # another start swept it at the same time
        if not owner.alive:
            release(note.parent, Path(owner.partial))
            swept.append(note.parent.name)
    return tuple(swept)
