"""What the points of a landmarker are: how many, and which of them sit where on the face.

Two sets are known: the mesh of MediaPipe (468) and the mark-up of iBUG, on which the 68-point
networks were trained (C. Sagonas et al., "300 Faces in-the-Wild Challenge", 2013). Whoever needs
to know which set a face has asks for it by the number of its points. "right" and "left" are sides
of the person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from scheduler.errors import LandmarksUnfit

Place = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PointSet:
    """Points by their index."""

    name: str
    count: int
    eye_corners: tuple[int, int]
    """Outer corners of the right and of the left eye: their distance is the face's unit."""
    bones: Mapping[int, Place]
    """Points that sit on bone, and where they are on an upright face: x right, y down, in parts of
    the distance between the outer eye corners. What it is like exactly does not matter."""
    lips: tuple[int, ...]
    chin: tuple[int, ...]
    """Lower jaw without the lips."""
    right_eye: tuple[int, ...]
    """Lids and corners."""
    left_eye: tuple[int, ...]


MESH: Final = PointSet(
    name="mesh",
    count=468,
    eye_corners=(33, 263),
    bones={
        33: (-0.50, 0.00), 133: (-0.19, 0.01), 362: (0.19, 0.01), 263: (0.50, 0.00),
        168: (0.00, -0.08), 6: (0.00, 0.00), 197: (0.00, 0.08), 195: (0.00, 0.14),
        5: (0.00, 0.21), 4: (0.00, 0.30), 1: (0.00, 0.38), 2: (0.00, 0.46), 98: (-0.21, 0.43),
        327: (0.21, 0.43), 48: (-0.22, 0.36), 278: (0.22, 0.36), 127: (-0.76, 0.09),
        356: (0.76, 0.09), 234: (-0.75, 0.25), 454: (0.75, 0.25), 10: (0.00, -0.59),
        151: (0.00, -0.43), 9: (0.00, -0.26), 8: (0.00, -0.17), 50: (-0.56, 0.32),
        280: (0.56, 0.32), 117: (-0.58, 0.17), 346: (0.58, 0.17), 71: (-0.67, -0.19),
        301: (0.67, -0.19), 68: (-0.60, -0.30), 298: (0.60, -0.30),
    },
    lips=(
        0, 11, 12, 13, 14, 15, 16, 17, 37, 38, 39, 40, 41, 42, 43, 61, 62, 72, 73, 74, 76, 77, 78,
        80, 81, 82, 84, 85, 86, 87, 88, 89, 90, 91, 95, 96, 106, 146, 178, 179, 180, 181, 183, 184,
        185, 191, 204, 267, 268, 269, 270, 271, 272, 273, 291, 292, 302, 303, 304, 306, 307, 308,
        310, 311, 312, 314, 315, 316, 317, 318, 319, 320, 321, 324, 325, 335, 375, 402, 403, 404,
        405, 407, 408, 409, 415, 424,
    ),
    chin=(
        18, 32, 57, 58, 83, 135, 136, 138, 140, 148, 149, 150, 152, 169, 170, 171, 172, 175, 176,
        182, 194, 199, 200, 201, 202, 208, 210, 211, 212, 214, 262, 287, 288, 313, 364, 365, 367,
        369, 377, 378, 379, 394, 395, 396, 397, 400, 406, 418, 421, 422, 428, 430, 431, 432, 434,
    ),
    right_eye=(7, 33, 133, 144, 145, 153, 154, 155, 157, 158, 159, 160, 161, 163, 173, 246),
    left_eye=(249, 263, 362, 373, 374, 380, 381, 382, 384, 385, 386, 387, 388, 390, 398, 466),
)  # fmt: skip

IBUG: Final = PointSet(
    name="ibug",
    count=68,
    eye_corners=(36, 45),
    # The jaw's points lie where the face's edge is seen, not on bone: a turn of the head moves them
    # over the skin. The nose's and the eyes' corners stay.
    bones={
        36: (-0.50, 0.00), 39: (-0.19, 0.01), 42: (0.19, 0.01), 45: (0.50, 0.00),
        27: (0.00, -0.06), 28: (0.00, 0.10), 29: (0.00, 0.20), 30: (0.00, 0.30),
        31: (-0.15, 0.42), 32: (-0.08, 0.44), 33: (0.00, 0.46), 34: (0.08, 0.44), 35: (0.15, 0.42),
    },
    lips=tuple(range(48, 68)),
    chin=tuple(range(3, 14)),
    right_eye=tuple(range(36, 42)),
    left_eye=tuple(range(42, 48)),
)  # fmt: skip


def point_set(count: int) -> PointSet:
    """The set with that many points.

    Raises:
        LandmarksUnfit: no such set.
    """
    for points in (MESH, IBUG):
        if points.count == count:
            return points
    raise LandmarksUnfit(
        f"a face of {count} points",
        f"{MESH.count} (mesh) or {IBUG.count} (iBUG)",
        "choose one of them with --face-landmarker-model",
    )
