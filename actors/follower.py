"""Where the faces of one frame are in the frames next to it, by optical flow alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from actors.landmarker import EYE_LEFT, EYE_RIGHT
from kernels.flow import Luma, carry, follow, spread
from kernels.geometry import Affine, Points, apply, compose, invert, resize
from kernels.mesh.canonical import canonical_face
from scheduler.tracks import FaceObservation

VERTICES: Final = 68
"""Of the mesh's 468 that are followed."""
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
    """[468, 2] in pixels of the coded picture."""
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


class FaceFollower:
    """Follows well-spread vertices of each face's mesh, and carries the whole mesh along.

    Args:
        display: float64 [2, 3], coded frame pixels -> upright display pixels; only there is the
            motion of a face a similarity.
    """

    def __init__(self, display: Affine) -> None:
        vertices = canonical_face().vertices
        self._picks = spread(vertices, VERTICES)
        gaps = np.square(vertices[:, None] - vertices[None, self._picks]).sum(axis=2)
        self._nearness = np.exp(-gaps / (2 * NEAR**2))
        self._display = display

    def follow(
        self, faces: Sequence[FaceObservation], lumas: Sequence[Luma], step: int
    ) -> list[list[Place]]:
        """For each face its places in all frames, the first being where it is observed.

        Args:
            faces: of the first frame.
            lumas: ``kernels.flow.flow_luma`` of consecutive frames, in either direction of time.
            step: ``kernels.flow.luma_step`` of the film.
        """
        return [self._follow(face.landmarks.astype(np.float64), lumas, step) for face in faces]

    def _follow(self, mesh: Points, lumas: Sequence[Luma], step: int) -> list[Place]:
        to_luma = resize(1 / step, 1 / step)
        to_display = compose(self._display, invert(to_luma))
        shown = apply(self._display, mesh)
        start = apply(to_luma, mesh[self._picks])
        tolerance = max(LEAST_TOLERANCE, TOLERANCE * _eyes(apply(to_luma, mesh)))
        rigid = max(RIGID * _eyes(shown), 1e-3)
        points, weights = start, np.ones(len(start))
        places = [Place(points=mesh, confidence=1.0)]
        for before, after in pairwise(lumas):
            place = places[-1]
            if not place.lost:
                points, seen = follow(before, after, points, tolerance)
                weights = weights * seen
                place = Place(points=place.points, confidence=float(weights.mean()))
            if not place.lost:
                now, then = apply(to_display, points), apply(to_display, start)
                carried = carry(shown, then, now, weights, self._nearness, rigid)
                place = replace(place, points=apply(invert(self._display), carried))
            places.append(place)
        return places


def _eyes(mesh: Points) -> float:
    """Distance of the eyes' outer corners."""
    return float(np.hypot(*(mesh[EYE_LEFT] - mesh[EYE_RIGHT])))


def meet(onward: Place, back: Place, share: float) -> Place:
    """One place of two: carried onward from the keyframe before and back from the one after.

    Args:
        share: how far the frame is from the first keyframe to the second, 0..1.
    """
    one = (1.0 - share) * max(onward.confidence, 1e-3)
    other = share * max(back.confidence, 1e-3)
    points = (one * onward.points + other * back.points) / (one + other)
    return Place(points=points, confidence=max(onward.confidence, back.confidence))
