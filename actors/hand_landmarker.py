"""Where the 21 joints of one hand are.

Network: MediaPipe's ``hand_landmark_full`` (F. Zhang et al., "MediaPipe Hands: On-device Real-time
Hand Tracking", 2020). It reads an upright hand of which it can trust the place to about a fifth of
its size, so a hand's own joints give the place to look for it in the next frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from actors.anchors import Detection
from actors.inference.litert import LiteRt
from kernels.api import Kernels
from kernels.geometry import apply, compose, invert, square_crop
from kernels.picture import Picture
from scheduler.hands import JOINTS

SIZE: Final = 224
"""Side of the crop that the network reads, in pixels."""
PALM: Final = (0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18)
"""Joints whose extent gives the hand's place: fingertips move too much."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Hand:
    """The joints of one hand."""

    landmarks: NDArray[np.float64]
    """[21, 2] x y."""
    presence: float
    """How sure the network is that its crop showed a hand, 0..1."""


class HandLandmarker:
    """Puts the joints on a hand whose place is about known.

    Args:
        model_path: ``hand_landmark_full.tflite``.
        threads: of the network; the result does not depend on it.

    Raises:
        ModelCorrupt: the file is no such network.
    """

    def __init__(self, model_path: Path, threads: int = 1) -> None:
        self._network = LiteRt.load(model_path, threads=threads)

    def locate(
        self,
        picture: Picture,
        square: NDArray[np.float64],
        display: NDArray[np.float64],
        kernels: Kernels,
    ) -> Hand:
        """The hand in a square of a picture, joints in display pixels.

        Args:
            picture: as decoded, in coded orientation.
            square: float64 [2, 3], display pixels -> the network's crop, from ``palm_square`` or
                ``hand_square``.
            display: float64 [2, 3], coded pixels of ``picture`` -> upright display pixels.
            kernels: cuts the crop.
        """
        rgb = kernels.thumbnail(picture, compose(square, display), SIZE, SIZE)
        points, presence, *_ = self._network.run((rgb.astype(np.float32) / np.float32(255))[None])
        # The network counts from the crop's edge: its centre of the first pixel is 0.5.
        joints = points.reshape(JOINTS, 3)[:, :2].astype(np.float64) - 0.5
        return Hand(landmarks=apply(invert(square), joints), presence=float(presence.reshape(())))


def palm_square(palm: Detection) -> NDArray[np.float64]:
    """float64 [2, 3], the palm's pixels -> the network's crop.

    The square stands on the line from the wrist to the middle finger's root, is 2.6 times as wide
    as the palm's box and lies half a box towards the fingers.
    """
    low, high = palm.box.reshape(2, 2)
    side = float((high - low).max())
    upright = _upright(palm.keypoints[2] - palm.keypoints[0])
    x, y = upright @ ((low + high) / 2)
    return square_crop(upright, [x, y - 0.5 * side], 2.6 * side, SIZE)


def hand_square(landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64 [2, 3], the joints' space -> the network's crop, by joints [21, 2] found before.

    The square stands on the line from the wrist to the middle of the fingers' roots, is twice as
    wide as the palm's extent along it and lies a tenth of it towards the fingers.
    """
    roots = ((landmarks[5] + landmarks[13]) / 2 + landmarks[9]) / 2
    upright = _upright(roots - landmarks[0])
    turned = landmarks[list(PALM)] @ upright.T
    low, high = turned.min(axis=0), turned.max(axis=0)
    x, y = (low + high) / 2
    y -= 0.1 * (high[1] - low[1])
    return square_crop(upright, [x, y], 2.0 * float((high - low).max()), SIZE)


def _upright(up: NDArray[np.float64]) -> NDArray[np.float64]:
    """[2, 2] the rotation that makes a direction point up; of no direction, none."""
    length = float(np.hypot(up[0], up[1]))
    x, y = up / length if length > 0 else (0.0, -1.0)
    return np.array([[-y, x], [-x, -y]])
