"""Where the faces of a frame are: the dense full-range BlazeFace.

Network: MediaPipe's ``face_detection_full_range`` (V. Bazarevsky et al., "BlazeFace:
Sub-millisecond Neural Face Detection on Mobile GPUs", 2019; its model card describes the
full-range variant). It sees the whole frame at 192 x 192 and answers for each cell of a 48 x 48
grid. Anchors, decoding and suppression are written from that published layout.

A face narrower than about 1/20 of the frame's longer side covers fewer than ten of the network's
pixels and is not found. Tiles would find it, at one more run of the network for each tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from actors.inference.litert import LiteRt
from kernels.api import Kernels
from kernels.geometry import apply, compose, invert
from kernels.picture import Picture, PictureFormat

SIZE: Final = 192
"""Side of the square picture that the network reads, in pixels."""
GRID: Final = 48
KEYPOINTS: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Detection:
    """One face as the detector sees it."""

    box: NDArray[np.float64]
    """[4] x0 y0 x1 y1, forehead to chin, in pixels of the space it was asked for."""
    keypoints: NDArray[np.float64]
    """[6, 2] x y: the person's right eye, left eye, nose tip, mouth, right ear, left ear."""
    score: float
    """0..1"""


class FaceDetector:
    """Finds faces in a frame.

    Args:
        model_path: ``face_detection_full_range.tflite``.
        threads: of the network; the result does not depend on it.
        min_score: a cell below it does not count. 0.5: what the mesh then rejects costs 4 ms.
        max_overlap: answers that overlap more (intersection over union) are one face.

    Raises:
        ModelCorrupt: the file is no such network.
    """

    def __init__(
        self,
        model_path: Path,
        threads: int = 1,
        *,
        min_score: float = 0.5,
        max_overlap: float = 0.3,
    ) -> None:
        self._network = LiteRt.load(model_path, threads=threads)
        self._min_logit = float(np.log(min_score / (1.0 - min_score)))
        self._max_overlap = max_overlap
        self.calls = 0
        """Pictures that the network has looked at."""

    def detect(
        self, picture: Picture, display: NDArray[np.float64], kernels: Kernels
    ) -> list[Detection]:
        """The faces of a picture in pixels of display space, best first.

        Args:
            picture: as decoded, in coded orientation.
            display: float64 [2, 3], coded frame pixels -> upright display pixels.
            kernels: makes the 192 x 192 picture.
        """
        thumbnail = self.thumbnail(picture, display, kernels)
        return self.detect_thumbnail(thumbnail, picture.format, display)

    def thumbnail(
        self, picture: Picture, display: NDArray[np.float64], kernels: Kernels
    ) -> NDArray[np.uint8]:
        """uint8 [192, 192, 3] R'G'B': the upright frame, fitted in, centred."""
        affine = compose(letterbox(picture.format, display), display)
        return kernels.thumbnail(picture, affine, SIZE, SIZE)

    def detect_thumbnail(
        self, thumbnail: NDArray[np.uint8], format: PictureFormat, display: NDArray[np.float64]
    ) -> list[Detection]:
        """As ``detect``, from the ``thumbnail`` of a picture of that format."""
        back = invert(letterbox(format, display))
        return [
            Detection(
                box=apply(back, found.box.reshape(2, 2)).reshape(4),
                keypoints=apply(back, found.keypoints),
                score=found.score,
            )
            for found in self.detect_rgb(thumbnail)
        ]

    def detect_rgb(self, rgb: NDArray[np.uint8]) -> list[Detection]:
        """The faces of a uint8 [192, 192, 3] R'G'B' picture in its own pixels, best first."""
        pixels = rgb.astype(np.float32) * np.float32(1 / 127.5) - np.float32(1)
        self.calls += 1
        values, logits = self._network.run(pixels[None])
        cells = np.flatnonzero(logits[0, :, 0] >= self._min_logit)
        scores = 1.0 / (1.0 + np.exp(-logits[0, cells, 0].astype(np.float64)))
        return _merge(
            *_decode(values[0, cells].astype(np.float64), cells), scores, self._max_overlap
        )


def letterbox(format: PictureFormat, display: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64 [2, 3], display pixels -> the detector's 192 x 192 picture: fitted in, centred."""
    edges = np.array([[-0.5, -0.5], [format.width - 0.5, format.height - 0.5]])
    corners = apply(display, edges)
    low, high = corners.min(axis=0), corners.max(axis=0)
    scale = SIZE / float((high - low).max())
    shift = (SIZE - 1) / 2 - scale * (low + high) / 2
    return np.array([[scale, 0.0, shift[0]], [0.0, scale, shift[1]]])


def _decode(
    values: NDArray[np.float64], cells: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Network values [n, 16] of grid cells [n] -> boxes [n, 4] xyxy and keypoints [n, 6, 2].

    Each cell has one anchor, its centre; values are offsets from it, and the box's size, in the
    network's pixels. The network counts from the picture's edge, so its centre of the first pixel
    is 0.5: hence the half pixel.
    """
    anchors = (np.stack([cells % GRID, cells // GRID], axis=1) + 0.5) * (SIZE / GRID) - 0.5
    centres, halves = anchors + values[:, 0:2], values[:, 2:4] / 2
    boxes = np.concatenate([centres - halves, centres + halves], axis=1)
    return boxes, anchors[:, None, :] + values[:, 4:].reshape(-1, KEYPOINTS, 2)


def _merge(
    boxes: NDArray[np.float64],
    keypoints: NDArray[np.float64],
    scores: NDArray[np.float64],
    max_overlap: float,
) -> list[Detection]:
    """Weighted suppression: answers that overlap the best one are averaged into it by score.

    The average moves less from frame to frame than the best answer alone. Ties go to the lower
    cell, so the order is the same everywhere.
    """
    left = np.argsort(-scores, kind="stable")
    found = []
    while len(left):
        same = overlap(boxes[left[0]], boxes[left]) > max_overlap
        same[0] = True
        group = left[same]
        weights = scores[group] / scores[group].sum()
        found.append(
            Detection(
                box=(boxes[group] * weights[:, None]).sum(axis=0),
                keypoints=(keypoints[group] * weights[:, None, None]).sum(axis=0),
                score=float(scores[group[0]]),
            )
        )
        left = left[~same]
    return found


def overlap(box: NDArray[np.floating], boxes: NDArray[np.floating]) -> NDArray[np.float64]:
    """Intersection over union [n] of a box [4] with boxes [n, 4], all xyxy; 0 if both are empty."""
    one, many = box.astype(np.float64), boxes.astype(np.float64)
    low, high = np.maximum(one[:2], many[:, :2]), np.minimum(one[2:], many[:, 2:])
    shared: NDArray[np.float64] = np.prod(np.maximum(high - low, 0.0), axis=1)
    total = np.prod(one[2:] - one[:2]) + np.prod(many[:, 2:] - many[:, :2], axis=1) - shared
    ratio: NDArray[np.float64] = shared / np.maximum(total, 1e-9)
    return ratio
