"""The mesh swapper: the source face's texture, worn by the target's mesh.

No network takes part, so it works on day one on any machine. How it works: docs/mesh-swapper.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from actors.swapper import AlignedFace
from kernels.mesh.canonical import OVAL, canonical_face
from kernels.mesh.masks import face_masks
from kernels.mesh.pose import FACE, Camera, crop_affine, turn
from kernels.mesh.texture import FaceTexture, face_texture, merge
from kernels.mesh.thinplate import ThinPlate
from kernels.mesh.warp import grid_nodes, invert, jacobian, resample, spread, texel_nodes
from kernels.mesh.wear import costume, wear
from scheduler.points import MESH

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

GRID: Final = 64
"""Nodes along a side of the layout's grid."""
NODES: Final = 96
"""Nodes along a side of the crop's grid, on which the map is inverted."""
SMOOTHING: Final = 1e-4
SHAPE: Final = 0.4
"""How much of the way to the source's proportions the target's features move."""
ALIGNMENT: Final = 16
"""Edges of the worked-on part of a crop lie on multiples of this, so that shrunk pictures of it
have the same pixels whichever part it is."""

# Which vertices carry proportions, and how far they follow the source. Those that an expression
# moves (lids, lips, chin) do not: they go along with what is around them.
_HANDLES: Final = {
    1.0: (33, 133, 362, 263, 168, 6, 197, 195, 5, 4, 1, 2, 98, 327, 48, 278),
    0.4: (105, 334, 107, 336),
    0.6: (50, 280),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SourceFace:
    """A picture of the person to put on, and where the face is in it."""

    image: NDArray[np.uint8]
    """[h, w, 3] R'G'B'."""
    landmarks: NDArray[np.floating]
    """[468, 2] in pixels of the image."""


class MeshSwapper:
    """A ``FaceSwapper`` (actors/swapper.py) that paints with one person's pictures.

    Args:
        sources: at least one. Several are merged: each place of the face is taken from where it
            is seen best.
        size: side of the crop in pixels, 128 to 1024.

    Raises:
        ValueError: no source, arrays of other shapes, or a size out of range.
    """

    def __init__(self, sources: Sequence[SourceFace], size: int = 256) -> None:
        if not sources:
            raise ValueError("no source face; wanted at least one")
        if not 128 <= size <= 1024:
            raise ValueError(f"a crop of {size} pixels; wanted 128 to 1024")
        self._size = size
        self._texels = 320 if size <= 320 else 448
        face = canonical_face()
        self._camera = Camera(face)
        self._sheet = ThinPlate(face.layout, grid_nodes(GRID), SMOOTHING)
        self._handles, self._follow = _handles(face.layout)
        masks = face_masks(face, self._texels)
        unwrapped = [self._unwrap(source) for source in sources]
        textures = [face_texture(rgb, seen, masks) for rgb, seen in unwrapped]
        # Of several pictures the larger one counts more: half the side, a quarter of the say.
        says = [self._density(source) ** 2 for source in sources]
        self.texture: FaceTexture = merge(textures, says)
        self._costume = costume(self.texture, masks)
        self._blend = masks.blend
        self._shape: Array = np.mean([self._proportions(source) for source in sources], axis=0)
        # The share of a node's area that is seen is measured against the face seen from the front.
        front = self._field(face.vertices[:, :2] * FACE * NODES)
        self._facing = float(np.median(spread(jacobian(front))))

    @property
    def size(self) -> int:
        return self._size

    @property
    def batch(self) -> int:
        return 1

    def affine(self, landmarks: NDArray[np.floating]) -> Array:
        """The crop of a face; see ``FaceSwapper.affine``.

        Raises:
            ValueError: landmarks of another shape, not finite, or without extent.
        """
        return crop_affine(self._camera.fit(_checked(landmarks)), self._size)

    def swap_all(self, faces: Sequence[AlignedFace]) -> None:
        """Swap faces, one after the other; see ``FaceSwapper.swap_all``."""
        for face in faces:
            self.swap(face.crop, face.landmarks, face.out)

    def swap(self, crop: Floats, landmarks: NDArray[np.floating], out: Floats) -> None:
        """Swap one face.

        Args:
            crop: float32 [size, size, 3] R'G'B' 0..1.
            landmarks: [468, 2] in crop pixels.
            out: float32 [size, size, 4], filled; see ``AlignedFace.out``. Where the mask is zero
                the crop is unchanged.
        Raises:
            ValueError: arrays of other shapes, or landmarks that are no face.
        """
        size = self._size
        if crop.shape != (size, size, 3) or out.shape != (size, size, 4):
            raise ValueError(f"crop {crop.shape} and out {out.shape} for a swapper of {size}")
        points = _checked(landmarks)
        moved = self._reshaped(points)
        out[..., :3] = crop
        out[..., 3] = 0
        part = self._part(moved)
        if part is None:
            return
        rows, columns = part
        maps, seen, mask = self._maps(points, moved)
        x = np.arange(columns.start, columns.stop, dtype=np.float32)
        y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None]
        u, v, right, down = cast("list[Floats]", cv2.split(maps[part]))
        target = cast(
            Floats,
            cv2.remap(crop, right + x, down + y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE),
        )
        rgb = wear(
            target,
            resample(self._costume.paint, u, v),
            _look_up(self._costume.regions, u, v),
            _look_up(self._costume.more, u, v),
            seen[part],
            size,
        )
        mask = mask[part] * (_ramp(x, size) * _ramp(y, size) * self._trust(points))
        out[rows, columns, 3] = mask
        # Towards the mask's edge the change itself ends, so a blend of wide bands finds no seam.
        change = rgb - crop[part]
        change *= np.minimum(4 * mask, 1)[..., None]
        out[rows, columns, :3] += change

    def _reshaped(self, points: Array) -> Array:
        """[468, 2] the target's vertices with some of the source's proportions."""
        camera = self._camera.fit(points)
        wanted = self._camera.project(camera) + self._shape @ camera[:, :2].T
        handles = self._handles
        # Proportions are only known across a frontal face: a turned one keeps its own profile.
        amount = min(max((0.6 - turn(camera)) / 0.35, 0.0), 1.0)
        return points + self._follow @ (amount * (wanted[handles] - points[handles]))

    def _trust(self, points: Array) -> np.float32:
        """1 for faces up to about 50 degrees aside, 0 for profiles, of which no mesh is right."""
        return np.float32(min(max((0.95 - turn(self._camera.fit(points))) / 0.2, 0.0), 1.0))

    def _part(self, moved: Array) -> tuple[slice, slice] | None:
        """Rows and columns of the crop that the face touches."""
        low = np.floor(moved.min(axis=0) / ALIGNMENT) * ALIGNMENT
        high = np.ceil((moved.max(axis=0) + 1) / ALIGNMENT) * ALIGNMENT
        x0, y0, x1, y1 = np.clip([*low, *high], 0, self._size).astype(int).tolist()
        if x1 <= x0 or y1 <= y0:
            return None
        return slice(y0, y1), slice(x0, x1)

    def _maps(self, points: Array, moved: Array) -> tuple[Floats, Floats, Floats]:
        """For each pixel of the crop: its texel u v and the shift back to the target x y, both in
        [s, s, 4]; how squarely it is seen [s, s]; the blend mask [s, s]."""
        ratio = NODES / self._size
        both = self._field(np.hstack([(moved + 0.5) * ratio - 0.5, points - moved]))
        field, back = np.ascontiguousarray(both[..., :2]), np.ascontiguousarray(both[..., 2:])
        nodes, miss = invert(field, NODES)
        x, y = np.ascontiguousarray(nodes[..., 0]), np.ascontiguousarray(nodes[..., 1])
        area = spread(resample(jacobian(field), x, y)) / np.float32(self._facing)
        # A place is seen where the map was met, is not looked at along its surface, and does not
        # lie on the head's contour, where one pixel aside is the wall behind it.
        seen = np.clip(1.5 - miss, 0, 1) * np.clip((area - 0.12) / 0.25, 0, 1)
        inside = _inside((moved + 0.5) * ratio - 0.5)
        # The mask is made at the map's own resolution, where it can be smoothed across its folds.
        texel = self._texels / (GRID - 1)
        blend = resample(self._blend, x * texel - 0.5, y * texel - 0.5) * seen
        mask = cv2.GaussianBlur(blend, (0, 0), 1.5) * inside
        seen = cv2.GaussianBlur(seen, (0, 0), 1.2) * inside
        packed = np.dstack([nodes * texel - 0.5, resample(back, x, y)]).astype(np.float32)
        whole = (self._size, self._size)
        fine, seen, mask = (
            cast(Floats, cv2.resize(field, whole, interpolation=cv2.INTER_LINEAR))
            for field in (packed, seen, mask)
        )
        return fine, seen, mask

    def _field(self, values: Array) -> Floats:
        """[GRID, GRID, c] values [468, c] of the vertices as smooth sheets over the layout."""
        return self._sheet.quick(values).reshape(GRID, GRID, -1)

    def _proportions(self, source: SourceFace) -> Array:
        """[468, 2] how the source differs from the canonical face, in canonical units."""
        points = _checked(source.landmarks)
        camera = self._camera.fit(points)
        difference: Array = (points - self._camera.project(camera)) @ np.linalg.inv(camera[:, :2]).T
        return difference

    def _density(self, source: SourceFace) -> float:
        """Pixels of the source to a texel, at most 1."""
        return min(1.0, float(np.ptp(source.landmarks, axis=0).max()) / self._texels)

    def _unwrap(self, source: SourceFace) -> tuple[Floats, Floats]:
        """The source in the layout: R'G'B' 0..1 [n, n, 3] and how squarely it was seen [n, n]."""
        image, points = source.image, _checked(source.landmarks)
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"source image {image.shape} {image.dtype}; wanted uint8 [h, w, 3]")
        density = float(np.ptp(points, axis=0).max()) / self._texels
        if density > 1:
            # More pixels than texels: area-filter first, or the look-up would alias.
            h, w = image.shape[:2]
            small = (max(1, round(w / density)), max(1, round(h / density)))
            image = cast(Bytes, cv2.resize(image, small, interpolation=cv2.INTER_AREA))
            points = (points + 0.5) * (np.array(small) / (w, h)) - 0.5
        field = self._field(points)
        x, y = texel_nodes(self._texels, GRID)
        at = resample(field, x, y)
        rgb = cv2.remap(
            image, at[..., 0], at[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        area = spread(resample(jacobian(field), x, y))
        third = slice(self._texels // 3, 2 * self._texels // 3)
        middle = float(np.median(area[third, third]))
        seen = np.clip((area / middle - 0.2) / 0.3, 0, 1).astype(np.float32)
        return cast(Floats, rgb.astype(np.float32) / 255), cast(
            Floats, cv2.GaussianBlur(seen, (0, 0), 0.012 * self._texels)
        )


def _handles(layout: Array) -> tuple[list[int], Array]:
    """Vertices that carry proportions, and [468, handles] how each vertex follows them."""
    vertices = [vertex for group in _HANDLES.values() for vertex in group]
    weights = [weight for weight, group in _HANDLES.items() for _ in group]
    # The outline is held, so that nothing outside the face has to move.
    control = layout[[*vertices, *OVAL]]
    held = np.zeros((len(control), len(vertices)))
    held[: len(vertices)] = np.eye(len(vertices))
    follow = ThinPlate(control, layout, 2e-3).at(held)
    return vertices, follow * (SHAPE * np.array(weights))


def _checked(landmarks: NDArray[np.floating]) -> Array:
    if landmarks.shape != (MESH.count, 2):
        raise ValueError(f"landmarks {landmarks.shape}; wanted [{MESH.count}, 2]")
    return landmarks.astype(np.float64)


def _look_up(texture: NDArray[np.uint8], u: Floats, v: Floats) -> NDArray[np.uint8]:
    out = cv2.remap(texture, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return cast(NDArray[np.uint8], out)


def _inside(points: Array) -> Floats:
    """[NODES, NODES] 1 inside the contour of the points, 0 on it and beyond."""
    canvas = np.zeros((NODES, NODES), np.uint8)
    hull = cv2.convexHull(np.rint(points * 16).astype(np.int32))
    cv2.fillConvexPoly(canvas, hull, 255, cv2.LINE_AA, 4)
    soft = cv2.GaussianBlur(canvas.astype(np.float32) / 255, (0, 0), 2.5)
    return cast(Floats, np.clip(2 * soft - 1, 0, 1))


def _ramp(at: Floats, size: int) -> Floats:
    """0 within a thirtysecond of the crop's border, 1 beyond three of them."""
    step = np.float32(size / 32)
    inner = np.minimum(at, np.float32(size - 1) - at)
    return cast(Floats, np.clip((inner - step) / (2 * step), 0, 1))
