"""The 68 points of a face: the Face Alignment Network, a smaller one, and a guess from five points.

Networks: ``2dfan4`` (A. Bulat, G. Tzimiropoulos, "How far are we from solving the 2D & 3D Face
Alignment problem?", ICCV 2017), ``peppa_wutz``, and ``fan_68_5``, which completes a detector's five
points to 68. The first two read the same crop: the face's box brought to 195 of 256 pixels, turned
upright by quarters as the completed points lie, its contrast raised where it is dark. Below the
wanted score the completed points are the answer: that is FaceFusion's way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from actors.anchors import Detection
from actors.inference.runtime import Runtime
from actors.landmarker import Mesh
from actors.search import turn
from kernels.api import Kernels
from kernels.geometry import Affine, Points, apply, compose, invert
from kernels.picture import Picture
from kernels.templates import template_affine

SIZE: Final = 256
"""Side of the crop in pixels."""
FACE: Final = 195.0
"""Of it, the longer side of the face's box."""
HEATMAP: Final = 64
"""Side of the grid in which the networks count."""
SURE: Final = 0.9
SURE_PEPPA: Final = 0.95
"""Mean of the heatmaps' peaks, and of the points' scores, that is as good as certain."""
LEAD: Final = 0.2
"""With both networks, how much better the smaller one's score must be."""
DARK: Final = 30.0
"""Mean lightness of a crop, 0..255, below which its contrast is raised."""
OVER_BROWS: Final = 1.3
"""Height of a detector's box over that of the 68 points, which end at the brows."""
RAISED: Final = 0.12
"""How much higher its middle is, in heights of the 68 points."""
JAW_ENDS: Final = (0, 16)

Crop = NDArray[np.uint8]


class Reader68(Protocol):
    """A network that puts 68 points into a crop."""

    def read(self, crop: Crop) -> tuple[Points, float]:
        """([68, 2] in pixels of the crop, score 0..1) for uint8 [256, 256, 3] R'G'B'."""
        ...

    def answer(self, planes: NDArray[np.float32]) -> tuple[Points, float]:
        """As ``read``, for the crop as the network takes it: of ``crop_planes``."""
        ...


class Fan:
    """``Reader68`` of 2dfan4: points from heatmaps, scored by their peaks."""

    def __init__(self, network: Runtime) -> None:
        self._network = network

    def read(self, crop: Crop) -> tuple[Points, float]:
        return self.answer(crop_planes(crop))

    def answer(self, planes: NDArray[np.float32]) -> tuple[Points, float]:
        points, heatmaps = self._network.run(planes)
        peaks = heatmaps.reshape(68, -1).max(axis=1).astype(np.float64)
        places = points.reshape(68, 3)[:, :2].astype(np.float64) * (SIZE / HEATMAP)
        return places, _share(float(peaks.mean()), SURE)


class PeppaWutz:
    """``Reader68`` of peppa_wutz: points with scores of their own."""

    def __init__(self, network: Runtime) -> None:
        self._network = network

    def read(self, crop: Crop) -> tuple[Points, float]:
        return self.answer(crop_planes(crop))

    def answer(self, planes: NDArray[np.float32]) -> tuple[Points, float]:
        (values,) = self._network.run(planes)
        rows = values.reshape(68, 3).astype(np.float64)
        return rows[:, :2] * (SIZE / HEATMAP), _share(float(rows[:, 2].mean()), SURE_PEPPA)


