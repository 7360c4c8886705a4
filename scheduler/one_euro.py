"""The One-Euro filter: smoothing for live use, where the frames to come are not known.

G. Casiez, N. Roussel, D. Vogel, "1 Euro Filter: A Simple Speed-based Low-pass Filter for Noisy
Input in Interactive Systems", CHI 2012. A first-order low-pass whose cut-off rises with speed. It
lags, and remembers all that came before: a film is smoothed by ``scheduler.smooth`` instead.
"""

from __future__ import annotations

from math import pi
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from scheduler.points import point_set

Array = NDArray[np.float64]
_Cutoff = TypeVar("_Cutoff", float, Array)


class OneEuro:
    """Filters the landmarks of one track, a frame at a time.

    Speed is measured in distances between the outer eye corners a second, so that the settings
    hold for any size of face and any frame rate.

    Args:
        min_cutoff: Hz, of a face at rest. Lower: steadier, later.
        beta: Hz by which the cut-off rises for each unit of speed. Higher: less lag when moving.
        speed_cutoff: Hz, of the low-pass on the speed.

    Raises:
        ValueError: a cut-off not above 0, or a negative beta.
    """

    def __init__(
        self, *, min_cutoff: float = 1.0, beta: float = 20.0, speed_cutoff: float = 4.0
    ) -> None:
        if min(min_cutoff, speed_cutoff) <= 0 or beta < 0:
            raise ValueError(
                f"cut-offs {min_cutoff} and {speed_cutoff} Hz, beta {beta}; "
                "wanted cut-offs above 0 and beta 0 or more"
            )
        self._min_cutoff = min_cutoff
        self._beta = beta
        self._speed_cutoff = speed_cutoff
        self._value: Array | None = None
        self._speed = np.zeros(0)

    def step(self, landmarks: NDArray[np.floating], seconds: float) -> NDArray[np.float32]:
        """float32 [n, 2] the landmarks of the next frame, smoothed.

        Args:
            landmarks: [n, 2] in pixels, of a ``scheduler.points.PointSet``.
            seconds: since the frame before, > 0; at the first frame it does not matter.
        """
        points = landmarks.astype(np.float64)
        if self._value is None:
            self._value, self._speed = points, np.zeros_like(points)
            return points.astype(np.float32)
        right, left = points[list(point_set(len(points)).eye_corners)]
        size = max(float(np.hypot(*(left - right))), 1e-6)
        speed = (points - self._value) / (size * seconds)
        self._speed += _weight(self._speed_cutoff, seconds) * (speed - self._speed)
        cutoff = self._min_cutoff + self._beta * np.abs(self._speed)
        self._value = self._value + _weight(cutoff, seconds) * (points - self._value)
        return self._value.astype(np.float32)


def _weight(cutoff: _Cutoff, seconds: float) -> _Cutoff:
    """Share of the new value in a first-order low-pass."""
    turn = 2 * pi * seconds * cutoff
    return turn / (1 + turn)
