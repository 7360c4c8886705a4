"""Soft regions of the face, painted once in the canonical layout.

Lengths below are shares of the layout's side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from kernels.mesh.canonical import (
    FOREHEAD,
    INNER_LIPS,
    LEFT_BROW,
    LEFT_EYE,
    LEFT_LIDS,
    MOUTH_CORNERS,
    NOSE,
    NOSTRILS,
    OUTER_LIPS,
    OVAL,
    RIGHT_BROW,
    RIGHT_EYE,
    RIGHT_LIDS,
    CanonicalFace,
)

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FaceMasks:
    """Each float32 [n, n], 0..1, symmetrical."""

    blend: Floats
    """The face, falling off inside its outline, zero on it and beyond."""
    skin: Floats
    """Bare skin: the face without brows, eyes, lips and nostrils."""
    forehead: Floats
    """Hairline, temples, down to the brows: where hair may hang."""
    brows: Floats
    """The brows themselves, tight."""
    brow_hair: Floats
    """As far as brows reach on most faces."""
    brow_zone: Floats
    """As far as any brow may reach."""
    eyes: Floats
    """Between the lids."""
    gaze: Floats
    """Where an open eye shows iris or white and a shut one its upper lid."""
    lids: Floats
    """The lids beyond their creases, with what is between them."""
    nose: Floats
    """The nose without its nostrils."""
    nostrils: Floats
    lips: Floats
    mouth: Floats
    """Between the lips."""
    features: Floats
    """How much of the source to show: 1 around eyes, nose and mouth, less on the cheeks."""


def face_masks(face: CanonicalFace, size: int) -> FaceMasks:
    """Paint the regions on a ``size`` x ``size`` layout (about 20 ms at 320)."""
    oval = _paint(face, size, [OVAL])
    brows = _paint(face, size, [LEFT_BROW, RIGHT_BROW])
    eyes = _paint(face, size, [LEFT_EYE, RIGHT_EYE])
    lids = _paint(face, size, [LEFT_LIDS, RIGHT_LIDS])
    outer, mouth = _paint(face, size, [OUTER_LIPS]), _paint(face, size, [INNER_LIPS])
    nose, nostrils = _paint(face, size, [NOSE]), _paint(face, size, NOSTRILS)
    corners = _soft(_grow(_paint(face, size, MOUTH_CORNERS), 0.035), 0.015)
    # The mesh's brows are narrower than people's, most of all above and at the tails.
    wide = _grow(np.maximum.reduce([brows, _shifted(brows, 0, -0.015), _tails(brows)]), 0.022)
    covered = np.maximum.reduce(
        [wide, _grow(eyes, 0.025), _grow(outer, 0.015), _grow(nostrils, 0.008)]
    )
    core = np.maximum.reduce(
        [_grow(brows, 0.02), _grow(eyes, 0.045), _grow(outer, 0.03), _grow(nose, 0.02)]
    )
    rows = (np.arange(size, dtype=np.float32)[:, None] + 0.5) / size
    top = np.float32(face.layout[[*LEFT_BROW, *RIGHT_BROW], 1].min())
    cheeks = 0.6 * np.clip((rows - top) / 0.08, 0, 1)
    rim = 0.4 + 0.6 * _soft(_grow(oval, -0.13), 0.035)
    features = (cheeks + (1 - cheeks) * _soft(core, 0.02)) * rim * (1 - 0.9 * corners)
    return FaceMasks(
        blend=_soft(_grow(oval, -0.055), 0.022) * oval,
        skin=_soft(np.clip(_grow(oval, -0.03) - covered, 0, 1), 0.006),
        forehead=_soft(_paint(face, size, [FOREHEAD]) * (1 - _grow(brows, 0.01)), 0.008),
        brows=_soft(_grow(brows, 0.006), 0.008),
        brow_hair=_soft(wide, 0.008),
        brow_zone=_soft(_grow(wide, 0.025), 0.012),
        eyes=_soft(_grow(eyes, -0.004), 0.005),
        gaze=np.minimum(_grow(eyes, -0.01), _shifted(eyes, 0, -0.012)),
        lids=_soft(_grow(lids, 0.01), 0.016),
        nose=_soft(np.clip(_grow(nose, 0.01) - _grow(nostrils, 0.01), 0, 1), 0.012),
        nostrils=_soft(_grow(nostrils, 0.004), 0.006),
        lips=_soft(np.clip(outer - mouth, 0, 1), 0.006),
        mouth=_soft(mouth, 0.005),
        features=features.astype(np.float32),
    )


def _paint(face: CanonicalFace, size: int, rings: Iterable[Sequence[int]]) -> Floats:
    canvas = np.zeros((size * 4, size * 4), np.uint8)
    for ring in rings:
        points = np.rint((face.layout[list(ring)] * size * 4 - 0.5) * 16).astype(np.int32)
        cv2.fillPoly(canvas, [points], 255, cv2.LINE_8, 4)
    small = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / np.float32(255)


def _grow(mask: Floats, by: float) -> Floats:
    """Dilate, or erode where ``by`` is negative."""
    r = round(abs(by) * len(mask))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * r + 1, 2 * r + 1))
    operation = cv2.dilate if by > 0 else cv2.erode
    return cast(Floats, operation(mask, disc, borderType=cv2.BORDER_CONSTANT, borderValue=0))


def _soft(mask: Floats, by: float) -> Floats:
    sigma = by * len(mask)
    return cast(Floats, cv2.GaussianBlur(mask, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT))


def _shifted(mask: Floats, right: float, down: float) -> Floats:
    n = len(mask)
    return np.roll(mask, (round(down * n), round(right * n)), axis=(0, 1))


def _tails(brows: Floats) -> Floats:
    """The brows drawn out to the temples."""
    half = len(brows) // 2
    left, right = brows.copy(), brows.copy()
    left[:, half:] = 0
    right[:, :half] = 0
    return np.maximum(_shifted(left, -0.03, 0.008), _shifted(right, 0.03, 0.008))
