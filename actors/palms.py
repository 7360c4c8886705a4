"""Where palms are in a part of a frame: MediaPipe's palm detector, lite.

Network: ``palm_detection_lite`` (F. Zhang et al., "MediaPipe Hands: On-device Real-time Hand
Tracking", 2020): a single-shot detector on 192 x 192 pixels with two anchors for each cell of a
24 x 24 grid and six for each of a 12 x 12 grid. Anchors, decoding and suppression are written from
that published layout. The lite network, since the full one loses hands that a face partly hides.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from actors.detector import overlap
from actors.inference.litert import LiteRt

SIZE: Final = 192
"""Side of the square picture that the network reads, in pixels."""
KEYPOINTS: Final = 7
_GRIDS: Final = ((24, 2), (12, 6))
"""Cells along a side, and anchors of each cell."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Palm:
    """One palm as the detector sees it."""

    box: NDArray[np.float64]
    """[4] x0 y0 x1 y1 in pixels of the picture that was looked at."""
    keypoints: NDArray[np.float64]
    """[7, 2]: wrist; roots of index, middle, ring and little finger; the thumb's first two."""
    score: float
    """0..1"""


class PalmDetector:
    """Finds palms.

    Args:
        model_path: ``palm_detection_lite.tflite``.
        threads: of the network; the result does not depend on it.
        min_score: an anchor below it does not count. Low: a palm that covers a face scores little,
            and the hand network rejects what is none.
        max_overlap: answers that overlap more (intersection over union) are one palm.

    Raises:
        ModelCorrupt: the file is no such network.
    """

    def __init__(
        self,
        model_path: Path,
        threads: int = 1,
        *,
        min_score: float = 0.35,
        max_overlap: float = 0.3,
    ) -> None:
        self._network = LiteRt.load(model_path, threads=threads)
        self._anchors = _anchors()
        self._min_logit = float(np.log(min_score / (1.0 - min_score)))
        self._max_overlap = max_overlap

    def detect_rgb(self, rgb: NDArray[np.uint8]) -> list[Palm]:
        """The palms of a uint8 [192, 192, 3] R'G'B' picture in its own pixels, best first."""
        values, logits = self._network.run((rgb.astype(np.float32) / np.float32(255))[None])
        found = np.flatnonzero(logits[0, :, 0] >= self._min_logit)
        scores = 1.0 / (1.0 + np.exp(-logits[0, found, 0].astype(np.float64)))
        boxes, keypoints = _decode(values[0, found].astype(np.float64), self._anchors[found])
        # Ties go to the lower anchor, so the order is the same everywhere.
        left = np.argsort(-scores, kind="stable")
        palms = []
        while len(left):
            same = overlap(boxes[left[0]], boxes[left]) > self._max_overlap
            same[0] = True
            group, left = left[same], left[~same]
            weights = scores[group] / scores[group].sum()
            palms.append(
                Palm(
                    box=(boxes[group] * weights[:, None]).sum(axis=0),
                    keypoints=(keypoints[group] * weights[:, None, None]).sum(axis=0),
                    score=float(scores[group[0]]),
                )
            )
        return palms


def _anchors() -> NDArray[np.float64]:
    """[2016, 2] centres of the network's anchors in its pixels, centres on whole numbers."""
    layers = []
    for cells, count in _GRIDS:
        y, x = np.mgrid[0:cells, 0:cells]
        centres = (np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) * (SIZE / cells) - 0.5
        layers.append(np.repeat(centres, count, axis=0))
    return np.concatenate(layers)


def _decode(
    values: NDArray[np.float64], anchors: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Network values [n, 18] at anchors [n, 2] -> boxes [n, 4] xyxy and keypoints [n, 7, 2].

    All are offsets from the anchor, and the box's size, in the network's pixels.
    """
    centres, halves = anchors + values[:, 0:2], values[:, 2:4] / 2
    boxes = np.concatenate([centres - halves, centres + halves], axis=1)
    return boxes, anchors[:, None, :] + values[:, 4:].reshape(-1, KEYPOINTS, 2)
