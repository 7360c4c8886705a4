"""How faces are looked for: which networks, at what size, how sure they must be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DETECTORS: Final = ("blazeface", "retinaface", "scrfd", "yolo_face", "yunet", "many")
LANDMARKERS: Final = ("mesh", "2dfan4", "peppa_wutz", "many")
ANGLES: Final = (0, 90, 180, 270)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorSettings:
    """Where the faces of a frame are."""

    model: str = "blazeface"
    """One of DETECTORS; many: retinaface, scrfd and yolo_face together."""
    size: int = 640
    """Side of the canvas that a network with a free size sees, in pixels."""
    score: float = 0.5
    """0..1; faces that the network is less sure of do not count."""
    margin: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Added around the picture before it is looked at: top, right, bottom, left, in percent of
    half of the side (100: half of it, as in FaceFusion)."""
    angles: tuple[int, ...] = (0,)
    """Turns of the picture against the clock at which faces are looked for, of ANGLES."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LandmarkerSettings:
    """Where the points of a face are."""

    model: str = "mesh"
    """One of LANDMARKERS. mesh: 468 points; the others: 68."""
    score: float = 0.5
    """0..1; below it the 68 points are guessed from the detector's five."""
    precision: str = "fp32"
    """fp32, int8 or auto: which files of 2dfan4 and peppa_wutz are run."""
