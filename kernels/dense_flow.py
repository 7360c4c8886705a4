"""Dense optical flow between two small pictures: where each pixel came from."""

from __future__ import annotations

from typing import Protocol, cast

import cv2
import numpy as np
from numpy.typing import NDArray

Gray = NDArray[np.uint8]
Flow = NDArray[np.float32]


class FlowProvider(Protocol):
    """Finds dense flow. It keeps nothing from one call to the next: same pictures, same flow."""

    def flow(self, now: Gray, before: Gray) -> Flow:
        """Where each pixel of ``now`` lies in ``before``, as a step.

        Args:
            now, before: uint8 [h, w], both sides at least 32.
        Returns: float32 [h, w, 2] x y in pixels: ``now`` at a pixel shows what ``before`` shows at
            that pixel plus this.
        """
        ...


class DisFlow:
    """``FlowProvider`` by dense inverse search, on the CPU; same bytes for any number of threads.

    Kroeger, Timofte, Dai, Van Gool, "Fast optical flow using dense inverse search", ECCV 2016, in
    OpenCV's implementation. Finest scale 4 px: on pictures with a camera's noise that is as exact
    (0.05 to 0.09 px) as the finer presets, which follow the noise at four times the price.

    Args:
        small: pictures are means of 2 x 2 pixels or more. Finest scale is then 2 px of theirs, and
            one step of variational refinement does what five do (docs/performance.md).
    """

    __slots__ = ("_dis",)

    def __init__(self, *, small: bool = False) -> None:
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        if small:
            self._dis.setFinestScale(1)
            self._dis.setVariationalRefinementIterations(1)

    def flow(self, now: Gray, before: Gray) -> Flow:
        flow = np.zeros((*now.shape, 2), np.float32)
        return cast(Flow, self._dis.calc(now, before, flow))
