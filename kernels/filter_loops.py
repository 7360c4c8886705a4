"""The inner loops of the temporal filters; see ``kernels.loops`` for how they are written."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernels.compiled import compiled

Floats = NDArray[np.float32]

ZERO, ONE, MOST = np.float32(0), np.float32(1), np.float32(255)
RED, GREEN, BLUE = np.float32(0.2126 * 255), np.float32(0.7152 * 255), np.float32(0.0722 * 255)


@compiled
def luma(rgb: Floats, out: NDArray[np.uint8]) -> None:
    """R'G'B' [h, w, >= 3] -> [h, w] 0..255, by the weights of BT.709."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            value = np.rint((rgb[i, j, 0] * RED + rgb[i, j, 1] * GREEN) + rgb[i, j, 2] * BLUE)
            value = value if value > ZERO else ZERO
            out[i, j] = np.uint8(value if value < MOST else MOST)


@compiled
def lift(crop: Floats, original: Floats, change: Floats) -> None:
    """[s, s, 4] R'G'B' of a crop minus the original's [s, s, 3], and the crop's mask."""
    for i in range(crop.shape[0]):
        for j in range(crop.shape[1]):
            for k in range(3):
                change[i, j, k] = crop[i, j, k] - original[i, j, k]
            change[i, j, 3] = crop[i, j, 3]


@compiled
def largest(difference: Floats, out: Floats) -> None:
    """[h, w] the largest magnitude of the first three channels."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            value = abs(difference[i, j, 0])
            for k in range(1, 3):
                other = abs(difference[i, j, k])
                value = other if other > value else value
            out[i, j] = value


@compiled
def settle(
    difference: Floats,
    weight: Floats,
    edge: Floats,
    original: Floats,
    y0: int,
    x0: int,
    change: Floats,
    crop: Floats,
) -> None:
    """Add a share of a difference [h, w, 4] to a change [s, s, 4] from (x0, y0) on, and lay it over
    the original [s, s, 3] as the crop [s, s, 4]. Shares [h, w] of R'G'B' and of the mask."""
    for i in range(difference.shape[0]):
        for j in range(difference.shape[1]):
            y, x = y0 + i, x0 + j
            for k in range(4):
                share = weight[i, j] if k < 3 else edge[i, j]
                moved = change[y, x, k] + difference[i, j, k] * share
                change[y, x, k] = moved
                value = moved + (original[y, x, k] if k < 3 else ZERO)
                value = value if value > ZERO else ZERO
                crop[y, x, k] = value if value < ONE else ONE
