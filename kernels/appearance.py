"""What a face looks like over a film, and which pixels of a frame do not look like it.

Each place of the face, laid flat (``kernels.mesh.unwrap``), has a range of colours: the median of
its samples over the film and a few median absolute deviations (F. Hampel, "The influence curve and
its role in robust estimation", 1974) on each side. A pixel far outside of its place's range is not
of the face but something before it. Colours are logarithms of ratios, which a lamp does not
change, and of lightness, with what the whole frame is lighter or darker taken off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from kernels import appearance_loops as loops
from kernels.mesh.unwrap import Places

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]

FLOOR: Final = 0.06
"""Added to R'G'B' 0..1 before the logarithm: below it, colour is noise."""
TO_FEATURES: Final = np.array([[1, -1, 0], [0, -1, 1], [0.25, 0.5, 0.25]], np.float32)
"""Of the logarithms: red over green, blue over green, lightness."""
UNIT: Final = np.array([0.18, 0.18, 0.5], np.float32)
"""How far outside of its range a colour must lie to be no face's: skin's shades stay below."""
DEVIATIONS: Final = 3.0
"""Half of a range in median absolute deviations, scaled as for a normal distribution."""
WIDEST: Final = np.array([0.15, 0.15, 0.3], np.float32)
"""The most that a deviation counts."""
SKIN: Final = 0.2
"""How far from skin a sample lies that has half of skin's say. Something that is before a place
more often than not would else be taken for the place."""
LEAST: Final = 4
"""Samples that a place needs."""
GAIN: Final = np.array([0.4, 0.4, 0.7], np.float32)
"""The most that a whole frame may differ in colour and lightness from the face as it is known."""
WEAK: Final = 0.55
"""Of ``UNIT``: what counts where it hangs together with more."""
EDGE: Final = 0.4
"""Of the strongest nearby: where an object ends."""
SMALLEST: Final = 0.008
"""The least that counts as an object, as a share of the face's area."""
LARGEST: Final = 0.7
"""The most: a face that is strange all over stands in another light."""
_NOWHERE: Final = 9.0
_NEAR: Final = np.ones((5, 5), np.uint8)
_OPEN: Final = np.ones((3, 3), np.uint8)
_RIM: Final = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (13, 13))
_CLOSE: Final = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Appearance:
    """What one face looks like."""

    middle: Floats
    """[g, g, 3] features."""
    reach: Floats
    """[g, g, 3] how far they may lie from the middle; large where nothing is known."""
    low: Floats
    """[2] the least of the first two features anywhere on the face, or of no colour at all."""
    high: Floats
    """[2] the largest."""


def features(rgb: Bytes) -> Floats:
    """float32 [..., 3] of R'G'B' [h, w, 3]: see ``TO_FEATURES``."""
    return cast(Floats, cv2.transform(_LOGS[rgb], TO_FEATURES))


_LOGS: Final = np.log(np.arange(256) / 255 + FLOOR).astype(np.float32)


def learn(samples: Sequence[Bytes], skin: Flags) -> Appearance | None:
    """The appearance of a face from samples of it, in whatever order.

    Args:
        samples: uint8 [g, g, 4] each, from ``Unwrapper.flatten``.
        skin: bool [g, g], where the face looks about the same whatever it does.
    Returns: None where too few samples show enough of the face.
    """
    if len(samples) < LEAST:
        return None
    stack = np.stack(samples)
    seen = stack[..., 3] > 0
    looks = np.stack([features(np.ascontiguousarray(each[..., :3])) for each in stack])
    known = seen.sum(axis=0) >= np.maximum(LEAST, 0.15 * len(stack))
    if (known & skin).sum() < skin.sum() / 4:
        return None
    for _ in range(2):
        tint = np.median(looks[seen & skin], axis=0)[:2]
        away = ((looks[..., :2] - tint) ** 2).sum(axis=3) / np.float32(SKIN**2)
        say = (seen / (1 + away * away)).astype(np.float32)
        middle = _median(looks, say)
        for each, saw in zip(looks, seen, strict=True):
            off = (each - middle)[saw & skin & known]
            each -= [_middle(off[:, channel], float(most)) for channel, most in enumerate(GAIN)]
    middle = _median(looks, say)
    deviation = 1.4826 * _median(np.abs(looks - middle), say)
    reach = np.float32(DEVIATIONS) * np.minimum(deviation, WIDEST)
    # The mesh trembles by about a node: a place may look like the ones next to it.
    kernel = np.ones((3, 3), np.uint8)
    low = cv2.erode(np.where(known[..., None], middle - reach, np.float32(_NOWHERE)), kernel)
    high = cv2.dilate(np.where(known[..., None], middle + reach, np.float32(-_NOWHERE)), kernel)
    low[~known], high[~known] = -_NOWHERE, _NOWHERE
    least, most = low[known, :2], high[known, :2]
    return Appearance(
        middle=((low + high) / 2).astype(np.float32),
        reach=((high - low) / 2).astype(np.float32),
        low=np.minimum(np.percentile(least, 2, axis=0), 0).astype(np.float32),
        high=np.maximum(np.percentile(most, 98, axis=0), 0).astype(np.float32),
    )


