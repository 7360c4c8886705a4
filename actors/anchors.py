"""What single-shot detectors answer at their anchors, turned into boxes and key points.

Both of MediaPipe's detectors (V. Bazarevsky et al., "BlazeFace", 2019; F. Zhang et al., "MediaPipe
Hands", 2020) answer at fixed anchors with offsets from them, and both want overlapping answers
averaged. Anchors, decoding and suppression are written from that published layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kernels.geometry import Affine, apply
from scheduler.boxes import overlaps

MOUTH: Final = 0.83
"""Width of a mouth over the distance of the eyes, as recognisers' templates have it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Detection:
    """One object as a detector sees it."""

    box: NDArray[np.float64]
    """[4] x0 y0 x1 y1 in pixels of the space it was asked for."""
    keypoints: NDArray[np.float64]
    """[k, 2] x y; which points they are, the detector says."""
    score: float
    """0..1"""

    def moved(self, affine: Affine) -> Detection:
        """The same in another space, by an affine that does not turn."""
        return Detection(
            box=apply(affine, self.box.reshape(2, 2)).reshape(4),
            keypoints=apply(affine, self.keypoints),
            score=self.score,
        )

    @property
    def five(self) -> NDArray[np.float64]:
        """Of a face: [5, 2] right eye, left eye, nose tip, mouth corners; these guessed where the
        detector gives the mouth's middle only."""
        if len(self.keypoints) == 5:
            return self.keypoints
        right, left, nose, mouth = self.keypoints[:4]
        half = MOUTH / 2 * (left - right)
        return np.array([right, left, nose, mouth - half, mouth + half])


def anchor_grid(size: int, grids: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
    """[n, 2] centres of a network's anchors in its pixels, centres on whole numbers.

    The network counts from the picture's edge, so its centre of the first pixel is 0.5: hence the
    half pixel.

    Args:
        size: side of the network's square picture, in pixels.
        grids: of each layer the cells along a side, and anchors of each cell.
    """
    layers = []
    for cells, count in grids:
        y, x = np.mgrid[0:cells, 0:cells]
        centres = (np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) * (size / cells) - 0.5
        layers.append(np.repeat(centres, count, axis=0))
    return np.concatenate(layers)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AnchorReader:
    """Reads the answers of one network."""

    anchors: NDArray[np.float64]
    """[n, 2], from ``anchor_grid``."""
    min_score: float
    """An anchor below it does not count; between 0 and 1."""
    max_overlap: float
    """Answers that overlap more (intersection over union) are one object."""

    def read(self, values: NDArray[np.float32], logits: NDArray[np.float32]) -> list[Detection]:
        """The objects in the network's pixels, best first.

        Args:
            values: [n, 4 + 2 k] centre, width and height, key points; centre and points are offsets
                from the anchor.
            logits: [n] of the scores.
        """
        found = np.flatnonzero(logits >= float(np.log(self.min_score / (1.0 - self.min_score))))
        scores = 1.0 / (1.0 + np.exp(-logits[found].astype(np.float64)))
        offsets, anchors = values[found].astype(np.float64), self.anchors[found]
        centres, halves = anchors + offsets[:, 0:2], offsets[:, 2:4] / 2
        boxes = np.concatenate([centres - halves, centres + halves], axis=1)
        keypoints = anchors[:, None, :] + offsets[:, 4:].reshape(
            len(found), offsets.shape[1] // 2 - 2, 2
        )
        return _merged(boxes, keypoints, scores, self.max_overlap)


def _merged(
    boxes: NDArray[np.float64],
    keypoints: NDArray[np.float64],
    scores: NDArray[np.float64],
    max_overlap: float,
) -> list[Detection]:
    """Weighted suppression: answers that overlap the best one are averaged into it by score.

    The average moves less from frame to frame than the best answer alone. Ties go to the lower
    anchor, so the order is the same everywhere.
    """
    left = np.argsort(-scores, kind="stable")
    found = []
    while len(left):
        same = overlaps(boxes[left[:1]], boxes[left])[0] > max_overlap
        same[0] = True
        group, left = left[same], left[~same]
        weights = scores[group] / scores[group].sum()
        found.append(
            Detection(
                box=(boxes[group] * weights[:, None]).sum(axis=0),
                keypoints=(keypoints[group] * weights[:, None, None]).sum(axis=0),
                score=float(scores[group[0]]),
            )
        )
    return found
