"""How far a long benchmark is: a bar on a terminal, a line for each of its parts elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Self, TextIO

from rich import progress as bars
from rich.console import Console


class Progress:
    """Use as a context manager.

    Args:
        out: where it goes.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._last = ""
        console = Console(file=out)
        self._bar = bars.Progress(
            bars.TextColumn("{task.description}"),
            bars.BarColumn(),
            bars.TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def tell(self, what: str, done: int, total: int) -> None:
        """What is done now, how much of it is done, and of how much; 0 of 0: nobody knows."""
        if what != self._last and self._bar.disable:
            print(what, file=self._out, flush=True)
        self._last = what
        self._bar.update(self._task, description=what, completed=done, total=total or None)
