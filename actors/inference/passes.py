"""How many rows go through an engine at once: powers of two, with little padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LARGEST: Final = 64
WASTE: Final = 4
"""Padding is at most one row in so many; else the rows take two passes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One run of an engine."""

    start: int
    """The first row."""
    rows: int
    batch: int
    """A power of two; ``rows`` of it count."""


def batches(largest: int) -> tuple[int, ...]:
    """1, 2, 4 ... up to ``largest``, which is one of them."""
    if largest < 1 or largest & (largest - 1):
        raise ValueError(f"a largest batch of {largest}; wanted a power of two")
    return tuple(1 << power for power in range(largest.bit_length()))


def passes(rows: int, largest: int, start: int = 0, *, few: bool = False) -> tuple[Pass, ...]:
    """Split rows into batches of powers of two.

    Args:
        rows: how many.
        largest: batch, a power of two.
        start: number of the first row.
        few: as few as can be, however much of them is padding.
    """
    found = []
    while rows > 0:
        batch = min(largest, 1 << (rows - 1).bit_length())
        if not few and (batch - rows) * WASTE > batch:
            batch //= 2
        taken = min(rows, batch)
        found.append(Pass(start=start, rows=taken, batch=batch))
        start, rows = start + taken, rows - taken
    return tuple(found)


def room(rows: int, largest: int, *, few: bool = False) -> int:
    """Rows that memory must have room for, so that padding lies in it, too."""
    split = passes(rows, largest, few=few)
    return split[-1].start + split[-1].batch if split else 0
