"""The canonical face: 468 vertices in space, and their places on a flat square.

The vertices are a mean of meshes of many frames, rigidly aligned and made symmetric
(``scripts/build_canonical_mesh.py``). Half unwrapped from an upright cylinder they give the
*layout*, in which textures are kept: u right, v down, 0..1. Units of the vertices: the height of
the face from the hairline's middle (vertex 10) to the chin (152) is 1; x right in the picture,
y down, z away from the camera.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Final

import numpy as np
from numpy.typing import NDArray

# Rings and groups of vertices in MediaPipe's numbering. "left" and "right" are sides of the picture
# of a person who looks at the camera, not of the person.
OVAL: Final = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
LEFT_EYE: Final = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
RIGHT_EYE: Final = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
LEFT_LIDS: Final = (226, 247, 30, 29, 27, 28, 56, 190, 243, 112, 26, 22, 23, 24, 110, 25)
RIGHT_LIDS: Final = (446, 467, 260, 259, 257, 258, 286, 414, 463, 341, 256, 252, 253, 254, 339, 255)
LEFT_BROW: Final = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
RIGHT_BROW: Final = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
FOREHEAD: Final = (
    127, 162, 21, 54, 103, 67, 109, 10, 338, 297, 332, 284, 251, 389, 356,
    300, 293, 334, 296, 336, 9, 107, 66, 105, 63, 70,
)  # fmt: skip
"""Hairline, temples and down to the upper edge of the brows."""
OUTER_LIPS: Final = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185,
)  # fmt: skip
INNER_LIPS: Final = (
    78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191,
)  # fmt: skip
MOUTH_CORNERS: Final = ((61, 76, 62), (291, 306, 292))
NOSE: Final = (
    168, 417, 465, 343, 437, 420, 360, 278, 294, 327, 326, 2, 97, 98, 64, 48, 131, 198, 217, 114,
    245, 193,
)  # fmt: skip
NOSTRILS: Final = ((98, 97, 2, 141, 44, 220, 115, 219), (327, 326, 2, 370, 274, 440, 344, 439))
STABLE: Final = (
    33, 133, 362, 263, 168, 6, 197, 195, 5, 4, 1, 2, 98, 327, 48, 278, 127, 356, 234, 454, 10, 151,
    9, 8, 50, 280, 117, 346, 71, 301, 68, 298,
)  # fmt: skip
"""Vertices that sit on bone: an expression hardly moves them."""

AXIS: Final = 0.45
"""How far the cylinder's axis lies behind the mesh's middle, in face heights."""
UNWRAP: Final = 0.25
"""Share of the cylinder in the layout; the rest is the plain front view, which leaves the eyes,
nose and mouth more of the square than the sides of the head."""
MARGIN: Final = 0.08
"""Free space around the face in the layout, as a share of the square."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CanonicalFace:
    """The canonical mesh and its layout."""

    vertices: NDArray[np.float64]
    """[468, 3] x y z in face heights."""
    layout: NDArray[np.float64]
    """[468, 2] u v, 0..1."""
    mirror: NDArray[np.intp]
    """[468] the vertex on the other side of the nose; mirror[mirror] is the identity."""


def canonical_face() -> CanonicalFace:
    """Read the canonical mesh that ships beside this file (2 ms)."""
    with files("kernels.mesh").joinpath("canonical.csv").open(encoding="ascii") as rows:
        vertices = np.loadtxt(rows, delimiter=",", skiprows=1)
    distance = ((vertices[:, None] * [-1, 1, 1] - vertices[None]) ** 2).sum(axis=2)
    angle = np.arctan2(vertices[:, 0], AXIS - vertices[:, 2])
    flat = np.stack([vertices[:, 0] + UNWRAP * angle, vertices[:, 1]], axis=1)
    low, high = flat.min(axis=0), flat.max(axis=0)
    layout = MARGIN + (1 - 2 * MARGIN) * (flat - low) / (high - low)
    return CanonicalFace(vertices=vertices, layout=layout, mirror=distance.argmin(axis=1))
