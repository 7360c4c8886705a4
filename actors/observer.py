"""Which faces one picture shows, and their landmarks: one observation for each.

A picture is looked at by itself, so that the result does not depend on where a chunk starts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from actors.detector import Detector
from actors.landmarker import Landmarker, Mesh
from actors.profiler import Profiler
from kernels.api import Kernels
from kernels.picture import Picture
from scheduler.boxes import overlaps
from scheduler.tracks import FaceObservation


class FaceObserver:
    """Observes the faces of single frames.

    Args:
        detector: finds them.
        landmarker: puts points on each.
        kernels: makes the pictures that the two networks read.
        display: float64 [2, 3], coded frame pixels -> upright display pixels.
        max_overlap: faces whose points' extents overlap more (intersection over union) are one.
        profiler: measures both networks.
    """

    def __init__(
        self,
        detector: Detector,
        landmarker: Landmarker,
        kernels: Kernels,
        display: NDArray[np.float64],
        *,
        max_overlap: float = 0.5,
        profiler: Profiler | None = None,
    ) -> None:
        self._detector = detector
        self._landmarker = landmarker
        self._kernels = kernels
        self._display = display
        self._max_overlap = max_overlap
        self._profiler = profiler or Profiler()
        self.detected = 0
        """Frames in which the detector looked for faces."""

    @property
    def guesses(self) -> bool:
        """See ``Landmarker``."""
        return self._landmarker.guesses

    def observe(self, picture: Picture, frame_index: int) -> list[FaceObservation]:
        """The faces of one frame, from left to right as a viewer sees them; ``track`` is -1.

        Args:
            picture: as decoded, in coded orientation.
            frame_index: 0-based presentation order in the film.

        Returns:
            Box (the points' extent) and landmarks in pixels of the coded picture.
        """
        self.detected += 1
        faces = []
        with self._profiler.span("detector.detect"):
            detected = self._detector.detect(picture, self._display, self._kernels)
        for found in detected:
            with self._profiler.span("detector.landmark"):
                mesh = self._landmarker.locate(picture, found, self._display, self._kernels)
            if mesh.is_face:
                faces.append(observation(frame_index, mesh, found.score))
        # Best first: of two meshes on one face, the one that the detector was surer of stays.
        return self.apart(faces)

    def look(
        self, picture: Picture, frame_index: int, points: NDArray[np.float64], score: float
    ) -> FaceObservation | None:
        """The face that is where one is expected, or None: nothing that looks like one.

        Args:
            picture: as decoded, in coded orientation.
            frame_index: 0-based presentation order in the film.
            points: [n, 2], about where its points should be, in pixels of the coded picture.
            score: what to report as the detector's.
        """
        with self._profiler.span("detector.landmark"):
            mesh = self._landmarker.relocate(picture, points, self._display, self._kernels)
        return observation(frame_index, mesh, score) if mesh.is_face else None

    def apart(self, faces: Sequence[FaceObservation]) -> list[FaceObservation]:
        """The faces, best first, without those on a better one's place; from left to right."""
        kept: list[FaceObservation] = []
        for face in faces:
            others = np.array([other.box for other in kept]).reshape(-1, 4)
            if not (overlaps(face.box[None], others) > self._max_overlap).any():
                kept.append(face)
        return sorted(kept, key=self._place)

    def _place(self, face: FaceObservation) -> tuple[float, float]:
        """Centre of a face in display pixels: from left to right, then from top to bottom."""
        x, y = self._display[:, :2] @ face.box.reshape(2, 2).mean(axis=0) + self._display[:, 2]
        return float(x), float(y)


def observation(frame_index: int, mesh: Mesh, score: float) -> FaceObservation:
    """One row of the table, not yet on a track; the box is the points' extent."""
    points = mesh.landmarks.astype(np.float32)
    return FaceObservation(
        frame=frame_index,
        track=-1,
        box=np.concatenate([points.min(axis=0), points.max(axis=0)]),
        landmarks=points,
        score=score,
        visible=mesh.presence,
    )
