"""Where a face's points lie in the crops that networks were trained on, and those points.

Five points stand for a face: left eye, right eye, tip of the nose, left and right corner of the
mouth, left and right as a viewer sees them. They come from a detector's own five, from the 68
points of the iBUG scheme, or from the 468 vertices of the mesh.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from kernels.geometry import Affine, Points, similarity

TEMPLATES: Final[dict[str, tuple[tuple[float, float], ...]]] = {
    "arcface_112_v1": (
        (0.35473214, 0.45658929),
        (0.64526786, 0.45658929),
        (0.50000000, 0.61154464),
        (0.37913393, 0.77687500),
        (0.62086607, 0.77687500),
    ),
    "arcface_112_v2": (
        (0.34191607, 0.46157411),
        (0.65653393, 0.45983393),
        (0.50022500, 0.64050536),
        (0.37097589, 0.82469196),
        (0.63151696, 0.82325089),
    ),
    "arcface_128": (
        (0.36167656, 0.40387734),
        (0.63696719, 0.40235469),
        (0.50019687, 0.56044219),
        (0.38710391, 0.72160547),
        (0.61507734, 0.72034453),
    ),
    "ffhq_512": (
        (0.37691676, 0.46864664),
        (0.62285697, 0.46912813),
        (0.50123859, 0.61331904),
        (0.39308822, 0.72541100),
        (0.61150205, 0.72490465),
    ),
    "mtcnn_512": (
        (0.36562865, 0.46733799),
        (0.63305391, 0.46585885),
        (0.50019127, 0.61942959),
        (0.39032951, 0.77598822),
        (0.61178945, 0.77476328),
    ),
    "dfl_whole_face": (
        (0.35342266, 0.39285716),
        (0.62797622, 0.39285716),
        (0.48660713, 0.54017860),
        (0.38839287, 0.68750011),
        (0.59821427, 0.68750011),
    ),
}
"""Points as shares of the crop's side, in the order of ``five_points``: share x side is a place in
pixels, centres on whole numbers."""

MESH: Final = 468
IBUG: Final = 68

_LEFT_EYE: Final = (36, 37, 38, 39, 40, 41)
_RIGHT_EYE: Final = (42, 43, 44, 45, 46, 47)
_NOSE, _LEFT_MOUTH, _RIGHT_MOUTH = 30, 48, 54

_MESH_NOSE: Final = (1, 4)
"""Above and below the tip that the 68 points mean: their middle fits the templates best."""

IBUG_OF_MESH: Final = (
    *(127, 234, 93, 132, 58, 172, 150, 176, 152, 400, 379, 397, 288, 361, 323, 454, 356),
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),
    *(168, 197, 5, 4, 98, 97, 2, 326, 327),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),
    *(78, 81, 13, 311, 308, 402, 14, 178),
)
"""The mesh vertex nearest to each of the 68 points: jaw, brows, nose, eyes, lips."""


def ibug_points(landmarks: NDArray[np.floating]) -> Points:
    """float64 [68, 2] in the iBUG scheme.

    Args:
        landmarks: [68, 2], given back, or [468, 2] of the mesh.
    Raises ValueError: another number of points.
    """
    if landmarks.shape == (IBUG, 2):
        return landmarks.astype(np.float64)
    if landmarks.shape == (MESH, 2):
        return landmarks[list(IBUG_OF_MESH)].astype(np.float64)
    raise ValueError(f"landmarks {landmarks.shape}; wanted [{IBUG}, 2] or [{MESH}, 2]")


def five_points(landmarks: NDArray[np.floating]) -> Points:
    """float64 [5, 2]: eyes, nose, mouth corners; left before right as a viewer sees them.

    Args:
        landmarks: [5, 2], given back; [68, 2] (eyes: mean of the lids); [468, 2] of the mesh.
    Raises ValueError: another number of points.
    """
    if landmarks.shape == (5, 2):
        return landmarks.astype(np.float64)
    points = ibug_points(landmarks)
    nose = points[_NOSE]
    if len(landmarks) == MESH:
        nose = landmarks[list(_MESH_NOSE)].astype(np.float64).mean(axis=0)
    return np.array(
        [
            points[list(_LEFT_EYE)].mean(axis=0),
            points[list(_RIGHT_EYE)].mean(axis=0),
            nose,
            points[_LEFT_MOUTH],
            points[_RIGHT_MOUTH],
        ]
    )


def template_points(template: str, size: float) -> Points:
    """float64 [5, 2] of a template of TEMPLATES in a crop of ``size`` pixels."""
    return np.array(TEMPLATES[template]) * size


def template_affine(landmarks: NDArray[np.floating], template: str, size: float) -> Affine:
    """The similarity that brings a face onto a template, least squares over its five points.

    Args:
        landmarks: [5, 2], [68, 2] or [468, 2].
        template: a name of TEMPLATES.
        size: side of the crop in pixels.
    Returns: float64 [2, 3], the landmarks' pixels -> crop pixels.
    Raises ValueError: other landmarks, not finite, or all in one place.
    """
    return similarity(five_points(landmarks), template_points(template, size))
