"""Pictures of faces whose motion is known exactly: real stills, moved, turned and made to talk.

A still keeps its people; what moves is known because we move it. A whole still goes along a path of
similarities (a camera that pans, rolls and zooms). A face in it can also turn, open its mouth and
shut its eyes: its mesh is a textured surface in space, drawn by triangles from far to near; around
it a ring of vertices that stays with the still closes the surface. Cut out along a ring that goes
with the head, a face can pass before another one.

What a mesh network calls "vertex 33" is not a thing in the world. So the truth is what the network
sees on average, as a smooth function of the pose, in a rehearsal (the same kind of motion at
another time, with its own noise), carried along by the exact motion. How its answer varies with
noise, blur, compression and place is error; that it has an opinion of its own is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from kernels.geometry import apply, compose
from kernels.mesh.canonical import INNER_LIPS, OVAL, canonical_face
from kernels.mesh.thinplate import ThinPlate
from kernels.picture import Picture, PictureFormat

Array = NDArray[np.float64]
Rgb = NDArray[np.uint8]

SIZE: Final = (640, 360)
SHARPER: Final = 3
"""The still is enlarged so much before it is read linearly: places are then right to 1/100 px."""
RIDGE: Final = 1.0
"""How many frames' worth of doubt there is that the pose matters to a response at all."""
FINER: Final = 2
"""Frames are drawn so much larger and then averaged down."""
EYES: Final = (33, 263)
UPPER_LIDS: Final = ((246, 161, 160, 159, 158, 157, 173), (466, 388, 387, 386, 385, 384, 398))
LOWER_LIDS: Final = ((7, 163, 144, 145, 153, 154, 155), (249, 390, 373, 374, 380, 381, 382))
LOWER_LIP: Final = (95, 88, 178, 87, 14, 317, 402, 318, 324)
UNDER_LIP: Final = (146, 91, 181, 84, 17, 314, 405, 321, 375)
STILL: Final = (
    *(61, 291, 78, 308, 185, 40, 39, 37, 0, 267, 269, 270, 409, 191, 80, 81, 82, 13, 312, 311),
    *(310, 415, 1, 2, 98, 327, 50, 280, 205, 425, 33, 263, 133, 362, 10, 234, 454, 93, 323, 168),
    *(207, 427, 203, 423, 76, 306, 62, 292),
)
"""Vertices that stay when the mouth opens."""
JAW: Final = (152, 148, 377, 176, 400, 199, 175, 171, 396)
MOUTH: Final = (13, 14)
LIDS: Final = ((159, 145), (386, 374))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pose:
    """How a face is held in one instant."""

    affine: Array
    """float64 [2, 3], a similarity: still -> frame."""
    yaw: float = 0.0
    """Radians about the vertical axis of the head."""
    mouth: float = 0.0
    """Gap between the lips beyond the still's, over the inter-ocular distance."""
    blink: float = 0.0
    """0 as in the still, 1 shut. Not drawn; see ``Face.shut``."""


@dataclass(frozen=True, slots=True, eq=False)
class Response:
    """What a network sees of one face beyond its moved mesh, as a polynomial of the pose."""

    mean: Array
    """[468, 2] in pixels of the still."""
    slopes: Array
    """[terms, 468, 2]"""
    middle: Array
    """[terms] where the mean holds."""

    @classmethod
    def learn(cls, poses: list[Pose], offsets: Array) -> Response:
        """Ridge regression on ``offsets`` [n, 468, 2], seen minus moved, in the still."""
        terms = np.stack([_terms(pose) for pose in poses])
        mean, middle = offsets.mean(axis=0), terms.mean(axis=0)
        terms = terms - middle
        flat = (offsets - mean).reshape(len(poses), -1)
        normal = terms.T @ terms + RIDGE * np.eye(terms.shape[1])
        slopes = np.linalg.solve(normal, terms.T @ flat).reshape(-1, *mean.shape)
        return cls(mean, slopes, middle)

    def at(self, pose: Pose) -> Array:
        offset: Array = self.mean + np.tensordot(_terms(pose) - self.middle, self.slopes, 1)
        return offset


