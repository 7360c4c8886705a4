"""A place of its own for what a test starts, and the proof that nothing of it is left."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil

from actors.credential import CERTIFICATES, KEY

_MARK: Final = "FARM_TEST_SCENE"
"""In the environment of every process that a scene starts, directly or not, whoever adopts it."""
_RING: Final = "/memfd:swapfarm-ring"


class Scene:
    """Folders and a mark for the processes of one story: a job, its deaths, its repetitions.

    Use as a context manager: what is left in the end is removed, whatever the test found.

    Args:
        folder: for outputs and state; made here.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        # Ray's sockets lie deep below it, and their names must stay short.
        self.temporary = Path(tempfile.mkdtemp(prefix="sf", dir="/tmp"))
        self.mark = secrets.token_hex(8)
        self.environment = os.environ | {
            _MARK: self.mark,
            "XDG_STATE_HOME": str(folder / "state"),
            "TMPDIR": str(self.temporary),
            # Of the tree under test, wherever another one is installed.
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        }
        self._shared = _shared_memory()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):  # it died with the one before
                process.kill()
        shutil.rmtree(self.temporary, ignore_errors=True)

    def processes(self) -> list[psutil.Process]:
        """All processes on the machine that this scene started, orphans included."""
        found = []
        for process in psutil.process_iter():
            try:
                # A zombie (the dead kind) has no environment and nothing else either.
                if process.environ().get(_MARK) == self.mark:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def leftovers(self, kept: Collection[str] = (), *, seconds: float = 0.0) -> list[str]:
        """What is left of the scene though its job is over; nothing when all is well.

        Args:
            kept: names of files that may stay.
            seconds: that processes have to end by themselves.
        """
        until = time.monotonic() + seconds
        while (alive := self.processes()) and time.monotonic() < until:
            time.sleep(0.2)
        found = [f"process {process.pid}: {_words(process)}" for process in alive]
        found += [f"memory in process {pid}" for pid in map(_holds_ring, alive) if pid]
        found += [f"shared memory {name}" for name in sorted(self._new_shared())]
        # How fast this machine works is kept on purpose, for `farm submit --plan`; its key, too.
        kept = {*kept, "rates.json", ".lock", KEY, CERTIFICATES}
        for root in (self.folder, self.temporary):
            paths = sorted(path for path in root.rglob("*") if path.name not in kept)
            found += [f"file {path.relative_to(root)}" for path in paths if not path.is_dir()]
        found += [f"folder {path.name}" for path in sorted(self.temporary.iterdir())]
        return found

    def _new_shared(self) -> set[str]:
        """Names in /dev/shm that came with this scene: no process of others has them open."""
        return {
            name
            for name in _shared_memory() - self._shared
            if not any(_has_open(process, f"/dev/shm/{name}") for process in psutil.process_iter())
        }


def ring_of(process: psutil.Process) -> int | None:
    """The memory by which a lane's processes are known to each other; None while it has none."""
    try:
        folder = Path("/proc", str(process.pid), "fd")
        for descriptor in folder.iterdir():
            try:
                if os.readlink(descriptor).startswith(_RING):
                    return descriptor.stat().st_ino
            except FileNotFoundError:
                continue  # closed meanwhile
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return None
    return None


def _holds_ring(process: psutil.Process) -> int:
    return process.pid if ring_of(process) else 0


def _shared_memory() -> set[str]:
    """Names of it; a folder there is somebody's place for files, and neither Ray's nor ours."""
    return {entry.name for entry in os.scandir("/dev/shm") if not entry.is_dir()}


def _has_open(process: psutil.Process, path: str) -> bool:
    try:
        return path in Path("/proc", str(process.pid), "maps").read_text()
    except (OSError, ProcessLookupError):
        return False


def _words(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())[:200]
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return "gone"
