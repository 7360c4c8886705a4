"""What the two networks see in one picture by itself: detector, then mesh in two passes."""

from __future__ import annotations

import numpy as np

from actors.detector import FaceDetector
from actors.landmarker import FaceLandmarker
from actors.models import ModelStore
from actors.toolbox import DETECTOR, LANDMARKER
from kernels.cpu import CpuKernels
from kernels.picture import Picture
from scheduler.tracks import FaceObservation


class RawEye:
    """Looks at single upright pictures."""

    def __init__(self, models: ModelStore) -> None:
        self._detector = FaceDetector(models.path(DETECTOR))
        self._landmarker = FaceLandmarker(models.path(LANDMARKER))
        self._kernels = CpuKernels()

    def faces(self, picture: Picture, frame: int = 0) -> list[FaceObservation]:
        display = np.eye(2, 3)
        found = []
        for detection in self._detector.detect(picture, display, self._kernels):
            mesh = self._landmarker.locate(picture, detection, display, self._kernels)
            points = mesh.landmarks.astype(np.float32)
            if mesh.presence >= 0.5:
                face = FaceObservation(
                    frame=frame,
                    track=-1,
                    box=np.concatenate([points.min(axis=0), points.max(axis=0)]),
                    landmarks=points,
                    score=detection.score,
                    visible=mesh.presence,
                )
                found.append(face)
        return found
