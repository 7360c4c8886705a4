"""Detectors that look at one square canvas: the frame shrunk to fit, at its top left, on black.

A *head* knows one kind of network: what its input and its answers mean. The canvas, the margin
around the frame and the way back to display pixels are the same for all of them. Several heads may
look at one canvas; whoever asks for them puts their answers together.

The canvas and its conventions are those that FaceFusion's users know: never enlarged, so that a
small film is not blurred, and with corners, not pixel centres, on whole numbers of the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from actors.anchors import Detection
from actors.detector import extent
from actors.inference.runtime import Runtime
from kernels.api import Kernels
from kernels.geometry import Affine, apply, compose, invert
from kernels.picture import Picture, PictureFormat
from scheduler.errors import ModelCorrupt, SettingInvalid

STRIDES: Final = (8, 16, 32)
"""Canvas pixels from one cell of the networks' grids to the next."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """Faces as one head sees them, in the network's canvas pixels: 0 is the canvas's edge."""

    boxes: Floats
    """[n, 4] x0 y0 x1 y1."""
    points: Floats
    """[n, 5, 2] x y: the person's right eye, left eye, nose tip, right and left mouth corner."""
    scores: Floats
    """[n] 0..1."""


class Head(Protocol):
    """A network of one kind, and what its numbers mean."""

    def look(self, canvas: NDArray[np.uint8], min_score: float) -> Found:
        """The faces of a canvas uint8 [S, S, 3] R'G'B', a face many times; not yet in order."""
        ...


class CanvasDetector:
    """A ``Detector``: gives every answer of its heads, a face many times.

    Args:
        heads: the networks.
        size: side of the canvas in pixels, a multiple of 32.
        score: least score of an answer.
        margin: added around the frame before it is shrunk: top, right, bottom, left, in percent of
            half of the side.
    """

    def __init__(
        self,
        heads: Sequence[Head],
        *,
        size: int = 640,
        score: float = 0.5,
        margin: tuple[int, int, int, int] = (0, 0, 0, 0),
    ) -> None:
        self._heads = heads
        self._size = size
        self._score = score
        self._margin = margin

    def detect(self, picture: Picture, display: Affine, kernels: Kernels) -> list[Detection]:
        """See ``actors.detector.Detector``."""
        fit = canvas_affine(picture.format, display, self._size, self._margin)
        canvas = kernels.thumbnail(picture, compose(fit, display), self._size, self._size)
        # The network counts from the canvas's edge: its centre of the first pixel is 0.5.
        back = invert(compose(np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]]), fit))
        found = []
        for head in self._heads:
            seen = head.look(canvas, self._score)
            good = np.isfinite(seen.boxes).all(axis=1) & np.isfinite(seen.points).all(axis=(1, 2))
            corners = apply(back, seen.boxes[good].reshape(-1, 2, 2)).reshape(-1, 4)
            points = apply(back, seen.points[good])
            for box, five, score in zip(corners, points, seen.scores[good].tolist(), strict=True):
                found.append(Detection(box=box, keypoints=five, score=score))
        return found


def canvas_affine(
    format: PictureFormat,
    display: Affine,
    size: int,
    margin: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> Affine:
    """float64 [2, 3], display pixels -> canvas: never enlarged, the upper left corner on its own.

    Args:
        format: of the frame.
        display: float64 [2, 3] coded frame pixels -> upright display pixels.
        size: side of the canvas in pixels.
        margin: as for ``CanvasDetector``.
    """
    low, high = extent(format, display, margin)
    scale = min(1.0, size / float((high - low).max()))
    shift = -0.5 - scale * low
    return np.array([[scale, 0.0, shift[0]], [0.0, scale, shift[1]]])


def bgr_tensor(canvas: NDArray[np.uint8]) -> NDArray[np.float32]:
    """float32 [1, 3, S, S] B'G'R' 0..255 of a canvas."""
    return np.ascontiguousarray(canvas[..., ::-1].transpose(2, 0, 1), np.float32)[None]


def cells(size: int, stride: int, per_cell: int = 1) -> Floats:
    """[n, 2] x y of the cells of a grid over the canvas, row by row, each ``per_cell`` times."""
    steps = np.arange(size // stride, dtype=np.float64) * stride
    x, y = np.meshgrid(steps, steps)
    return np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), per_cell, axis=0)


def check_network(network: Runtime, name: str, outputs: int, size: int) -> None:
    """Refuse a network that is no detector of this kind, or does not look at such a canvas.

    Raises:
        ModelCorrupt: another number of inputs or outputs.
        SettingInvalid: its canvas has another size.
    """
    if len(network.inputs) != 1 or len(network.outputs) != outputs:
        raise ModelCorrupt(
            f"{name} has {len(network.inputs)} inputs and {len(network.outputs)} outputs",
            f"one input and {outputs} outputs",
            f"see what is wrong with `farm models check {name}`",
        )
    sides = [side for side in network.inputs[0].shape[1:] if side]
    if size % STRIDES[-1] or any(side != size for side in sides):
        raise SettingInvalid(
            f"a detector size of {size} for {name}",
            str(sides[0]) if sides else f"a multiple of {STRIDES[-1]}",
            "correct --face-detector-size, or leave it out",
        )
