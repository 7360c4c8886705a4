"""Keeps swapped faces steady from frame to frame, between the swapper and the compositor."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from actors.frames import Frame
from kernels import filter_loops
from kernels.colour import TransferTables
from kernels.dense_flow import DisFlow, FlowProvider
from kernels.filters import (
    agreement,
    amount,
    apply_colour,
    carry,
    colour_transfer,
    luma,
    seam_band,
    settle_colour,
    shrunk,
    trust,
    worth,
)
from kernels.geometry import apply, invert
from kernels.metrics import similarity, weighted_mean
from scheduler.jobs import StabilizeSettings

Floats = NDArray[np.float32]
Gray = NDArray[np.uint8]

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
FLOW_SIDE: Final = 128
"""Motion is found on pictures of this size or up to twice as large: on finer ones it is no more
exact (docs/performance.md)."""
LEAST: Final = 32
"""Fewer pixels than this have no flow."""


@dataclass(slots=True, kw_only=True)
class Memory:
    """What decisions go by: the last frames of a track as the swapper made them."""

    scores: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    colours: deque[NDArray[np.float64]] = field(default_factory=lambda: deque(maxlen=COLOUR_WINDOW))


@dataclass(slots=True, kw_only=True)
class _Past:
    """What the last frame of a track left behind. All but ``change`` is as the swapper made it."""

    frame: int
    centre: NDArray[np.float64]
    """The crop's, in frame pixels."""
    sight: Gray
    """Luma of the original, ``_flow_step`` times smaller: where motion is found."""
    original: Gray
    """The same, ``_step`` times smaller: where all is measured."""
    swapped: Gray
    support: tuple[int, int, int, int]
    """Box x0 y0 x1 y1 of the mask."""
    change: Floats
    """[s, s, 4] the steadied R'G'B' minus the original's, and the steadied mask."""
    memory: Memory = field(default_factory=Memory)


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
        self._flow, self._small_flow = flow or DisFlow(), flow or DisFlow(small=True)
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
        crop, original = frame.crops[face], frame.originals[face]
        size = len(crop)
        past = self._look(frame, face)
        if before is not None:
            past.memory = before.memory
        if self._settings.colour:
            self._recolour(frame, original, crop, past)
        filter_loops.lift(crop, original, past.change)
        part = None if before is None else shared_part(past.support, before.support, size)
        if before is not None and part is not None:
            self._hold(past, before, part, original, crop)
        return past

    def _look(self, frame: Frame, face: int) -> _Past:
        """What is known of a face without the frames before, but its change."""
        affine, crop, original = frame.affines[face], frame.crops[face], frame.originals[face]
        size = len(crop)
        step, whole = measure_step(size), size // part_grid(size) * part_grid(size)
        small = luma(shrunk(original[:whole, :whole], step))
        sight = small
        if flow_step(size) < step:
            sight = luma(shrunk(original[:whole, :whole], flow_step(size)))
        return _Past(
            frame=frame.handle.frame_index,
            centre=apply(invert(affine), [(size - 1) / 2, (size - 1) / 2]),
            sight=sight,
            original=small,
            swapped=luma(shrunk(crop[:whole, :whole], step)),
            support=_box(crop[..., 3]),
            change=np.empty_like(crop),
        )

    def _recolour(self, frame: Frame, original: Floats, crop: Floats, past: _Past) -> None:
        if self._tables is None:
            self._tables = TransferTables(frame.picture.format.transfer)
        mask = crop[..., 3]
        past.memory.colours.append(colour_transfer(original, crop, mask, self._tables))
        apply_colour(crop, mask, settle_colour(past.memory.colours, MOMENTUM), self._tables)

    def _hold(self, past: _Past, before: _Past, part: Box, original: Floats, crop: Floats) -> None:
        """Blend what the frame before left into ``past.change`` and the crop."""
        settings, size = self._settings, len(crop)
        step, fine = measure_step(size), flow_step(size)
        shape = (part[2] - part[0], part[3] - part[1])
        sight, area = _slices(part, fine), _slices(part, step)
        finder = self._flow if fine == 1 else self._small_flow
        flow = finder.flow(_contiguous(past.sight[sight]), _contiguous(before.sight[sight]))
        change = past.change[_slices(part, 1)]
        difference = carry(_contiguous(before.change[_slices(part, 1)]), _scaled(flow, shape))
        difference -= change
        # A change takes its own frame's grain out: that of the frame before stays behind.
        difference = cast(Floats, cv2.blur(difference, (3, 3)))
        flow = _scaled(flow, (shape[0] // step, shape[1] // step))
        mask = shrunk(change, step)[..., 3]
        followed = similarity(past.original[area], carry(before.original[area], flow))
        alike = similarity(past.swapped[area], carry(before.swapped[area], flow))
        sure = trust(followed)
        weight = np.zeros_like(sure)
        if settings.flow:
            off = amount(shrunk(difference, step))
            weight = HELD * trust(np.minimum(followed, agreement(off))) * worth(off)
        if settings.snap:
            weight = np.maximum(weight, HELD * sure * (alike > ALIKE))
        # Where the original is not alike either, it is the face that changed, not the swap.
        score = weighted_mean(alike, mask) / max(weighted_mean(followed, mask), 0.1)
        if settings.guard and out_of_line(score, past.memory.scores):
            weight = ANOMALY_HELD * sure
        past.memory.scores.append(score)
        edge = np.zeros_like(sure)
        moved = float(np.hypot(*(past.centre - before.centre)))
        if settings.seam and moved < STILL:
            width = max(2, round(SEAM * size / 256 / step))
            edge = HELD * sure * seam_band(mask, width)
        weight, edge = (cast(Floats, cv2.resize(share, shape)) for share in (weight, edge))
        x0, y0 = part[:2]
        filter_loops.settle(difference, weight, edge, original, y0, x0, past.change, crop)


Box = tuple[int, int, int, int]


def out_of_line(score: float, scores: Iterable[float]) -> bool:
    before = list(scores)
    return len(before) >= WINDOW // 2 and score < (1 - DROP) * float(np.median(before))


def _box(mask: Floats) -> tuple[int, int, int, int]:
    """x0 y0 x1 y1 around what is above 0; all 0 where nothing is."""
    above = mask > 0
    rows, columns = np.flatnonzero(above.any(1)), np.flatnonzero(above.any(0))
    if not len(rows):
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def flow_step(size: int) -> int:
    """How many times smaller than a crop the picture is in which its motion is found: 1, 2, 4."""
    return 1 << max(0, (size // FLOW_SIDE).bit_length() - 1)


def measure_step(size: int) -> int:
    """The same for what is measured along the motion: never on single pixels, which are noisy."""
    return max(2, flow_step(size))


def part_grid(size: int) -> int:
    return MARGIN * measure_step(size) // 2


def shared_part(a: Box, b: Box, size: int) -> Box | None:
    """x0 y0 x1 y1 around both boxes; None where one is empty or there are too few pixels."""
    if a[2] <= a[0] or b[2] <= b[0]:
        return None
    grid, least = part_grid(size), LEAST * flow_step(size)
    whole = size // grid * grid
    x0, y0 = (max((min(a[i], b[i]) - MARGIN) // grid * grid, 0) for i in (0, 1))
    x1, y1 = (min(-(-(max(a[i], b[i]) + MARGIN) // grid) * grid, whole) for i in (2, 3))
    if x1 - x0 < least or y1 - y0 < least:
        return None
    return x0, y0, x1, y1


def _slices(box: Box, step: int) -> tuple[slice, slice]:
    """Rows and columns of a box in a picture ``step`` times smaller."""
    x0, y0, x1, y1 = (edge // step for edge in box)
    return slice(y0, y1), slice(x0, x1)


def _scaled(flow: Floats, size: tuple[int, int]) -> Floats:
    """A flow [h, w, 2] for pictures of another size (width, height)."""
    ratio = size[0] / flow.shape[1]
    if ratio == 1:
        return flow
    way = cv2.INTER_LINEAR if ratio > 1 else cv2.INTER_AREA
    return cast(Floats, cv2.resize(flow, size, interpolation=way) * np.float32(ratio))


def _contiguous(picture: Any) -> Any:
    return np.ascontiguousarray(picture)