@dataclass(eq=False)
class Face:
    """One face of a still, as a surface that can be moved.

    Args:
        points: [468, 2] its mesh in the still.
    """

    points: Array

    @cached_property
    def iod(self) -> float:
        """Distance of the outer corners of the eyes in pixels of the still."""
        return float(np.hypot(*(self.points[EYES[1]] - self.points[EYES[0]])))

    @cached_property
    def _depth(self) -> Array:
        z = canonical_face().vertices[:, 2]
        return z * float(np.hypot(*(self.points[152] - self.points[10])))

    @cached_property
    def _down(self) -> Array:
        down = self.points[152] - self.points[10]
        return down / np.hypot(*down)

    @cached_property
    def _jaw(self) -> Array:
        """[468] how far each vertex goes with the lower jaw, 0..1."""
        return _jaw_weights()

    def moved(self, pose: Pose) -> tuple[Array, Array]:
        """([468, 2], [468]) vertices in pixels of the still before ``pose.affine``, and depth."""
        points = self.points.copy()
        points += (pose.mouth * self.iod) * self._jaw[:, None] * self._down
        cos, sin = np.cos(pose.yaw), np.sin(pose.yaw)
        x0 = self.points[[EYES[0], EYES[1]]].mean(axis=0)[0]
        z = self._depth - self._depth[[234, 454]].mean()
        x = points[:, 0] - x0
        points[:, 0] = x0 + cos * x - sin * z
        return points, sin * x + cos * z

    def truth(self, pose: Pose, response: Response | None = None) -> Array:
        """[468, 2] where the network sees the vertices on average, in pixels of the frame."""
        points, _ = self.moved(pose)
        if response:
            points = points + response.at(pose)
        return apply(pose.affine, points + self.shut(pose.blink))

    def shut(self, blink: float) -> Array:
        """[468, 2] how a blink moves the upper lids, in pixels of the still."""
        shift = np.zeros((468, 2))
        for upper, lower in zip(UPPER_LIDS, LOWER_LIDS, strict=True):
            shift[list(upper)] = (
                0.92 * blink * (self.points[list(lower)] - self.points[list(upper)])
            )
        return shift

    @cached_property
    def _triangles(self) -> NDArray[np.intp]:
        """[n, 3] over the 468 vertices and the ring of 36 around them."""
        # With the mouth open, so that no triangle spans both lips.
        layout = canonical_face().layout + 0.12 * _jaw_weights()[:, None] * [0, 1]
        centre = layout[list(OVAL)].mean(axis=0)
        both = np.concatenate([layout, centre + 1.4 * (layout[list(OVAL)] - centre)])
        grid = cv2.Subdiv2D((-1000, -1000, 3000, 3000))
        grid.insert([(float(x), float(y)) for x, y in both * 1000])
        corners = grid.getTriangleList().reshape(-1, 3, 2) / 1000
        away = ((corners[:, :, None] - both[None, None]) ** 2).sum(axis=3)
        inside = away.min(axis=2).max(axis=1) < 1e-9
        found: NDArray[np.intp] = away.argmin(axis=2)[inside]
        return found

    @cached_property
    def _ring(self) -> Array:
        centre = self.points[list(OVAL)].mean(axis=0)
        ring: Array = centre + 1.5 * (self.points[list(OVAL)] - centre)
        return ring

    def surface(self, pose: Pose, *, cut_out: bool) -> tuple[Array, Array, Array]:
        """(vertices in the still [504, 2], in the frame [504, 2], depth [504])."""
        moved, depth = self.moved(pose)
        ring = self._ring
        if cut_out:
            middle = self.points[[EYES[0], EYES[1]]].mean(axis=0)[0]
            turned = ring.copy()
            turned[:, 0] = middle + np.cos(pose.yaw) * (ring[:, 0] - middle)
        else:
            turned = ring
        behind = np.full(len(ring), depth.max() + 1)
        return (
            np.concatenate([self.points, ring]),
            apply(pose.affine, np.concatenate([moved, turned])),
            np.concatenate([depth, behind]),
        )

    def draw(self, canvas: Rgb, large: Rgb, pose: Pose, *, cut_out: bool) -> None:
        """Draw the surface into a canvas [h, w, 3] that is ``FINER`` times the frame's size."""
        source, target, depth = self.surface(pose, cut_out=cut_out)
        target = (target + 0.5) * FINER - 0.5
        triangles = self._triangles
        triangles = triangles[np.argsort(-depth[triangles].mean(axis=1), kind="stable")]
        a, b, c = (target[triangles[:, i]] for i in range(3))
        area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
        first = source[triangles]
        facing = np.sign(
            (first[:, 1] - first[:, 0])[:, 0] * (first[:, 2] - first[:, 0])[:, 1]
            - (first[:, 1] - first[:, 0])[:, 1] * (first[:, 2] - first[:, 0])[:, 0]
        )
        keep = area * facing > 1e-3
        triangles = triangles[keep]
        corners = target[triangles]
        low = np.floor(corners.min(axis=(0, 1))).astype(int) - 2
        high = np.ceil(corners.max(axis=(0, 1))).astype(int) + 3
        low, high = np.maximum(low, 0), np.minimum(high, canvas.shape[1::-1])
        if (high <= low).any():
            return
        ids = np.zeros((high[1] - low[1], high[0] - low[0]), np.int32)
        for number, corner in enumerate(np.rint((corners - low) * 16).astype(np.int32)):
            cv2.fillConvexPoly(ids, corner, number + 1, cv2.LINE_8, 4)
        # Each triangle's own affine carries pixels of the canvas to the still, and to the alpha.
        alpha = np.concatenate([np.ones(468), np.zeros(len(source) - 468)])
        # Between parted lips the upper teeth stay and it gets dark below them.
        inside = np.isin(triangles, INNER_LIPS).all(axis=1)[:, None]
        dark = np.isin(triangles, LOWER_LIP) & inside
        known = np.concatenate([corners, np.ones((len(corners), 3, 1))], axis=2)
        wanted = np.concatenate(
            [source[triangles], alpha[triangles][..., None], dark[..., None]], axis=2
        )
        affines = np.linalg.solve(known, wanted)
        y, x = np.nonzero(ids)
        mine = affines[ids[y, x] - 1]
        at = np.stack([x + low[0], y + low[1], np.ones(len(x))], axis=1)
        values = np.einsum("ni,nij->nj", at, mine)
        places = ((values[:, :2] + 0.5) * SHARPER - 0.5).astype(np.float32)
        texels = _read(large, places)
        light = 1 - min(pose.mouth * 12, 1) * np.clip(2.5 * values[:, 3:] - 0.5, 0, 0.85)
        texels *= light.astype(np.float32)
        if cut_out:
            ramp = np.clip(values[:, 2:3] * 1.6, 0, 1).astype(np.float32)
            ramp = ramp * ramp * (3 - 2 * ramp)
            texels = ramp * texels + (1 - ramp) * canvas[y + low[1], x + low[0]]
        canvas[y + low[1], x + low[0]] = np.rint(texels)


