"""Boxes x0 y0 x1 y1 and how far they share their place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def overlaps(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Intersection over union [n, m] of boxes [n, 4] with boxes [m, 4]; 0 where both are empty."""
    one, two = np.asarray(a, np.float64)[:, None], np.asarray(b, np.float64)[None]
    low = np.maximum(one[..., :2], two[..., :2])
    high = np.minimum(one[..., 2:], two[..., 2:])
    both = _area(np.maximum(high - low, 0.0))
    areas = _area(one[..., 2:] - one[..., :2]) + _area(two[..., 2:] - two[..., :2])
    ratio: NDArray[np.float64] = both / np.maximum(areas - both, 1e-9)
    return ratio


def overlap(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Intersection over union of two boxes [4]."""
    return float(overlaps(a[None], b[None])[0, 0])


def _area(sides: NDArray[np.float64]) -> NDArray[np.float64]:
    """[...] of sides [..., 2]; ``np.prod`` takes ten times as long for the few that a frame has."""
    area: NDArray[np.float64] = sides[..., 0] * sides[..., 1]
    return area
