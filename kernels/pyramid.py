"""Laplacian blending of a difference image that never leaves its mask.

Source: P. J. Burt, E. H. Adelson, "A multiresolution spline with application to image mosaics",
ACM Transactions on Graphics 2(4), 1983. Blending images a and b over a mask is linear in both, so
it equals b plus the blend of the one difference a - b: half the pyramids, the same result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from kernels import loops

Samples = NDArray[np.float32]

LEVELS = 3
REACH = 8
"""How far from a pixel of the mask's support the result there depends on the difference."""
ALIGN = 1 << (LEVELS - 1)
"""A part of an image that starts on a multiple of this has the same pyramid as the whole."""
_CELL = np.ones((5, 5), np.uint8)


def mask_levels(mask: Samples) -> list[Samples]:
    """A mask for each level of the pyramid, finest first.

    A coarser mask is at most four times the smallest value of the finer one among the 5 x 5
    samples that the level reaches when it is expanded. A soft mask is hardly changed by that, and
    nothing is ever brought in where the mask is zero.

    Args:
        mask: float32 [h, w], 0..1.
    """
    levels = [mask]
    for _ in range(LEVELS - 1):
        fine = levels[-1]
        inside = cv2.erode(fine, _CELL)[::2, ::2] * np.float32(4)
        levels.append(np.minimum(cv2.pyrDown(fine), inside))
    return levels


def blend(difference: Samples, levels: Sequence[Samples]) -> Samples:
    """Bring a difference in over a mask: fine detail at the mask's edge, broad tone more gently.

    Args:
        difference: float32 [h, w, 3].
        levels: of the mask, from ``mask_levels``.
    Returns: float32 [h, w, 3]; exactly zero wherever the mask is.

    Raises:
        ValueError: the difference has not the mask's size and three channels (compiled loops
            would read past its end).
    """
    if difference.shape != (*levels[0].shape, 3):
        raise ValueError(
            f"a difference of shape {difference.shape}; wanted {(*levels[0].shape, 3)}, its mask's"
        )
    fines = [difference]
    for _ in levels[1:]:
        fines.append(cast(Samples, cv2.pyrDown(fines[-1])))
    total = fines[-1] * levels[-1][..., None]
    for fine, coarse, level in zip(fines[-2::-1], fines[:0:-1], levels[-2::-1], strict=True):
        expanded, brought = _expand(coarse, fine), _expand(total, fine)
        total = np.empty_like(fine)
        loops.blend_level(_flat(fine), _flat(expanded), level, _flat(brought), _flat(total))
    return total


def _expand(coarse: Samples, like: Samples) -> Samples:
    return cast(Samples, cv2.pyrUp(coarse, dstsize=(like.shape[1], like.shape[0])))


def _flat(picture: Samples) -> Samples:
    """[h, w, 3] as [h, 3 w], the same memory."""
    return picture.reshape(len(picture), -1)
