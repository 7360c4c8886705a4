"""Keeps swapped faces steady from frame to frame, between the swapper and the compositor."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from actors.frames import Frame
from kernels.colour import TransferTables
from kernels.dense_flow import DisFlow, FlowProvider
from kernels.filters import (
    agreement,
    apply_colour,
    carry,
    colour_transfer,
    halved,
    luma,
    seam_band,
    settle_colour,
    trust,
    worth,
)
from kernels.geometry import apply, invert
from kernels.metrics import similarity_map, weighted_mean
from scheduler.jobs import StabilizeSettings

Floats = NDArray[np.float32]
Gray = NDArray[np.uint8]
Pixels = TypeVar("Pixels", NDArray[np.uint8], NDArray[np.float32])

HELD: Final = 0.7
"""Weight of what the motion carries over from the frame before, where that is sure."""
ANOMALY_HELD: Final = 0.9
"""The same in a frame whose swap falls out of line."""
WINDOW: Final = 10
"""Frames before, against whose median a frame's score is held."""
DROP: Final = 0.15
"""A score so far below the median is out of line."""
ALIKE: Final = 0.95
"""Similarity to the frame before from which on the swap snaps to it."""
MOMENTUM: Final = 0.1
"""Share of the newest frame in the colour transfer."""
COLOUR_WINDOW: Final = 16
SEAM: Final = 12
"""Width of the seam band in pixels of a 256-px crop."""
STILL: Final = 3.0
"""Frame pixels that a face may move for its seam to be held."""
MARGIN: Final = 8
"""Pixels around both masks that are worked on; their box lies on multiples of this."""

LEAST: Final = 32
"""Fewer pixels than this have no flow."""


@dataclass(slots=True, kw_only=True)
class _Past:
    """What the last frame of a track left behind. All but ``change`` is as the swapper made it."""

    frame: int
    centre: NDArray[np.float64]
    """The crop's, in frame pixels."""
    original: Gray
    swapped: Gray
    support: tuple[int, int, int, int]
    """Box x0 y0 x1 y1 of the mask."""
    change: Floats
    """[s, s, 4] the steadied R'G'B' minus the original's, and the steadied mask."""
    scores: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    colours: deque[NDArray[np.float64]] = field(default_factory=lambda: deque(maxlen=COLOUR_WINDOW))


