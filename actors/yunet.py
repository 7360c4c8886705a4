"""YuNet's head: class and object scores, a box and five points for each cell of three grids.

Network: ``yunet_2023_mar`` (W. Wu, H. Peng, S. Yu, "YuNet: A Tiny Millisecond-level Face Detector",
Machine Intelligence Research, 2023; MIT). Twelve arrays: classes, objects, boxes and points, each
for the strides 8, 16 and 32. It reads levels 0..255. A face's score is class times object, as
FaceFusion has it (OpenCV takes the root of that).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from actors.canvas import STRIDES, Found, bgr_tensor, cells, check_network
from actors.inference.runtime import Runtime

OUTPUTS: Final = 12


class YunetHead:
    """A ``Head``.

    Args:
        network: yunet_2023_mar, loaded.
        size: side of the canvas in pixels.

    Raises:
        ModelCorrupt, SettingInvalid: see ``check_network``.
    """

    def __init__(self, network: Runtime, size: int) -> None:
        check_network(network, "yunet_2023_mar", OUTPUTS, size)
        self._network = network
        self._grids = [cells(size, stride) for stride in STRIDES]

    def look(self, canvas: NDArray[np.uint8], min_score: float) -> Found:
        """See ``Head``."""
        arrays = self._network.run(bgr_tensor(canvas))
        boxes, points, scores = [], [], []
        for at, (stride, grid) in enumerate(zip(STRIDES, self._grids, strict=True)):
            score = arrays[at].reshape(-1) * arrays[at + 3].reshape(-1)
            good = np.flatnonzero(score >= min_score)
            values = arrays[at + 6].reshape(-1, 4)[good].astype(np.float64)
            centres = grid[good] + values[:, :2] * stride
            halves = np.exp(values[:, 2:]) * stride / 2
            offsets = arrays[at + 9].reshape(-1, 5, 2)[good].astype(np.float64) * stride
            boxes.append(np.concatenate([centres - halves, centres + halves], axis=1))
            points.append(grid[good][:, None] + offsets)
            scores.append(score[good].astype(np.float64))
        return Found(
            boxes=np.concatenate(boxes),
            points=np.concatenate(points),
            scores=np.concatenate(scores),
        )
