"""YOLOv8's face head: a box, a score and five points for each of its cells, already decoded.

Network: ``yoloface_8n`` (after G. Jocher et al., YOLOv8, 2023, trained on faces). One array
[20, n]: centre x y, width, height, score, and x, y and confidence of five points, in canvas pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from actors.canvas import Found, bgr_tensor, check_network
from actors.inference.runtime import Runtime


class YoloFaceHead:
    """A ``Head``.

    Args:
        network: yoloface_8n, loaded.
        size: side of the canvas in pixels.

    Raises:
        ModelCorrupt, SettingInvalid: see ``check_network``.
    """

    def __init__(self, network: Runtime, size: int) -> None:
        check_network(network, "yoloface_8n", 1, size)
        self._network = network

    def look(self, canvas: NDArray[np.uint8], min_score: float) -> Found:
        """See ``Head``."""
        (values,) = self._network.run(bgr_tensor(canvas) * np.float32(1 / 255))
        rows = values.reshape(20, -1).T
        good = rows[rows[:, 4] >= min_score].astype(np.float64)
        halves = good[:, 2:4] / 2
        return Found(
            boxes=np.concatenate([good[:, :2] - halves, good[:, :2] + halves], axis=1),
            points=good[:, 5:].reshape(-1, 5, 3)[:, :, :2],
            scores=good[:, 4],
        )
