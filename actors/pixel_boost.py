"""Raises a network's resolution: a large crop as several small ones that interleave.

Pixel (r, c) of the small picture (i, j) is pixel (r t + i, c t + j) of the large one, t of them to
a side. Each is a face of its own to the network, so one batched call does all.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scheduler.errors import SettingInvalid

MOST: int = 1024
"""Side of the largest crop in pixels."""


def check_boost(boost: int, size: int) -> int:
    """How many small pictures lie along a side; 1: no boost.

    Args:
        boost: wanted side in pixels; 0: the network's own.
        size: the network's side in pixels.
    Raises SettingInvalid: the boost is no multiple of the network's size, or too large.
    """
    if boost == 0:
        return 1
    if boost % size or not size <= boost <= MOST:
        fits = ", ".join(str(side) for side in range(size, MOST + 1, size))
        raise SettingInvalid(
            f"a pixel boost of {boost} for a swapper of {size} pixels",
            f"one of {fits}",
            "choose one of these, or leave the boost out",
        )
    return boost // size


def spread(crop: NDArray[np.float32], sides: int, out: NDArray[np.float32]) -> None:
    """Lay a crop out as small pictures.

    Args:
        crop: [c, h, w].
        sides: small pictures along a side.
        out: [sides**2, c, h / sides, w / sides], filled; row by row.
    """
    for i in range(sides):
        for j in range(sides):
            out[i * sides + j] = crop[:, i::sides, j::sides]


def gather(pictures: NDArray[np.float32], sides: int) -> NDArray[np.float32]:
    """The crop that small pictures make: the inverse of ``spread``.

    Args:
        pictures: [sides**2, c, h, w].
    Returns: [c, h * sides, w * sides]; the pictures themselves where there is one.
    """
    if sides == 1:
        whole: NDArray[np.float32] = pictures[0]
        return whole
    _, channels, h, w = pictures.shape
    crop = np.empty((channels, h * sides, w * sides), np.float32)
    for i in range(sides):
        for j in range(sides):
            crop[:, i::sides, j::sides] = pictures[i * sides + j]
    return crop
