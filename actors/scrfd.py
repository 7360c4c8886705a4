"""SCRFD's head: scores, edge distances and five points for each cell of three grids.

J. Guo et al., "Sample and Computation Redistribution for Efficient Face Detection", ICLR 2022. The
networks ``retinaface_10g`` and ``scrfd_2.5g`` answer alike: nine arrays, scores, boxes and points,
each for the strides 8, 16 and 32, with two anchors in a cell.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from actors.canvas import STRIDES, Found, bgr_tensor, cells, check_network
from actors.inference.runtime import Runtime

ANCHORS: Final = 2
OUTPUTS: Final = 9


class ScrfdHead:
    """A ``Head``.

    Args:
        network: retinaface_10g or scrfd_2.5g, loaded.
        name: which.
        size: side of the canvas in pixels.

    Raises:
        ModelCorrupt, SettingInvalid: see ``check_network``.
    """

    def __init__(self, network: Runtime, name: str, size: int) -> None:
        check_network(network, name, OUTPUTS, size)
        self._network = network
        self._grids = [cells(size, stride, ANCHORS) for stride in STRIDES]

    def look(self, canvas: NDArray[np.uint8], min_score: float) -> Found:
        """See ``Head``."""
        pixels = (bgr_tensor(canvas) - np.float32(127.5)) * np.float32(1 / 128)
        arrays = self._network.run(pixels)
        boxes, points, scores = [], [], []
        for at, (stride, grid) in enumerate(zip(STRIDES, self._grids, strict=True)):
            score = arrays[at].reshape(-1)
            good = np.flatnonzero(score >= min_score)
            anchors = grid[good]
            edges = arrays[at + 3].reshape(-1, 4)[good].astype(np.float64) * stride
            offsets = arrays[at + 6].reshape(-1, 5, 2)[good].astype(np.float64) * stride
            boxes.append(np.concatenate([anchors - edges[:, :2], anchors + edges[:, 2:]], axis=1))
            points.append(anchors[:, None] + offsets)
            scores.append(score[good].astype(np.float64))
        return Found(
            boxes=np.concatenate(boxes),
            points=np.concatenate(points),
            scores=np.concatenate(scores),
        )
