"""Ordered dither for sample codes, fixed to the picture's own sample grid."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray


def bayer(side: int = 8) -> NDArray[np.float32]:
    """Thresholds of Bayer's dispersed-dot matrix, in (0, 1) with mean 0.5.

    Source: B. E. Bayer, "An optimum method for two-level rendition of continuous-tone pictures",
    ICC 1973. ``side`` is a power of two.
    """
    order = np.zeros((1, 1))
    while len(order) < side:
        order = np.block([[4 * order, 4 * order + 2], [4 * order + 3, 4 * order + 1]])
    return ((order + 0.5) / order.size).astype(np.float32)


def round_change(change: NDArray[np.float32], x0: int, y0: int) -> NDArray[np.int32]:
    """Whole codes to add to samples so that areas get ``change`` on average.

    Zero stays zero, and a whole number stays itself. The pattern hangs on the picture, not on the
    box, so that it stands still when a face moves.

    Args:
        change: float32 [h, w] in codes.
        x0, y0: position of its first sample in the plane.
    Returns: int32 [h, w].
    """
    height, width = change.shape
    side = len(_THRESHOLDS)
    tile = np.roll(_THRESHOLDS, (-y0 % side, -x0 % side), (0, 1))
    pattern = np.tile(tile, (-(-height // side), -(-width // side)))[:height, :width]
    raised = change + pattern
    return cast(NDArray[np.int32], np.floor(raised, out=raised).astype(np.int32))


_THRESHOLDS = bayer()