def foreign(rgb: Bytes, places: Places, appearance: Appearance) -> Flags | None:
    """The pixels of a face that something else covers.

    Args:
        rgb: uint8 [s, s, 3], the face's window in a frame.
        places: of its pixels.
        appearance: of the face.
    Returns: bool [s, s]; it may be true off the face where the object goes on. None: no object.
    """
    shape = (3, *places.u.shape)
    seen, off, wide = (np.empty(shape, np.float32) for _ in range(3))
    soft = cast(Bytes, cv2.GaussianBlur(rgb, (0, 0), 0.8))
    loops.compare(
        soft, _LOGS, places.u, places.v, appearance.middle, appearance.reach, seen, off, wide
    )
    skin = places.skin & (wide[0] < _NOWHERE / 2)
    gains = np.array([_middle(each[skin], most) for each, most in zip(off, GAIN, strict=True)])
    weak, sure = np.empty_like(places.u), np.empty_like(places.u)
    # What opens and shuts may have any colour that the face has, or none.
    loops.strangeness(seen, off, wide, gains, appearance.low, appearance.high, UNIT, weak, sure)
    certain = places.inside & (np.where(places.changing, sure, weak) > 1)
    least = SMALLEST * places.inside.sum()
    if certain.sum() < least:
        return None
    # Blur and compression carry a strong colour over its outline: that lies half-way.
    near = cast(Floats, cv2.dilate(weak, _NEAR))
    likely = (weak > np.maximum(WEAK**2, EDGE**2 * near)) & places.inside
    opened = cv2.morphologyEx(likely.astype(np.uint8), cv2.MORPH_OPEN, _OPEN)
    closed = cv2.morphologyEx(opened, cv2.MORPH_CLOSE, _CLOSE)
    count, labels = cv2.connectedComponents(closed, connectivity=8)
    strong = np.bincount(labels[certain], minlength=count)
    kept = strong >= least
    kept[0] = False
    found = kept[labels]
    if not 0 < found.sum() < LARGEST * places.inside.sum():
        return None
    # On the face's rim nothing is known: there an object goes on.
    wider = cv2.dilate(found.astype(np.uint8), _RIM)
    return cast(Flags, found | ((wider > 0) & ~places.inside))


def _median(values: Floats, say: Floats) -> Floats:
    """[g, g, 3] medians over the first axis of [n, g, g, 3], weighted by [n, g, g]."""
    order = np.argsort(values, axis=0, kind="stable")
    ranked = np.take_along_axis(np.broadcast_to(say[..., None], values.shape), order, axis=0)
    total = np.cumsum(ranked, axis=0)
    at = (total < total[-1] / 2).sum(axis=0)
    at = np.minimum(at, len(values) - 1)[None]
    picked = np.take_along_axis(np.take_along_axis(values, order, axis=0), at, axis=0)
    return cast(Floats, picked[0])


def _middle(differences: Floats, most: float) -> np.float32:
    """By how much a whole frame differs, in one feature."""
    if len(differences) < 50:
        return np.float32(0)
    return np.float32(np.clip(np.median(differences), -most, most))
