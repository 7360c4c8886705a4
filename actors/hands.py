"""Which hands are near the faces of a chunk's frames, and their joints.

Palms are looked for on every 6th frame of the film, around its faces only. From a palm the hand is
followed through the frames after it, and back through those before it, at most 7 frames; then its
joints are smoothed over 5 frames. What a frame shows depends on the 9 frames before and after it
and on nothing else, so the result is the same wherever a chunk starts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from actors.anchors import Detection
from actors.hand_landmarker import Hand, HandLandmarker, hand_square, palm_square
from actors.palms import SIZE, PalmDetector
from kernels.api import Kernels
from kernels.geometry import Affine, apply, compose, invert
from kernels.occlusion import finger_length
from kernels.picture import Picture
from kernels.windows import cut_out
from scheduler.hands import HandObservation

PERIOD: Final = 6
"""Frames of the film from one look for palms to the next."""
REACH: Final = 7
"""Frames over which a hand is followed from its palm."""
SMOOTH: Final = 2
"""Frames before and after that smooth a frame's joints."""
HALO: Final = REACH + SMOOTH
"""Frames on each side of a chunk that decide its hands."""
STILL: Final = 0.3
"""Finger lengths that a joint moves from frame to frame until it is hardly smoothed any more."""
AROUND: Final = 2.0
"""Side of the square in which palms are looked for, over the face's longer side."""
KEPT: Final = 2.8
"""As ``AROUND``, of the picture that is kept to follow a hand back."""
_PALM: Final = (0, 5, 9, 13, 17)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Region:
    """The surroundings of a face, in display pixels."""

    centre: NDArray[np.float64]
    side: float

    def square(self, times: float) -> NDArray[np.float64]:
        """[4, 2] corners."""
        half = self.side * times / 2
        return self.centre + half * np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])

    def has(self, hand: Hand) -> bool:
        off = np.abs(hand.landmarks - self.centre).max(axis=1).min()
        return bool(off < self.side * AROUND / 2)


@dataclass(slots=True)
class _Followed:
    hand: Hand
    left: int
    """Frames that it may still be followed."""


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """What is kept of a frame: the surroundings of its faces."""

    frame: int
    regions: tuple[_Region, ...]
    windows: tuple[tuple[Picture, Affine], ...]
    """For each region a picture and the map of its pixels to display pixels."""


