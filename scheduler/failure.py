"""What went wrong with an attempt, in words that a journal can keep."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from scheduler.errors import SwapfarmError


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An error of the tree (``scheduler.errors``) as plain values."""

    code: str
    found: str
    wanted: str
    next_step: str
    transient: bool

    @classmethod
    def of(cls, error: SwapfarmError) -> Failure:
        """The plain values of an error."""
        return cls(
            code=error.code,
            found=error.found,
            wanted=error.wanted,
            next_step=error.next_step,
            transient=error.transient,
        )

    def error(self) -> SwapfarmError:
        """The error again; of the base class where a newer version wrote a code unknown here."""
        for kind in _tree(SwapfarmError):
            if kind.code == self.code:
                return kind(self.found, self.wanted, self.next_step)
        return SwapfarmError(f"{self.code}: {self.found}", self.wanted, self.next_step)


def _tree(root: type[SwapfarmError]) -> Iterator[type[SwapfarmError]]:
    yield root
    for kind in root.__subclasses__():
        yield from _tree(kind)
