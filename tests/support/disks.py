"""Storage that misbehaves: a small disk that fills up or turns read-only, and writes that fail.

The disk is a tmpfs in a mount namespace of its own (Linux; root, or user namespaces), which only
the processes of the test see. Failing writes come from a small library of C between a process and
its C library (``cc`` is needed).
"""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_SHIM: Final = Path(__file__).with_name("failing_writes.c")
_MOUNT: Final = 'mount -t tmpfs -o size="$2"k tmpfs "$1" && echo up && exec sleep 100000'


class SmallDisk:
    """A disk of some kilobytes at a path. Use as a context manager.

    Args:
        path: an empty folder; only processes started with ``before`` see the disk there.
        kilobytes: its size.
    """

    def __init__(self, path: Path, kilobytes: int) -> None:
        self.path = path
        enter = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        # A process that does nothing but hold the namespace.
        self._keeper = subprocess.Popen(
            ["unshare", "--mount", *enter, "sh", "-c", _MOUNT, "sh", str(path), str(kilobytes)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._keeper.stdout
        assert self._keeper.stderr
        if self._keeper.stdout.readline() != "up\n":
            raise AssertionError(f"no disk can be mounted here: {self._keeper.stderr.read()}")
        pid = str(self._keeper.pid)
        users = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        self.before = ["nsenter", "--target", pid, "--mount", *users, "--"]
        """What a command starts with that is to see the disk."""
        self.seen = Path("/proc", pid, "root", str(path).lstrip("/"))
        """The disk from outside."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._keeper.kill()
        self._keeper.communicate()

    def fill(self) -> None:
        """Takes all room that is left."""
        with (self.seen / "ballast").open("ab", buffering=0) as ballast, suppress(OSError):
            while ballast.write(bytes(4096)):
                continue

    def free(self) -> None:
        """Gives the room back."""
        (self.seen / "ballast").unlink()

    def read_only(self) -> None:
        """From now on nothing can be opened for writing; what is open stays so."""
        self._inside("mount", "--bind", str(self.path), str(self.path))
        self._inside("mount", "-o", "remount,bind,ro", str(self.path))

    def writable(self) -> None:
        """As before `read_only`."""
        self._inside("umount", "--lazy", str(self.path))

    def files(self) -> list[str]:
        """What lies there, ballast left out."""
        found = (p for p in self.seen.rglob("*") if not p.is_dir() and p.name != "ballast")
        return sorted(str(path.relative_to(self.seen)) for path in found)

    def _inside(self, *command: str) -> None:
        subprocess.run([*self.before, *command], check=True, capture_output=True)


def failing_writes(folder: Path, under: Path, seed: int, one_in: int = 10) -> dict[str, str]:
    """Variables that make writes, syncs and renames of a process and its children fail with EIO.

    Args:
        folder: where the library is put.
        under: only files below it fail.
        one_in: so rare they are.
    """
    library = folder / "failing_writes.so"
    command = ["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", library, _SHIM, "-ldl"]
    subprocess.run(command, check=True)
    return {
        "LD_PRELOAD": str(library),
        "FAILING_UNDER": f"{under}/",
        "FAILING_ONE_IN": str(one_in),
        "FAILING_SEED": str(seed),
    }