class HandTracker:
    """Observes the hands near the faces of consecutive frames.

    Args:
        detector: finds palms.
        landmarker: puts the joints on hands.
        kernels: makes the pictures that the two networks read.
        display: float64 [2, 3], coded frame pixels -> upright display pixels.
        min_presence: a hand whose network is less sure is none.
    """

    def __init__(
        self,
        detector: PalmDetector,
        landmarker: HandLandmarker,
        kernels: Kernels,
        display: NDArray[np.float64],
        *,
        min_presence: float = 0.5,
    ) -> None:
        self._detector = detector
        self._landmarker = landmarker
        self._kernels = kernels
        self._display = display
        self._to_coded = invert(display)
        self._min_presence = min_presence
        self._regions: tuple[_Region, ...] = ()
        self._followed: list[_Followed] = []
        self._kept: deque[_Kept] = deque(maxlen=REACH)
        self._hands: dict[int, list[Hand]] = {}

    @staticmethod
    def looks_at(frame_index: int) -> bool:
        """Whether ``observe`` wants to know the faces of that frame."""
        return frame_index % PERIOD == 0

    def observe(
        self, picture: Picture, frame_index: int, boxes: Sequence[NDArray[np.floating]]
    ) -> None:
        """The next frame. What it adds may concern the ``REACH`` frames before it too.

        Args:
            picture: as decoded, in coded orientation.
            frame_index: 0-based presentation order in the film; one more than the last time.
            boxes: [4] each, x0 y0 x1 y1 in coded pixels, of the faces on frames that
                ``looks_at`` names (as that frame alone shows them); not read on others.
        """
        looking = self.looks_at(frame_index)
        if looking:
            self._regions = tuple(self._region(box) for box in boxes)
        hands = self._follow(picture)
        if looking:
            seeds = self._look(picture)
            # A fresh look is worth more than what was carried here.
            self._followed = [old for old in self._followed if not _meets(old.hand, seeds)] + [
                _Followed(seed, REACH) for seed in seeds
            ]
            hands = [followed.hand for followed in self._followed]
            self._hands[frame_index] = hands
            for seed in seeds:
                self._go_back(seed)
        elif hands:
            self._hands[frame_index] = hands
        windows = tuple(
            cut_out(picture, apply(self._to_coded, region.square(KEPT))) for region in self._regions
        )
        self._kept.append(
            _Kept(
                frame_index,
                self._regions,
                tuple((part, compose(self._display, shift)) for part, shift in windows),
            )
        )

    def result(self, start: int, stop: int) -> list[HandObservation]:
        """The hands of frames [start, stop), in film order, after all frames that concern them."""
        return [
            HandObservation(
                frame=frame,
                landmarks=apply(self._to_coded, self._smooth(hand, frame)).astype(np.float32),
                presence=hand.presence,
            )
            for frame in sorted(self._hands)
            if start <= frame < stop
            for hand in self._hands[frame]
        ]

    def _smooth(self, hand: Hand, frame: int) -> NDArray[np.float64]:
        """[21, 2] joints, averaged with those of the frames around where they are about still.

        The network's joints tremble, those it cannot see most. Where a joint moves, its own frame
        counts alone: nothing lags behind or is cut short.
        """
        still = STILL * finger_length(hand.landmarks)
        total, weights = np.zeros_like(hand.landmarks), np.zeros((len(hand.landmarks), 1))
        for off in range(-SMOOTH, SMOOTH + 1):
            for other in self._hands.get(frame + off, ()):
                if _meets(hand, [other]):
                    moved = ((other.landmarks - hand.landmarks) ** 2).sum(axis=1, keepdims=True)
                    weight = (SMOOTH + 1 - abs(off)) * np.exp(-moved / max(still, 1e-6) ** 2)
                    total += weight * other.landmarks
                    weights += weight
                    break
        return total / weights

    def _region(self, box: NDArray[np.floating]) -> _Region:
        x0, y0, x1, y1 = box.astype(np.float64)
        corners = apply(self._display, [[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
        low, high = corners.min(axis=0), corners.max(axis=0)
        return _Region(centre=(low + high) / 2, side=float((high - low).max()))

    def _follow(self, picture: Picture) -> list[Hand]:
        """Move the hands that are followed to this frame."""
        moved: list[_Followed] = []
        # The one with more frames left was found last. It wins where two have met: were it the
        # older, its end would depend on frames out of reach.
        for old in sorted(self._followed, key=lambda each: -each.left):
            if old.left:
                hand = self._step(old.hand, picture, self._display)
                if self._near(hand, self._regions) and not _meets(hand, [m.hand for m in moved]):
                    moved.append(_Followed(hand, old.left - 1))
        self._followed = moved
        return [each.hand for each in moved]

    def _look(self, picture: Picture) -> list[Hand]:
        """The hands around the faces of this frame, found anew."""
        found: list[Hand] = []
        for region in self._regions:
            x, y = region.square(AROUND)[0]
            scale = SIZE / max(region.side * AROUND, 1e-6)
            square = np.array([[scale, 0.0, -0.5 - scale * x], [0.0, scale, -0.5 - scale * y]])
            rgb = self._kernels.thumbnail(picture, compose(square, self._display), SIZE, SIZE)
            for palm in self._detector.detect_rgb(rgb):
                hand = self._confirm(picture, palm.moved(invert(square)))
                if self._near(hand, self._regions) and not _meets(hand, found):
                    found.append(hand)
        return found

    def _confirm(self, picture: Picture, palm: Detection) -> Hand:
        """The hand on a palm. Only what looks like a hand from its own joints too is one."""
        first = self._landmarker.locate(picture, palm_square(palm), self._display, self._kernels)
        if first.presence <= self._min_presence:
            return first
        return self._step(first, picture, self._display)

    def _go_back(self, seed: Hand) -> None:
        """Follow a hand back to where it is known already, or is not to be seen."""
        hand = seed
        for kept in reversed(self._kept):
            known = self._hands.get(kept.frame, [])
            if not kept.regions or _meets(hand, known):
                return
            nearest = min(
                range(len(kept.regions)),
                key=lambda at: float(
                    np.abs(hand.landmarks.mean(axis=0) - kept.regions[at].centre).max()
                ),
            )
            hand = self._step(hand, *kept.windows[nearest])
            if not self._near(hand, kept.regions) or _meets(hand, known):
                return
            self._hands[kept.frame] = [*known, hand]

    def _step(self, hand: Hand, picture: Picture, display: Affine) -> Hand:
        """The same hand in a neighbouring frame."""
        square = hand_square(hand.landmarks)
        return self._landmarker.locate(picture, square, display, self._kernels)

    def _near(self, hand: Hand, regions: Sequence[_Region]) -> bool:
        return hand.presence > self._min_presence and any(r.has(hand) for r in regions)


def _meets(hand: Hand, others: Sequence[Hand]) -> bool:
    """Whether a hand is one of the others: palms nearer than half of their length."""
    mine = hand.landmarks[list(_PALM)]
    for other in others:
        theirs = other.landmarks[list(_PALM)]
        length = max(float(np.hypot(*(p[2] - p[0]))) for p in (mine, theirs))
        if float(np.hypot(*(mine.mean(axis=0) - theirs.mean(axis=0)))) < 0.5 * length:
            return True
    return False
