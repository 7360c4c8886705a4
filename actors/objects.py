"""Which pixels of a face an object covers, seen against what the face looks like over the film."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from kernels.api import Look
from kernels.appearance import Appearance, foreign, learn
from kernels.geometry import Affine, apply
from kernels.mesh.unwrap import WINDOW, Unwrapper, window
from scheduler.tracks import FaceObservation

Floats = NDArray[np.float32]


class ObjectFinder:
    """Finds what is before faces by its colour.

    Args:
        samples: of each track what it looks like (``scheduler.appearances``).
        unwrapper: says where on the face a pixel lies.
    """

    def __init__(
        self, samples: Mapping[int, Sequence[NDArray[np.uint8]]], unwrapper: Unwrapper
    ) -> None:
        self._samples = samples
        self._unwrapper = unwrapper
        self._learnt: dict[int, Appearance | None] = {}

    def cover(self, look: Look, face: FaceObservation) -> tuple[Floats, Affine] | None:
        """How much of each pixel of a face's window is covered, and the map frame -> window.

        Args:
            look: into the frame as decoded.
            face: of the frame.
        Returns: float32 [n, n] 0..1, 1 on the object and up to its outline, soft outside it; None
            where there is no object.
        """
        appearance = self._appearance(face.track)
        if appearance is None:
            return None
        points = face.landmarks.astype(np.float64)
        affine = window(points, WINDOW)
        rgb = look(affine, WINDOW)
        places = self._unwrapper.places(apply(affine, points), WINDOW)
        found = foreign(rgb, places, appearance)
        if found is None:
            return None
        cover = cast(Floats, cv2.GaussianBlur(found.astype(np.float32), (0, 0), 0.8))
        # The blurred step is a half on the outline: all that is soft lies outside.
        return np.clip((cover - 0.1) / 0.4, 0, 1), affine

    def _appearance(self, track: int) -> Appearance | None:
        if track not in self._learnt:
            self._learnt[track] = learn(self._samples.get(track, ()), self._unwrapper.skin)
        return self._learnt[track]
