"""Runs the ``farm`` command and ends it, as SIGKILL would, just before one of its steps on disk.

A step is whatever a later start can tell was done or not: a file opened for writing, renamed,
linked or removed, a folder made or removed, a statement of SQLite. Python names the first kind by
its audit events, so nothing in the program has to take part, and nothing can be forgotten. A step
is called after the function of ours that takes it, what it does, and the file.

A run may be watched instead: it stops before each step, whole, with all of its threads. What is on
the disk then is what a death at that step would leave, so that one run shows what all deaths in it
come to.

Run as a script it loads the program once and then forks a child for each line of JSON on stdin:
{"argv": [...], "under": folder, "log": file, "steps": file, "reads": file, "die_at": n or null,
"watched": bool, "environment": {...}}. It answers with a line of JSON on stdout for each stop,
{"stopped": true}, and goes on when it gets a line; and with one for the end, {"code": n}.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Final, Self

DIED: Final = 77
"""Exit code of a child that was ended at its step."""
_ROOT: Final = Path(__file__).resolve().parents[2]
_ROOMS: Final = ("farm", "cluster", "actors", "scheduler")
_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_NUMBERS: Final = re.compile(r"[0-9a-f]{12,}|\d{8}-\d{6}-[0-9a-f]{6}|\d+")


class Steps:
    """Counts this process's steps below a folder, writes each down, and dies at one.

    Args:
        under: only steps on files below it count.
        notes: descriptor to which the names go.
        die_at: 1-based number of the step before which the process ends; None: never.
        stops: before each step the process stops, until somebody lets it go on.
        reads: descriptor to which the paths go of files that are opened to be read only; None:
            nobody wants to know.
    """

    def __init__(
        self,
        under: Path,
        notes: int,
        die_at: int | None,
        *,
        stops: bool = False,
        reads: int | None = None,
    ) -> None:
        self._under = f"{under}/"
        self._notes = notes
        self._die_at = die_at
        self._stops = stops
        self._reads = reads
        self._count = 0
        self._inside = False

    def install(self) -> None:
        sys.addaudithook(self._audited)
        steps = self

        class Connection(sqlite3.Connection):
            """Says each statement before it is executed."""

            def __init__(self, database: str | Path, *args: Any, **kwargs: Any) -> None:
                super().__init__(database, *args, **kwargs)
                path = str(database)
                self.set_trace_callback(lambda said: steps.take(said.split()[0].upper(), path))

        plain = sqlite3.connect

        def connect(database: str | Path, *args: Any, **kwargs: Any) -> sqlite3.Connection:
            return plain(database, *args, factory=Connection, **kwargs)

        sqlite3.connect = connect  # type: ignore[assignment]

    def take(self, what: str, path: str) -> None:
        """A step is about to be taken."""
        if self._inside or not path.startswith(self._under):
            return
        self._inside = True
        try:
            self._count += 1
            name = f"{_who(sys._getframe(1))}: {what} {_NUMBERS.sub('#', os.path.basename(path))}"
            os.write(self._notes, f"{name}\n".encode())
            if self._count == self._die_at:
                os._exit(DIED)
            if self._stops:
                signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        finally:
            self._inside = False

    def _audited(self, event: str, args: tuple[Any, ...]) -> None:
        match event:
            case "open":
                path, _, flags = args
                if isinstance(path, str | bytes | Path):
                    name = os.path.abspath(os.fsdecode(path))
                    if flags & _WRITES:
                        self.take("open", name)
                    elif (
                        self._reads is not None
                        and name.startswith(self._under)
                        and not os.path.isdir(name)  # opened to be removed
                    ):
                        os.write(self._reads, f"{name}\n".encode())
            case "os.rename":
                self.take("rename to", os.path.abspath(os.fsdecode(args[1])))
            case "os.link" | "os.symlink":
                self.take("link to", os.path.abspath(os.fsdecode(args[1])))
            case "os.remove" | "os.rmdir" | "os.mkdir":
                self.take(event.removeprefix("os."), _absolute(os.fsdecode(args[0]), args[-1]))


def _absolute(path: str, folder: int) -> str:
    """The path of a file that may be named within an open folder."""
    if os.path.isabs(path) or folder < 0:
        return os.path.abspath(path)
    return os.path.join(os.readlink(f"/proc/self/fd/{folder}"), path)


def _who(frame: FrameType | None) -> str:
    """The innermost function of the program: ``cluster.publish.publish_film``.

    Not the one that all write whole files with: who wrote what is to be told apart.
    """
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.partition(".")[0] in _ROOMS and module != "actors.whole_file":
            return f"{module}.{frame.f_code.co_name}"
        frame = frame.f_back
    return "outside"


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What came of one run of the command."""

    code: int
    steps: list[str]
    """Names of the steps that were begun."""
    reads: list[Path]
    """Files that Python opened to read."""
    said: str


class Crasher:
    """The script of this file in a process, from outside. Use as a context manager.

    Args:
        environment: of the command.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
            env={**environment, "PYTHONPATH": str(_ROOT)},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()

    def run(
        self,
        argv: Sequence[str],
        under: Path,
        die_at: int | None = None,
        stopped: Callable[[], None] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Life:
        """Run the command once.

        Args:
            under: the folder whose steps count; what becomes known of them is written above it.
            stopped: called before each step, while the command stands still.
            environment: variables of this run alone.
        """
        assert self._process.stdout
        log, steps, reads = (
            under.with_name(f"{under.name}.{end}") for end in ("log", "steps", "reads")
        )
        line = {
            "argv": list(argv),
            "under": str(under),
            "log": str(log),
            "steps": str(steps),
            "reads": str(reads),
            "die_at": die_at,
            "watched": stopped is not None,
            "environment": dict(environment or {}),
        }
        self._say(json.dumps(line))
        while "code" not in (answer := json.loads(self._process.stdout.readline())):
            assert stopped
            stopped()
            self._say("go on")
        return Life(
            code=int(answer["code"]),
            steps=steps.read_text().splitlines(),
            reads=[Path(line) for line in reads.read_text().splitlines()],
            said=log.read_text(),
        )

    def _say(self, line: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()


def _child(order: dict[str, Any]) -> int:
    from farm.cli import main

    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    notes = os.open(order["steps"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    reads = os.open(order["reads"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.environ.update(order["environment"])
    under, stops = Path(order["under"]), order["watched"]
    Steps(under, notes, order["die_at"], stops=stops, reads=reads).install()
    code = main(order["argv"])
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _serve() -> None:
    # Loaded once, here, for all children: most of what a short command spends its time on.
    import c2pa  # noqa: F401

    import farm.cli
    import farm.runner  # noqa: F401
    from actors.threads import limit_threads
    from kernels.warm import warm_up

    limit_threads(1)  # threads do not outlive a fork
    warm_up()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            code = 70
            try:
                code = _child(json.loads(line))
            finally:
                os._exit(code)
        _, status = os.waitpid(child, os.WUNTRACED)
        while os.WIFSTOPPED(status):
            print(json.dumps({"stopped": True}), flush=True)
            # Without a word whoever looked at it is gone.
            os.kill(child, signal.SIGCONT if sys.stdin.readline() else signal.SIGKILL)
            _, status = os.waitpid(child, os.WUNTRACED)
        print(json.dumps({"code": os.waitstatus_to_exitcode(status)}), flush=True)


if __name__ == "__main__":
    _serve()
