"""Where the faces of one frame are in the frames next to it, by optical flow alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from kernels.flow import Luma, carry, follow, spread
from kernels.geometry import Affine, Points, apply, compose, invert, resize
from kernels.mesh.canonical import canonical_face
from kernels.templates import IBUG_OF_MESH
from scheduler.points import IBUG, point_set
from scheduler.tracks import FaceObservation

VERTICES: Final = 68
"""Of the mesh's 468 that are followed."""
IBUG_JAW: Final = 17
"""Points of the jaw, the first of iBUG's 68."""
LEAST_TOLERANCE: Final = 0.3
"""Pixels of the luma: what a good point misses its start by, there and back, through noise."""
TOLERANCE: Final = 0.01
"""The same over the distance of the eyes' outer corners."""
RIGID: Final = 0.02
"""How far a point may be off the face's common motion before it counts less, over that distance."""
NEAR: Final = 0.1
"""Over the height of the canonical face: how far a remainder is smoothed."""
LEAST_CONFIDENCE: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Place:
    """Where a face is thought to be in a frame."""

    points: Points
    """[n, 2] in pixels of the coded picture."""
    confidence: float
    """Mean weight of the followed points since the first frame, 0..1."""

    @property
    def lost(self) -> bool:
        """The flow tells no more; ``points`` are from the last frame where it did."""
        return self.confidence < LEAST_CONFIDENCE

    @property
    def box(self) -> NDArray[np.float64]:
        """[4] x0 y0 x1 y1 of the points."""
        return np.concatenate([self.points.min(axis=0), self.points.max(axis=0)])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Layout:
    """Which points of a set are followed, and how they carry the others."""

    picks: NDArray[np.intp]
    """[k] indices."""
    nearness: NDArray[np.float64]
    """[n, k], 1 for the same place on the face, towards 0 far from it."""

    @classmethod
    def of(cls, count: int) -> Self:
        vertices = canonical_face().vertices
        if point_set(count) is IBUG:
            vertices = vertices[list(IBUG_OF_MESH)]
            # The jaw's points lie on the face's edge: half of what is around them is background.
            picks = np.arange(IBUG_JAW, count)
        else:
            picks = spread(vertices, VERTICES)
        gaps = np.square(vertices[:, None] - vertices[None, picks]).sum(axis=2)
        return cls(picks=picks, nearness=np.exp(-gaps / (2 * NEAR**2)))


class FaceFollower:
    """Follows well-spread points of each face, and carries all of its points along.

    Args:
        display: float64 [2, 3], coded frame pixels -> upright display pixels; only there is the
            motion of a face a similarity.
    """

    def __init__(self, display: Affine) -> None:
        self._display = display
        self._layouts: dict[int, _Layout] = {}

    def follow(
        self, faces: Sequence[FaceObservation], lumas: Sequence[Luma], step: int
    ) -> list[list[Place]]:
        """For each face its places in all frames, the first being where it is observed.

        Args:
            faces: of the first frame.
            lumas: ``kernels.flow.flow_luma`` of consecutive frames, in either direction of time;
                one object twice for a frame that repeats the one before.
            step: ``kernels.flow.luma_step`` of the film.
        """
        return [self._follow(face.landmarks.astype(np.float64), lumas, step) for face in faces]

    def _follow(self, mesh: Points, lumas: Sequence[Luma], step: int) -> list[Place]:
        to_luma = resize(1 / step, 1 / step)
        to_display = compose(self._display, invert(to_luma))
        shown = apply(self._display, mesh)
        layout = self._layout(len(mesh))
        start = apply(to_luma, mesh[layout.picks])
        tolerance = max(LEAST_TOLERANCE, TOLERANCE * _eyes(apply(to_luma, mesh)))
        rigid = max(RIGID * _eyes(shown), 1e-3)
        points, weights = start, np.ones(len(start))
        places = [Place(points=mesh, confidence=1.0)]
        for before, after in pairwise(lumas):
            place = places[-1]
            if after is before:  # the same picture again
                places.append(place)
                continue
            if not place.lost:
                points, seen = follow(before, after, points, tolerance)
                weights = weights * seen
                place = Place(points=place.points, confidence=float(weights.mean()))
            if not place.lost:
                now, then = apply(to_display, points), apply(to_display, start)
                carried = carry(shown, then, now, weights, layout.nearness, rigid)
                place = replace(place, points=apply(invert(self._display), carried))
            places.append(place)
        return places

    def _layout(self, count: int) -> _Layout:
        if count not in self._layouts:
            self._layouts[count] = _Layout.of(count)
        return self._layouts[count]


def _eyes(points: Points) -> float:
    """Distance of the eyes' outer corners."""
    right, left = points[list(point_set(len(points)).eye_corners)]
    return float(np.hypot(*(left - right)))


def meet(onward: Place, back: Place, share: float) -> Place:
    """One place of two: carried onward from the keyframe before and back from the one after.

    Args:
        share: how far the frame is from the first keyframe to the second, 0..1.
    """
    one = (1.0 - share) * max(onward.confidence, 1e-3)
    other = share * max(back.confidence, 1e-3)
    points = (one * onward.points + other * back.points) / (one + other)
    return Place(points=points, confidence=max(onward.confidence, back.confidence))
