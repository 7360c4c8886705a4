"""Ordered dither for sample codes, fixed to the picture's own sample grid."""

from __future__ import annotations

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


THRESHOLDS = bayer()
"""What is added to a change before it is rounded down: zero stays zero, a whole number itself. The
pattern hangs on the picture, not on the box, so that it stands still when a face moves."""