class Stabilizer:
    """Filters the crops of a film's frames, fed in order, each track for itself.

    What is filtered is the change that the swapper made, not the picture: the swapped face follows
    the original's expression and light, and these must not be averaged with older ones. The
    original's own dense flow carries the last frame's change to where it belongs now.

    All decisions (flow, confidence, anomaly, colour) come from the swapper's crops of the last
    frames; only the blend itself is recursive, and it forgets at least three tenths a frame (a
    tenth in a frame out of line). So a warm-up of ``StabilizeSettings.warmup`` frames is enough.
    A track's memory ends where a frame lacks it; tracks never go over a cut.

    Args:
        settings: which filters work.
        flow: finds the motion.
    """

    def __init__(self, settings: StabilizeSettings, flow: FlowProvider | None = None) -> None:
        self._settings = settings
        self._flow = flow or DisFlow()
        self._tables: TransferTables | None = None
        self._past: dict[int, _Past] = {}

    def stabilize(self, frame: Frame) -> None:
        """Steady ``frame.crops`` in place: colours and masks.

        Args:
            frame: as the swapper left it.
        """
        past, self._past = self._past, {}
        for face in range(frame.faces):
            track = int(frame.tracks[face])
            before = past.get(track)
            if before is not None and before.frame != frame.handle.frame_index - 1:
                before = None
            self._past[track] = self._steady(frame, face, before)

    def _steady(self, frame: Frame, face: int, before: _Past | None) -> _Past:
        affine, crop = frame.affines[face], frame.crops[face]
        size = len(crop)
        original = frame.originals[face]
        past = _Past(
            frame=frame.handle.frame_index,
            centre=apply(invert(affine), [(size - 1) / 2, (size - 1) / 2]),
            original=luma(original),
            swapped=luma(crop),
            support=_box(crop[..., 3]),
            change=crop,
        )
        if before is not None:
            past.scores, past.colours = before.scores, before.colours
        if self._settings.colour:
            self._recolour(frame, original, crop, past)
        # With a mask of 0, so that one pass over whole pixels takes it from the crop.
        lifted = np.zeros_like(crop)
        lifted[..., :3] = original
        past.change = crop - lifted
        part = None if before is None else _part(past.support, before.support, size)
        if before is not None and part is not None:
            self._hold(past, before, part)
            np.clip(past.change[part] + lifted[part], 0, 1, out=crop[part])
        return past

    def _recolour(self, frame: Frame, original: Floats, crop: Floats, past: _Past) -> None:
        if self._tables is None:
            self._tables = TransferTables(frame.picture.format.transfer)
        mask = crop[..., 3]
        past.colours.append(colour_transfer(original, crop, mask, self._tables))
        apply_colour(crop, mask, settle_colour(past.colours, MOMENTUM), self._tables)

    def _hold(self, past: _Past, before: _Past, part: tuple[slice, slice]) -> None:
        """Blend what the frame before left into ``past.change``."""
        settings, change = self._settings, past.change[part]
        now, then = _contiguous(past.original[part]), _contiguous(before.original[part])
        flow = self._flow.flow(now, then)
        mask = halved(_contiguous(change[..., 3]))
        followed = similarity_map(now, carry(then, flow))
        swapped = _contiguous(before.swapped[part])
        alike = similarity_map(_contiguous(past.swapped[part]), carry(swapped, flow))
        difference = carry(_contiguous(before.change[part]), flow)
        difference -= change
        sure = trust(followed)
        weight = np.zeros_like(sure)
        if settings.flow:
            small = halved(difference)
            weight = HELD * trust(np.minimum(followed, agreement(small))) * worth(small)
        if settings.snap:
            weight = np.maximum(weight, HELD * sure * (alike > ALIKE))
        # Where the original is not alike either, it is the face that changed, not the swap.
        score = weighted_mean(alike, mask) / max(weighted_mean(followed, mask), 0.1)
        if settings.guard and _out_of_line(score, past.scores):
            weight = ANOMALY_HELD * sure
        past.scores.append(score)
        edge = np.zeros_like(sure)
        moved = float(np.hypot(*(past.centre - before.centre)))
        if settings.seam and moved < STILL:
            width = max(2, round(SEAM * len(past.change) / 256 / 2))
            edge = HELD * sure * seam_band(mask, width)
        weights = cv2.merge([weight, weight, weight, edge])
        difference *= cast(Floats, cv2.resize(weights, now.shape[::-1]))
        change += difference


def _out_of_line(score: float, scores: Iterable[float]) -> bool:
    before = list(scores)
    return len(before) >= WINDOW // 2 and score < (1 - DROP) * float(np.median(before))


def _box(mask: Floats) -> tuple[int, int, int, int]:
    """x0 y0 x1 y1 around what is above 0; all 0 where nothing is."""
    above = mask > 0
    rows, columns = np.flatnonzero(above.any(1)), np.flatnonzero(above.any(0))
    if not len(rows):
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _part(
    a: tuple[int, int, int, int], b: tuple[int, int, int, int], size: int
) -> tuple[slice, slice] | None:
    """Rows and columns around both boxes; None where one is empty or there are too few."""
    if a[2] <= a[0] or b[2] <= b[0]:
        return None
    whole = size // MARGIN * MARGIN
    x0, y0 = (max((min(a[i], b[i]) - MARGIN) // MARGIN * MARGIN, 0) for i in (0, 1))
    x1, y1 = (min(-(-(max(a[i], b[i]) + MARGIN) // MARGIN) * MARGIN, whole) for i in (2, 3))
    if x1 - x0 < LEAST or y1 - y0 < LEAST:
        return None
    return slice(y0, y1), slice(x0, x1)


def _contiguous(picture: Pixels) -> Pixels:
    return np.ascontiguousarray(picture)