class Landmarker68:
    """A ``Landmarker`` of 68 points.

    Args:
        readers: 2dfan4, peppa_wutz, or both in this order: then the second one's points count
            where its score is better by ``LEAD``.
        completer: fan_68_5, loaded.
        min_score: a reader's points count if its score is above it; at 0 no reader is asked.
    """

    def __init__(
        self, readers: Sequence[Reader68], completer: Runtime, min_score: float = 0.5
    ) -> None:
        self._readers = readers if min_score > 0 else ()
        self._completer = completer
        self._min_score = min_score

    @property
    def guesses(self) -> bool:
        return True

    def locate(
        self, picture: Picture, detection: Detection, display: Affine, kernels: Kernels
    ) -> Mesh:
        """See ``Landmarker``; a face is one because the detector says so."""
        back = invert(display)
        five = detection.five
        if not _spread(five):
            lost = np.repeat(five[:1], 68, axis=0)
            return Mesh(landmarks=apply(back, lost), presence=0.0, is_face=False)
        completed = self._complete(five)
        square = face_crop(detection.box, quarter(completed))
        points, score = self._read(picture, square, display, kernels)
        if points is None or score <= self._min_score:
            points = apply(back, completed)
        return Mesh(landmarks=points, presence=score if self._readers else detection.score)

    def relocate(self, picture: Picture, points: Points, display: Affine, kernels: Kernels) -> Mesh:
        """See ``Landmarker``."""
        shown = apply(display, points)
        square = face_crop(box_of(shown), quarter(shown))
        found, score = self._read(picture, square, display, kernels)
        if found is None:
            return Mesh(landmarks=points, presence=1.0)
        return Mesh(landmarks=found, presence=score, is_face=score > self._min_score)

    def _complete(self, five: Points) -> Points:
        """[68, 2] that a face with these five points usually has, in their pixels."""
        unit = template_affine(five, "ffhq_512", 1.0)
        (points,) = self._completer.run(apply(unit, five).astype(np.float32)[None])
        return apply(invert(unit), points.reshape(68, 2))

    def _read(
        self, picture: Picture, square: Affine, display: Affine, kernels: Kernels
    ) -> tuple[Points | None, float]:
        """(points in coded pixels, score) of the reader that counts; None without readers."""
        if not self._readers:
            return None, 0.0
        affine = compose(square, display)
        rgb = kernels.crop(picture, affine, SIZE)
        crop = lighten(np.asarray(np.rint(rgb * np.float32(255)), np.uint8))
        points, score = self._readers[0].read(crop)
        for reader in self._readers[1:]:
            others, other = reader.read(crop)
            if other - LEAD >= score:
                points, score = others, other
        if not _spread(points):
            points, score = np.zeros((68, 2)), 0.0
        return apply(invert(affine), points), score


def quarter(points: Points) -> int:
    """By how many degrees, of 0, 90, 180, 270 against the clock, a face must be turned to stand.

    Args:
        points: [68, 2] in display pixels.
    """
    along = points[JAW_ENDS[1]] - points[JAW_ENDS[0]]
    degrees = float(np.degrees(np.arctan2(along[1], along[0])))
    return round(degrees / 90) % 4 * 90


def face_crop(box: NDArray[np.float64], angle: int) -> Affine:
    """float64 [2, 3], display pixels -> the readers' crop, of a box [4] turned by an angle."""
    centre = (box[:2] + box[2:]) / 2
    zoom = FACE / max(float((box[2:] - box[:2]).max()), 1.0)
    linear = zoom * turn(angle)[:, :2]
    return np.column_stack([linear, SIZE / 2 - linear @ centre])


def box_of(points: Points) -> NDArray[np.float64]:
    """[4] x0 y0 x1 y1: about the box that a detector gives a face with these [68, 2] points."""
    upright = turn(quarter(points))
    turned = apply(upright, points)
    low, high = turned.min(axis=0), turned.max(axis=0)
    width, height = (high - low).tolist()
    centre = (low + high) / 2 - (0.0, RAISED * height)
    half = np.array([width, OVER_BROWS * height]) / 2
    corners = apply(invert(upright), np.array([centre - half, centre + half]))
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)])


def lighten(crop: Crop) -> Crop:
    """The crop uint8 [n, n, 3] R'G'B', with its lightness equalised where it is dark.

    Contrast-limited (K. Zuiderveld, "Contrast Limited Adaptive Histogram Equalization", Graphics
    Gems IV, 1994).
    """
    lab = cv2.cvtColor(crop, cv2.COLOR_RGB2LAB)
    if float(lab[..., 0].mean()) >= DARK:
        return crop
    lab[..., 0] = cv2.createCLAHE(clipLimit=2).apply(np.ascontiguousarray(lab[..., 0]))
    return cast(Crop, cv2.cvtColor(lab, cv2.COLOR_LAB2RGB))


def crop_planes(crop: Crop) -> NDArray[np.float32]:
    """float32 [1, 3, 256, 256] B'G'R' 0..1."""
    planes = np.ascontiguousarray(crop[..., ::-1].transpose(2, 0, 1), np.float32)
    return planes[None] * np.float32(1 / 255)


def _spread(points: Points) -> bool:
    """Whether points [n, 2] are those of a face: numbers, and not all in one place."""
    return bool(np.isfinite(points).all()) and float(np.ptp(points, axis=0).max()) >= 1.0


def _share(value: float, sure: float) -> float:
    return min(max(value / sure, 0.0), 1.0)
