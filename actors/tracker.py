"""Which faces a frame shows, and their landmarks: one observation for each.

Every frame is looked at by itself, so that the result does not depend on where a chunk starts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from actors.detector import Detection, FaceDetector, overlap
from actors.landmarker import FaceLandmarker
from kernels.api import Kernels
from kernels.picture import Picture
from scheduler.tracks import FaceObservation


class Tracker:
    """Observes the faces of single frames.

    Args:
        detector: finds them.
        landmarker: puts the mesh on each.
        kernels: makes the pictures that the two networks read.
        display: float64 [2, 3], coded frame pixels -> upright display pixels.
        min_presence: a mesh whose network is less sure is no face.
        max_overlap: meshes whose extents overlap more (intersection over union) are one face.
    """

    def __init__(
        self,
        detector: FaceDetector,
        landmarker: FaceLandmarker,
        kernels: Kernels,
        display: NDArray[np.float64],
        *,
        min_presence: float = 0.5,
        max_overlap: float = 0.5,
    ) -> None:
        self._detector = detector
        self._landmarker = landmarker
        self._kernels = kernels
        self._display = display
        self._min_presence = min_presence
        self._max_overlap = max_overlap

    def thumbnail(self, picture: Picture) -> NDArray[np.uint8]:
        """uint8 [192, 192, 3] R'G'B': the upright frame, fitted in, centred, black around it."""
        return self._detector.thumbnail(picture, self._display, self._kernels)

    def observe(
        self,
        picture: Picture,
        frame_index: int,
        thumbnail: NDArray[np.uint8] | None = None,
    ) -> list[FaceObservation]:
        """The faces of one frame, from left to right as a viewer sees them; ``track`` is -1.

        Args:
            picture: as decoded, in coded orientation.
            frame_index: 0-based presentation order in the film.
            thumbnail: ``self.thumbnail(picture)`` where the caller made it already.

        Returns:
            Box (the mesh's extent) and landmarks in pixels of the coded picture.
        """
        if thumbnail is None:
            thumbnail = self.thumbnail(picture)
        faces = [
            face
            for detection in self._detector.detect_thumbnail(
                thumbnail, picture.format, self._display
            )
            if (face := self._observe(picture, frame_index, detection)).visible
            >= self._min_presence
        ]
        kept: list[FaceObservation] = []
        # Best first: of two meshes on one face, the one that the detector was surer of stays.
        for face in faces:
            others = np.array([other.box for other in kept]).reshape(-1, 4)
            if not (overlap(face.box, others) > self._max_overlap).any():
                kept.append(face)
        return sorted(kept, key=self._place)

    def _observe(self, picture: Picture, frame: int, detection: Detection) -> FaceObservation:
        mesh = self._landmarker.locate(picture, detection, self._display, self._kernels)
        points = mesh.landmarks.astype(np.float32)
        return FaceObservation(
            frame=frame,
            track=-1,
            box=np.concatenate([points.min(axis=0), points.max(axis=0)]),
            landmarks=points,
            score=detection.score,
            visible=mesh.presence,
        )

    def _place(self, face: FaceObservation) -> tuple[float, float]:
        """Centre of a face in display pixels: from left to right, then from top to bottom."""
        x, y = self._display[:, :2] @ face.box.reshape(2, 2).mean(axis=0) + self._display[:, 2]
        return float(x), float(y)
