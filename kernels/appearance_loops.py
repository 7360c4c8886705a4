"""The inner loops of ``kernels.appearance``; see ``kernels.loops`` for how they are written."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernels.compiled import compiled

Floats = NDArray[np.float32]
U = np.uint64
ZERO, ONE = np.float32(0), np.float32(1)
HALF, QUARTER = np.float32(0.5), np.float32(0.25)


@compiled
def compare(
    rgb: NDArray[np.uint8],
    logs: Floats,
    u: Floats,
    v: Floats,
    middle: Floats,
    reach: Floats,
    seen: Floats,
    off: Floats,
    wide: Floats,
) -> None:
    """How far the features of pixels lie from those of their places.

    Args:
        rgb: [s, s, 3].
        logs: [256] of a code.
        u, v: [s, s] the pixels' places in nodes; beyond the grid its edge goes on.
        middle, reach: [g, g, 3] of the places, read bilinearly.
        seen: [3, s, s], filled: ``kernels.appearance.TO_FEATURES``.
        off: [3, s, s], filled: ``seen`` minus the middle.
        wide: [3, s, s], filled: the reach.
    """
    last = np.float32(len(middle) - 1)
    end = U(len(middle) - 1)
    for i in range(rgb.shape[0]):
        for j in range(rgb.shape[1]):
            red, green, blue = logs[rgb[i, j, 0]], logs[rgb[i, j, 1]], logs[rgb[i, j, 2]]
            seen[0, i, j], seen[1, i, j] = red - green, blue - green
            seen[2, i, j] = (QUARTER * red + HALF * green) + QUARTER * blue
            x, y = u[i, j], v[i, j]
            x = x if x > ZERO else ZERO
            x = x if x < last else last
            y = y if y > ZERO else ZERO
            y = y if y < last else last
            left, upper = U(np.int64(x)), U(np.int64(y))
            p, q = x - np.float32(left), y - np.float32(upper)
            right, lower = min(left + U(1), end), min(upper + U(1), end)
            w0, w1, w2, w3 = (ONE - p) * (ONE - q), p * (ONE - q), (ONE - p) * q, p * q
            for k in range(3):
                off[k, i, j] = seen[k, i, j] - (
                    (middle[upper, left, k] * w0 + middle[upper, right, k] * w1)
                    + (middle[lower, left, k] * w2 + middle[lower, right, k] * w3)
                )
                wide[k, i, j] = (reach[upper, left, k] * w0 + reach[upper, right, k] * w1) + (
                    reach[lower, left, k] * w2 + reach[lower, right, k] * w3
                )


@compiled
def strangeness(
    seen: Floats,
    off: Floats,
    wide: Floats,
    gains: Floats,
    low: Floats,
    high: Floats,
    unit: Floats,
    weak: Floats,
    sure: Floats,
) -> None:
    """[s, s] squares of how far pixels lie outside of their places' ranges (``weak``), and outside
    of the whole face's, ``low`` to ``high`` of the first features (``sure``); in ``unit``, with the
    frame's ``gains`` taken off. Others: as in `compare`."""
    for i in range(weak.shape[0]):
        for j in range(weak.shape[1]):
            here = there = ZERO
            for k in range(3):
                beyond = abs(off[k, i, j] - gains[k]) - wide[k, i, j]
                beyond = (beyond if beyond > ZERO else ZERO) / unit[k]
                here += beyond * beyond
                if k < len(low):
                    value = seen[k, i, j] - gains[k]
                    above, below = value - high[k], low[k] - value
                    beyond = above if above > below else below
                    beyond = (beyond if beyond > ZERO else ZERO) / unit[k]
                    there += beyond * beyond
            weak[i, j], sure[i, j] = here, there