@dataclass(eq=False)
class Still:
    """A picture and the faces in it."""

    rgb: Rgb
    faces: list[Face]

    @cached_property
    def large(self) -> Rgb:
        h, w = self.rgb.shape[:2]
        out = cv2.resize(self.rgb, (w * SHARPER, h * SHARPER), interpolation=cv2.INTER_LANCZOS4)
        return np.asarray(out)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layer:
    """A still in one instant: whole, or one of its faces cut out."""

    still: Still
    pose: Pose
    face: int = 0
    """Which of its faces moves by itself."""
    cut_out: bool = False


def draw(layers: list[Layer], size: tuple[int, int] = SIZE) -> Rgb:
    """uint8 [h, w, 3] R'G'B' of one instant; the first layer is the ground."""
    w, h = size
    canvas = np.zeros((h * FINER, w * FINER, 3), np.uint8)
    for layer in layers:
        pose, still = layer.pose, layer.still
        if not layer.cut_out:
            up = np.array([[SHARPER, 0, (SHARPER - 1) / 2], [0, SHARPER, (SHARPER - 1) / 2]])
            fine = np.array([[FINER, 0, (FINER - 1) / 2], [0, FINER, (FINER - 1) / 2]])
            whole = compose(fine, compose(pose.affine, cv2.invertAffineTransform(up)))
            canvas = np.asarray(
                cv2.warpAffine(
                    still.large, whole, (w * FINER, h * FINER), borderMode=cv2.BORDER_REPLICATE
                )
            )
        if layer.cut_out or pose.yaw or pose.mouth:
            still.faces[layer.face].draw(canvas, still.large, pose, cut_out=layer.cut_out)
    return np.asarray(cv2.resize(canvas, (w, h), interpolation=cv2.INTER_AREA))


