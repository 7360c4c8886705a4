"""Where the faces of a frame are: what a detector gives, and the dense full-range BlazeFace.

Network: MediaPipe's ``face_detection_full_range`` (V. Bazarevsky et al., "BlazeFace:
Sub-millisecond Neural Face Detection on Mobile GPUs", 2019; its model card describes the
full-range variant). It sees the whole frame at 192 x 192 and answers for each cell of a 48 x 48
grid.

A face narrower than about 1/20 of the frame's longer side covers fewer than ten of the network's
pixels and is not found. Tiles would find it, at one more run of the network for each tile.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from actors.anchors import AnchorReader, Detection, anchor_grid
from actors.inference.litert import LiteRt
from kernels.api import Kernels
from kernels.geometry import apply, compose, invert
from kernels.picture import Picture, PictureFormat

SIZE: Final = 192
"""Side of the square picture that the network reads, in pixels."""
GRID: Final = 48
"""Cells along a side, with one anchor each."""


class Detector(Protocol):
    """Finds faces in a frame. What it finds depends on the picture alone."""

    def detect(
        self, picture: Picture, display: NDArray[np.float64], kernels: Kernels
    ) -> list[Detection]:
        """The faces of a picture in pixels of display space.

        Args:
            picture: as decoded, in coded orientation.
            display: float64 [2, 3], coded frame pixels -> upright display pixels.
            kernels: makes the picture that the network looks at.
        """
        ...


class FaceDetector:
    """Finds faces in a frame.

    Args:
        model_path: ``face_detection_full_range.tflite``.
        threads: of the network; the result does not depend on it.
        min_score: a cell below it does not count. 0.5: what the mesh then rejects costs 4 ms.
        max_overlap: answers that overlap more (intersection over union) are one face.
        margin: added around the frame: top, right, bottom, left, in percent of half of the side.

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
        margin: tuple[int, int, int, int] = (0, 0, 0, 0),
    ) -> None:
        self._network = LiteRt.load(model_path, threads=threads)
        self._reader = AnchorReader(
            anchors=anchor_grid(SIZE, [(GRID, 1)]),
            min_score=min(max(min_score, 1e-6), 1.0 - 1e-6),
            max_overlap=max_overlap,
        )
        self._margin = margin

    def detect(
        self, picture: Picture, display: NDArray[np.float64], kernels: Kernels
    ) -> list[Detection]:
        """See ``Detector``; each face once, best first.

        A box reaches from the forehead to the chin; the six key points are the person's right eye,
        left eye, nose tip, mouth, right ear and left ear.
        """
        fit = letterbox(picture.format, display, self._margin)
        back = invert(fit)
        small = kernels.thumbnail(picture, compose(fit, display), SIZE, SIZE)
        return [found.moved(back) for found in self.detect_rgb(small)]

    def detect_rgb(self, rgb: NDArray[np.uint8]) -> list[Detection]:
        """The faces of a uint8 [192, 192, 3] R'G'B' picture in its own pixels, best first."""
        pixels = rgb.astype(np.float32) * np.float32(1 / 127.5) - np.float32(1)
        values, logits = self._network.run(pixels[None])
        return self._reader.read(values[0], logits[0, :, 0])


def letterbox(
    format: PictureFormat,
    display: NDArray[np.float64],
    margin: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> NDArray[np.float64]:
    """float64 [2, 3], display pixels -> the detector's 192 x 192 picture: fitted in, centred."""
    low, high = extent(format, display, margin)
    scale = SIZE / float((high - low).max())
    shift = (SIZE - 1) / 2 - scale * (low + high) / 2
    return np.array([[scale, 0.0, shift[0]], [0.0, scale, shift[1]]])


def extent(
    format: PictureFormat, display: NDArray[np.float64], margin: tuple[int, int, int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Upper left and lower right edge of the frame in display pixels, the margin included.

    Args:
        format: of the frame.
        display: float64 [2, 3] coded frame pixels -> display pixels; turns by quarters only.
        margin: top, right, bottom, left, in percent of half of the frame's side.
    """
    edges = np.array([[-0.5, -0.5], [format.width - 0.5, format.height - 0.5]])
    corners = apply(display, edges)
    low, high = corners.min(axis=0), corners.max(axis=0)
    top, right, bottom, left = margin
    half = (high - low) / 200
    return low - half * (left, top), high + half * (right, bottom)
