"""Blend masks of aligned crops by geometry alone, and how a network's answer becomes one.

All masks are float32 [size, size]: 1 take the swapped crop, 0 keep the frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from kernels.templates import ibug_points

Floats = NDArray[np.float32]

FAINT: Final = 0.05
"""Of a box mask, what lies below this is 0: a Gaussian never ends by itself, and where a crop ends
its mask must have ended."""
SOFT: Final = 5.0
"""Standard deviation in pixels with which all masks but the box are softened."""

AREAS: Final[dict[str, tuple[int, ...]]] = {
    "upper-face": (*range(3), *range(31, 36), *range(14, 17), *range(26, 16, -1)),
    "lower-face": (*range(3, 14), *range(35, 30, -1)),
    "mouth": tuple(range(48, 68)),
}
"""Of the 68 points, those whose convex hull is the area."""


def box_mask(size: int, blur: float, padding: tuple[int, int, int, int] = (0, 0, 0, 0)) -> Floats:
    """The crop without a soft border.

    Half the blur's width is cut off at each side, or the padding where that is more; then the edge
    is softened by a Gaussian with a quarter of the width.

    Args:
        size: side of the crop in pixels.
        blur: 0..1, width of the blur as a share of half the side; 0: hard edges.
        padding: top, right, bottom, left in percent of the side.
    """
    width = int(size * 0.5 * blur)
    top, right, bottom, left = (
        max(width // 2, 1, int(size * percent / 100)) for percent in padding
    )
    mask = np.zeros((size, size), np.float32)
    mask[top : size - bottom, left : size - right] = 1
    if width > 0:
        soft = cv2.GaussianBlur(mask, (0, 0), width * 0.25, borderType=cv2.BORDER_CONSTANT)
        mask = cast(Floats, np.clip((soft - FAINT) / (1 - FAINT), 0, 1, dtype=np.float32))
        mask[[0, -1]] = mask[:, [0, -1]] = 0
    return mask


def area_mask(size: int, landmarks: NDArray[np.floating], areas: Sequence[str]) -> Floats:
    """The convex hull of areas of the face, soft inside its edge.

    Args:
        size: side of the crop in pixels.
        landmarks: [68, 2] or [468, 2] in crop pixels.
        areas: names of AREAS; none: 0 everywhere.
    """
    points = ibug_points(landmarks)
    chosen = [point for area in areas for point in AREAS[area]]
    return _hull(size, points[chosen])


def hull_mask(size: int, landmarks: NDArray[np.floating]) -> Floats:
    """The convex hull of all of a face's points, soft inside its edge.

    Args:
        size: side of the crop in pixels.
        landmarks: [n >= 3, 2] in crop pixels.
    """
    return _hull(size, landmarks.astype(np.float64))


def soft_inside(mask: Floats) -> Floats:
    """A mask with its edge softened inwards: 0 on the edge and beyond, 1 well inside.

    Args:
        mask: float32 [h, w] 0..1.
    """
    soft = cast(Floats, cv2.GaussianBlur(mask, (0, 0), SOFT))
    soft -= np.float32(0.5)
    soft *= np.float32(2)
    return np.clip(soft, 0, 1, out=soft)


def _hull(size: int, points: NDArray[np.float64]) -> Floats:
    mask = np.zeros((size, size), np.float32)
    if len(points):
        # Whole pixels, as the masks that users know: where they fall changes nothing after the
        # blur, but a face far outside must not overflow.
        whole = np.clip(points, -8 * size, 8 * size).astype(np.int32)
        cv2.fillConvexPoly(mask, cv2.convexHull(whole), 1.0)
    return soft_inside(mask)
