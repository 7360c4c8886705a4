"""Where palms are in a part of a frame: MediaPipe's palm detector, lite.

Network: ``palm_detection_lite`` (F. Zhang et al., "MediaPipe Hands: On-device Real-time Hand
Tracking", 2020): a single-shot detector on 192 x 192 pixels with two anchors for each cell of a
24 x 24 grid and six for each of a 12 x 12 grid. The lite one, since the full one loses hands that a
face partly hides.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from actors.anchors import AnchorReader, Detection, anchor_grid
from actors.inference.litert import LiteRt

SIZE: Final = 192
"""Side of the square picture that the network reads, in pixels."""
_GRIDS: Final = ((24, 2), (12, 6))
"""Cells along a side, and anchors of each cell."""


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
        self._reader = AnchorReader(
            anchors=anchor_grid(SIZE, _GRIDS), min_score=min_score, max_overlap=max_overlap
        )

    def detect_rgb(self, rgb: NDArray[np.uint8]) -> list[Detection]:
        """The palms of a uint8 [192, 192, 3] R'G'B' picture in its own pixels, best first.

        The seven key points are the wrist, the roots of index, middle, ring and little finger, and
        the thumb's first two joints.
        """
        values, logits = self._network.run((rgb.astype(np.float32) / np.float32(255))[None])
        return self._reader.read(values[0], logits[0, :, 0])
