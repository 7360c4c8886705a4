"""Which pixels of a face's crop a hand covers, from the hand's joints and the pixels.

The joints say where the hand is to about a fifth of a finger's length; its outline is where a
watershed (F. Meyer, "Topographic distance and watershed lines", 1994; OpenCV's flooding by colour
difference) between what is hand for certain and what is not finds the steepest change of colour.
"""

from __future__ import annotations

from typing import Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Points = NDArray[np.float64]

FINGERS: Final = (
    (1, 2, 3, 4),
    (5, 6, 7, 8),
    (9, 10, 11, 12),
    (13, 14, 15, 16),
    (17, 18, 19, 20),
)
"""Joints of each finger, thumb first, root to tip."""
PALM: Final = (0, 1, 2, 5, 9, 13, 17)
RADIUS: Final = 0.22
"""Half a finger's width at its root, in finger lengths."""
TAPER: Final = 0.8
"""A finger's width at its tip over that at its root."""
SURE: Final = 0.6
"""Share of the width that is hand for certain."""
OUTER: Final = 1.4
"""Share of the width beyond which nothing is hand."""
SOFT: Final = 0.04
"""Softness of the outline, in finger lengths."""
_HAND, _OTHER = 1, 2
_SHIFT: Final = 4


def finger_length(joints: NDArray[np.floating]) -> float:
    """The unit of a hand: the median length of the four fingers' bones next to the palm."""
    bones = joints[[6, 10, 14, 18]] - joints[[5, 9, 13, 17]]
    return float(np.median(np.hypot(bones[:, 0], bones[:, 1])))


def hand_cover(rgb: Bytes, joints: Points, wanted: NDArray[np.bool_]) -> Floats | None:
    """How much of each pixel a hand covers.

    Args:
        rgb: uint8 [S, S, 3] R'G'B' of the picture as it was.
        joints: float64 [21, 2] in pixels of it.
        wanted: bool [S, S], where it matters; elsewhere the answer may be anything.
    Returns: float32 [S, S] 0..1, 1 on the hand and up to its outline, soft outside it; None when
        the hand reaches no wanted pixel.
    """
    unit = finger_length(joints)
    radius = RADIUS * unit
    if not (np.isfinite(joints).all() and unit > 1):
        return None
    outer = _drawn(wanted.shape, joints, OUTER * radius)
    if not (outer & wanted).any():
        return None
    rows, columns = _box(outer & wanted, margin=int(np.ceil(unit)), size=len(wanted))
    markers = np.full(wanted.shape, _OTHER, np.int32)
    markers[outer] = 0
    markers[_drawn(wanted.shape, joints, SURE * radius)] = _HAND
    part = _flooded(rgb[rows, columns], markers[rows, columns], outer[rows, columns])
    part = cast(Floats, cv2.GaussianBlur(part, (0, 0), max(SOFT * unit, 0.5)))
    cover = np.zeros(wanted.shape, np.float32)
    # The blurred step is a half on the outline: all that is soft lies outside, the hand is whole.
    cover[rows, columns] = np.clip((part - 0.1) / 0.4, 0, 1)
    return cover


def _flooded(rgb: Bytes, markers: NDArray[np.int32], open_: NDArray[np.bool_]) -> Floats:
    """float32 [h, w]: 1 where the watershed gives a pixel to the hand, else 0."""
    smooth = cv2.GaussianBlur(rgb, (0, 0), 0.7).astype(np.float32)
    # The flood knows whole levels only: spread what is there over all of them.
    low, high = np.percentile(smooth[open_], (1, 99))
    spread = np.clip((smooth - low) * (255 / max(high - low, 1.0)), 0, 255).astype(np.uint8)
    markers = np.ascontiguousarray(markers)
    # The flood sets the picture's border apart: give it one of its own.
    bordered = cv2.copyMakeBorder(spread, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    flood = cv2.copyMakeBorder(markers, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    cv2.watershed(bordered, flood)
    hand = (flood[1:-1, 1:-1] == _HAND).astype(np.uint8)
    return cast(Floats, cv2.medianBlur(hand, 5).astype(np.float32))


def _drawn(shape: tuple[int, ...], joints: Points, radius: float) -> NDArray[np.bool_]:
    """bool [h, w]: fingers of that half width at their roots, and the palm widened by it."""
    picture = np.zeros(shape, np.uint8)
    for finger in FINGERS:
        widths = radius * np.linspace(1.0, TAPER, len(finger))
        points = joints[list(finger)]
        for at in range(len(finger) - 1):
            _capsule(picture, points[at : at + 2], widths[at : at + 2])
    palm = cv2.convexHull(joints[list(PALM)].astype(np.float32))[:, 0].astype(np.float64)
    cv2.fillPoly(picture, [_fixed(palm)], 1, shift=_SHIFT)
    cv2.polylines(picture, [_fixed(palm)], True, 1, max(1, round(2 * radius)), shift=_SHIFT)
    return picture > 0


def _capsule(picture: NDArray[np.uint8], ends: Points, radii: Points) -> None:
    for (x, y), radius in zip(_fixed(ends).tolist(), radii, strict=True):
        cv2.circle(picture, (x, y), round(radius * (1 << _SHIFT)), 1, -1, shift=_SHIFT)
    along = ends[1] - ends[0]
    length = float(np.hypot(along[0], along[1]))
    if length > 0:
        side = np.array([-along[1], along[0]]) / length
        corners = [
            ends[0] + radii[0] * side,
            ends[1] + radii[1] * side,
            ends[1] - radii[1] * side,
            ends[0] - radii[0] * side,
        ]
        cv2.fillPoly(picture, [_fixed(np.array(corners))], 1, shift=_SHIFT)


def _fixed(points: Points) -> NDArray[np.int32]:
    """OpenCV's fixed-point coordinates; far outside the picture they are all the same to it."""
    return np.round(np.clip(points, -1e4, 1e4) * (1 << _SHIFT)).astype(np.int32)


def _box(inside: NDArray[np.bool_], margin: int, size: int) -> tuple[slice, slice]:
    """Rows and columns that hold all that is inside, and a margin."""
    spans = []
    for axis in (1, 0):
        found = np.flatnonzero(inside.any(axis=axis))
        spans.append(slice(max(int(found[0]) - margin, 0), min(int(found[-1]) + margin + 1, size)))
    return spans[0], spans[1]
