"""Laplacian blending of a difference image that never leaves its mask.

Source: P. J. Burt, E. H. Adelson, "A multiresolution spline with application to image mosaics",
ACM Transactions on Graphics 2(4), 1983. Blending images a and b over a mask is linear in both, so
it equals b plus the blend of the one difference a - b: half the pyramids, the same result.
"""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

LEVELS = 3
REACH = 8
"""How far from a pixel of the mask's support the result there depends on the difference."""
ALIGN = 1 << (LEVELS - 1)
"""A part of an image that starts on a multiple of this has the same pyramid as the whole."""
_CELL = np.ones((5, 5), np.uint8)


def blend(difference: Samples, mask: Samples) -> Samples:
    """Bring a difference in over a mask: fine detail at the mask's edge, broad tone more gently.

    Each level's mask is at most four times the smallest value of the finer mask among the 5 x 5
    samples that the level reaches when it is expanded. A soft mask is hardly changed by that, and
    the result is exactly zero wherever the mask is.

    Args:
        difference: float32 [h, w, 3].
        mask: float32 [h, w], 0..1.
    Returns: float32 [h, w, 3].
    """
    masks, bands = [mask], []
    fine = difference
    for _ in range(LEVELS - 1):
        coarse = cast(Samples, cv2.pyrDown(fine))
        bands.append(fine - _expand(coarse, fine))
        fine = coarse
        masks.append(_coarser(masks[-1]))
    total = fine * masks.pop()[..., None]
    for band, level in zip(reversed(bands), reversed(masks), strict=True):
        band *= cv2.merge([level] * 3)
        band += _expand(total, band)
        total = band
    return total


def _coarser(mask: Samples) -> Samples:
    inside = cv2.erode(mask, _CELL)[::2, ::2] * np.float32(4)
    return cast(Samples, np.minimum(cv2.pyrDown(mask), inside))


def _expand(coarse: Samples, like: Samples) -> Samples:
    return cast(Samples, cv2.pyrUp(coarse, dstsize=(like.shape[1], like.shape[0])))
