"""Pictures as networks want them: one plane a channel, in the network's own range."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def to_planes(picture: Floats, out: Floats) -> None:
    """A picture's channels as planes.

    Args:
        picture: [h, w, c].
        out: [c, h, w], contiguous, filled.
    """
    cv2.split(picture, list(out))


def scale_in(planes: Floats, mean: Sequence[float], std: Sequence[float]) -> None:
    """(x - mean) / std of each plane, in place.

    Args:
        planes: [..., c, h, w].
        mean, std: c numbers each.
    """
    for channel, (middle, spread) in enumerate(zip(mean, std, strict=True)):
        plane = planes[..., channel, :, :]
        if middle:
            plane -= np.float32(middle)
        if spread != 1:
            plane *= np.float32(1 / spread)


def scale_out(planes: Floats, *, signed: bool) -> None:
    """What a network gave, as R'G'B' 0..1, in place.

    Args:
        planes: of any shape.
        signed: it gave -1..1, else 0..1. What lies beyond is cut off.
    """
    if signed:
        planes *= np.float32(0.5)
        planes += np.float32(0.5)
    np.clip(planes, 0, 1, out=planes)


def resized(picture: Floats, side: int) -> Floats:
    """A square picture [h, w] or [h, w, c] at another size, bilinear; itself if it has it."""
    if picture.shape[0] == side:
        return picture
    return cast(Floats, cv2.resize(picture, (side, side), interpolation=cv2.INTER_LINEAR))
