"""Batches for networks whose file fixes the batch size at 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def in_ones(run: Callable[..., tuple[Floats, ...]], inputs: Sequence[Floats]) -> tuple[Floats, ...]:
    """Run a batch row by row.

    Args:
        run: takes one array [1, ...] for each input.
        inputs: arrays [n, ...]; one with a single row is the same for all.

    Returns:
        Each output's rows one after the other.
    """
    rows = max(len(each) for each in inputs)
    results = [
        run(*(each if len(each) == 1 else each[row : row + 1] for each in inputs))
        for row in range(rows)
    ]
    return tuple(np.concatenate(column) for column in zip(*results, strict=True))