def as_picture(rgb: Rgb) -> Picture:
    h, w, _ = rgb.shape
    fmt = PictureFormat(width=w, height=h, sub_x=0, sub_y=0, matrix="rgb", full_range=True)
    return Picture(
        format=fmt, planes=tuple(np.ascontiguousarray(rgb[..., channel]) for channel in (1, 2, 0))
    )


def _terms(pose: Pose) -> Array:
    """What a response depends on: yaw and mouth most, roll and size a little."""
    yaw, mouth = pose.yaw / 0.35, pose.mouth / 0.16
    turn = 10 * np.arctan2(pose.affine[1, 0], pose.affine[0, 0])
    zoom = 10 * np.log(np.hypot(*pose.affine[:, 0]))
    return np.array([turn, zoom, yaw, yaw**2, yaw**3, yaw**4, mouth, mouth**2, mouth**3])


def place(point: Array, at: Array, *, turn: float = 0.0, zoom: float = 1.0) -> Array:
    """float64 [2, 3], the similarity that brings ``point`` of the still to ``at`` in the frame."""
    cos, sin = zoom * np.cos(turn), zoom * np.sin(turn)
    linear = np.array([[cos, -sin], [sin, cos]])
    return np.column_stack([linear, np.asarray(at) - linear @ point])


def _jaw_weights() -> Array:
    """[468] how far each vertex goes with the lower jaw, 0..1: smooth, but parted at the lips."""
    layout = canonical_face().layout
    left, right = layout[61, 0], layout[291, 0]
    handles: dict[int, float] = dict.fromkeys(STILL, 0.0) | dict.fromkeys(JAW, 0.9)
    handles |= {132: 0.0, 361: 0.0, 58: 0.15, 288: 0.15, 172: 0.4, 397: 0.4, 136: 0.65, 365: 0.65}
    for vertex in (*LOWER_LIP, *UNDER_LIP):
        place = 2 * (layout[vertex, 0] - left) / (right - left) - 1
        handles[vertex] = float(max(0.0, 1 - place**2) ** 0.5)
    names = list(handles)
    values = np.array(list(handles.values()))[:, None]
    spread = ThinPlate(layout[names], layout, 1e-7).at(values)[:, 0]
    weights: Array = np.clip(spread, 0, 1)
    weights[names] = values[:, 0]
    return weights


def _read(large: Rgb, places: NDArray[np.float32]) -> NDArray[np.float32]:
    """[n, 3] bilinear texels at [n, 2]."""
    width = 4096
    rows = -(-len(places) // width)
    padded = np.zeros((rows * width, 2), np.float32)
    padded[: len(places)] = places
    grid = padded.reshape(rows, width, 2)
    out = cv2.remap(large, grid, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(out).reshape(-1, 3)[: len(places)].astype(np.float32)
