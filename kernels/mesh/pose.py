"""How a face is held: an affine camera from the canonical mesh to the picture."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from kernels.mesh.canonical import STABLE, CanonicalFace

Array = NDArray[np.float64]

CENTRE: Final = (0.0, 0.16, 0.05)
"""What the crop is centred on, in canonical units: between the eyes and the mouth."""
FACE: Final = 0.62
"""Height of the face from hairline to chin, as a share of the crop: an open mouth still fits."""


class Camera:
    """Fits the canonical mesh to landmarks by least squares over vertices that sit on bone."""

    def __init__(self, face: CanonicalFace) -> None:
        self._homogeneous = np.concatenate([face.vertices, np.ones((len(face.vertices), 1))], 1)
        self._fit = np.linalg.pinv(self._homogeneous[list(STABLE)])

    def fit(self, landmarks: Array) -> Array:
        """[2, 4] canonical x y z 1 -> picture, from landmarks [468, 2].

        Raises:
            ValueError: a landmark is not finite, or the stable ones all lie on a line.
        """
        if not np.isfinite(landmarks).all():
            raise ValueError("landmarks with values that are not finite")
        camera: Array = (self._fit @ landmarks[list(STABLE)]).T
        if not np.linalg.svd(camera[:, :3], compute_uv=False)[-1] > 1e-6:
            raise ValueError("landmarks without extent: no face can be fitted to them")
        return camera

    def project(self, camera: Array) -> Array:
        """[468, 2] the canonical mesh as that camera sees it."""
        projected: Array = self._homogeneous @ camera.T
        return projected


def crop_affine(camera: Array, size: int) -> Array:
    """float64 [2, 3] picture -> crop: the face upright, of one size however it is turned.

    Size and centre come from the fitted camera and not from distances in the picture, so a face
    that turns away does not swell in its crop.
    """
    scale = FACE * size / float(np.linalg.svd(camera[:, :3], compute_uv=False).mean())
    roll = np.arctan2(-camera[0, 1], camera[1, 1])
    cos, sin = scale * np.cos(roll), scale * np.sin(roll)
    linear = np.array([[cos, sin], [-sin, cos]])
    centre = camera @ np.array([*CENTRE, 1.0])
    return np.column_stack([linear, (size - 1) / 2 - linear @ centre])


def turn(camera: Array) -> float:
    """Sine of the angle between the face's forward direction and the line of sight, 0..1."""
    scale = float(np.linalg.svd(camera[:, :3], compute_uv=False).mean())
    return min(float(np.hypot(camera[0, 2], camera[1, 2])) / scale, 1.0)
