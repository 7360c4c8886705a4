"""A face laid flat on a small grid, and where each pixel of a crop lies on that grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from kernels.geometry import Affine
from kernels.mesh.canonical import canonical_face
from kernels.mesh.masks import face_masks
from kernels.mesh.thinplate import ThinPlate
from kernels.mesh.warp import grid_nodes, invert, jacobian, resample, spread

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Flags = NDArray[np.bool_]

WINDOW: Final = 128
"""Side of the picture in which a face is looked at, in pixels."""
GRID: Final = 32
"""Nodes along a side of the layout."""
NODES: Final = 32
"""Nodes along a side of a crop, on which the map is inverted."""
WIDER: Final = 1.05
"""Side of the window of a face over its extent."""
GRAZING: Final = 0.2
"""Least area of a node in the picture, over the median of the face's, for it to count as seen."""
_PAINTED: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Places:
    """Where the pixels of a crop lie on the face."""

    u: Floats
    """[s, s] in nodes, 0..31."""
    v: Floats
    inside: Flags
    """[s, s] on the face, and on the side that is seen."""
    changing: Flags
    """[s, s] between the lids and between the lips, and what they move over."""
    skin: Flags
    """[s, s] what looks about the same whatever the face does."""


class Unwrapper:
    """Lays faces flat. One takes 90 ms to make and 0.6 MB."""

    def __init__(self) -> None:
        face = canonical_face()
        self._sheet = ThinPlate(face.layout, grid_nodes(GRID), 1e-4)
        masks = face_masks(face, _PAINTED)
        features = np.maximum(_grown(masks.eyes, 0.03), _grown(masks.mouth, 0.015))
        self._face = _at_nodes(masks.blend) > 0.02
        changing = self._face & (_at_nodes(features) > 0.2)
        self.skin: Flags = self._face & ~changing & (_at_nodes(_grown(masks.lips, 0.015)) < 0.2)
        """[32, 32] nodes that look about the same whatever the face does."""
        flags = (self._face, changing, self.skin)
        self._regions = np.ascontiguousarray(np.dstack(flags).astype(np.uint8) * 255)

    def flatten(self, rgb: Bytes, points: Array) -> Bytes:
        """uint8 [32, 32, 4]: the face on the grid, R'G'B' and 255 where it is seen, else 0.

        Args:
            rgb: uint8 [s, s, 3] a crop that holds the face; about 3 pixels to a node are best.
            points: float64 [468, 2] its mesh in the crop.
        """
        field = self._field(points)
        area = spread(jacobian(field))
        middle = float(np.median(area[self._face]))
        inside = ((field >= 0) & (field <= len(rgb) - 1)).all(axis=2)
        seen = self._face & inside & (area > GRAZING * max(middle, 1e-6))
        out = np.empty((GRID, GRID, 4), np.uint8)
        smooth = cv2.blur(rgb, (3, 3), borderType=cv2.BORDER_REPLICATE)
        out[..., :3] = resample(cast(Floats, smooth), field[..., 0], field[..., 1])
        out[..., 3] = 255 * seen
        return out

    def places(self, points: Array, size: int) -> Places:
        """Where the pixels of a crop [size, size] lie.

        Args:
            points: float64 [468, 2] the mesh in the crop.
        """
        field = self._field((points + 0.5) * (NODES / size) - 0.5)
        nodes, miss = invert(field, NODES, steps=2)
        x, y = cast("list[Floats]", cv2.split(nodes))
        miss[spread(resample(jacobian(field), x, y)) <= 0] = 9
        whole = (size, size)
        u, v, off = (
            cast(Floats, cv2.resize(plane, whole, interpolation=cv2.INTER_LINEAR))
            for plane in (x, y, miss)
        )
        regions = cv2.remap(self._regions, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        face, changing, skin = (plane > 127 for plane in cv2.split(regions))
        inside = face & (off < 1)
        return Places(u=u, v=v, inside=inside, changing=inside & changing, skin=inside & skin)

    def _field(self, points: Array) -> Floats:
        """[32, 32, 2] where the nodes lie in the picture."""
        return self._sheet.quick(points).reshape(GRID, GRID, 2)


def window(points: Array, size: int) -> Affine:
    """float64 [2, 3] picture -> a crop of [size, size] that just holds a face.

    Args:
        points: float64 [468, 2] the mesh in the picture.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    scale = size / max(WIDER * float((high - low).max()), 1e-6)
    x, y = (size - 1) / 2 - scale * (low + high) / 2
    return np.array([[scale, 0.0, x], [0.0, scale, y]])


def _at_nodes(mask: Floats) -> Floats:
    line = (np.linspace(0, 1, GRID) * len(mask) - 0.5).astype(np.float32)
    x, y = np.meshgrid(line, line)
    return resample(mask, x, y)


def _grown(mask: Floats, by: float) -> Floats:
    side = 2 * round(by * len(mask)) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return cast(Floats, cv2.dilate(mask, disc))
