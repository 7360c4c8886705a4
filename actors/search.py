"""Looks for faces in a frame turned several ways, and keeps the best answer of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from actors.anchors import Detection
from actors.detector import Detector
from kernels.api import Kernels
from kernels.geometry import Affine, apply, compose, invert
from kernels.picture import Picture
from scheduler.boxes import overlaps

MAX_OVERLAP: Final = (0.4, 0.3, 0.2, 0.1)
"""By the number of angles: a face that is found at several is found in slightly other boxes."""


class FaceSearch:
    """A ``Detector``: another one, asked at each angle, without its repetitions.

    Args:
        detector: may give a face several times.
        angles: degrees by which the picture is turned against the clock: 0, 90, 180, 270.
        max_overlap: of two answers that overlap more (intersection over union) the surer stays.
    """

    def __init__(
        self, detector: Detector, *, angles: Sequence[int] = (0,), max_overlap: float = 0.4
    ) -> None:
        self._detector = detector
        self._turns = [turn(angle) for angle in angles]
        self._max_overlap = max_overlap

    def detect(self, picture: Picture, display: Affine, kernels: Kernels) -> list[Detection]:
        """See ``Detector``; each face once."""
        found: list[Detection] = []
        for turned in self._turns:
            back = invert(turned)
            for seen in self._detector.detect(picture, compose(turned, display), kernels):
                found.append(_moved(seen, back))
        return suppress(found, self._max_overlap)


def turn(angle: int) -> Affine:
    """float64 [2, 3]: a picture turned against the clock about its first pixel, exactly."""
    cos, sin = {0: (1.0, 0.0), 90: (0.0, 1.0), 180: (-1.0, 0.0), 270: (0.0, -1.0)}[angle]
    return np.array([[cos, sin, 0.0], [-sin, cos, 0.0]])


def suppress(found: Sequence[Detection], max_overlap: float) -> list[Detection]:
    """The answers best first, without those that overlap a better one too much.

    Of equally sure ones the earlier stays, so the order is the same everywhere.
    """
    left = sorted(found, key=lambda face: -face.score)
    boxes = np.array([face.box for face in left]).reshape(-1, 4)
    rest = np.arange(len(left))
    kept = []
    while len(rest):
        best = int(rest[0])
        kept.append(left[best])
        rest = rest[1:]
        rest = rest[overlaps(boxes[[best]], boxes[rest])[0] <= max_overlap]
    return kept


def _moved(face: Detection, affine: Affine) -> Detection:
    corners = apply(affine, face.box.reshape(2, 2))
    return Detection(
        box=np.concatenate([corners.min(axis=0), corners.max(axis=0)]),
        keypoints=apply(affine, face.keypoints),
        score=face.score,
    )
