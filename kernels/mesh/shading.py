"""Light and detail: a picture as smooth skin times what lies on it."""

from __future__ import annotations

import math
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

FLOOR = np.float32(0.04)
"""Added before the logarithm, so that black is not infinitely far away."""


def log_light(rgb: Floats) -> Floats:
    """[h, w, 3] logarithm of R'G'B' 0..1: there, a change of light is a shift."""
    return cast(Floats, cv2.log(np.maximum(rgb, 0) + FLOOR))


def rgb_of(light: Floats) -> Floats:
    """The inverse of ``log_light`` for any shape, kept to 0..1."""
    out: Floats = np.exp(light)
    out -= FLOOR
    return np.clip(out, 0, 1, out=out)


def smooth_skin(light: Floats, weight: Floats, sigma: float, reject: float = 0.0) -> Floats:
    """Blur that only listens where ``weight`` is and answers everywhere (normalised convolution:
    Knutsson and Westin, 1993).

    Args:
        light: [h, w, 3] logarithms; h and w divisible by the reduction.
        weight: [h, w] 0..1.
        sigma: pixels of the Gaussian. The work is done on a picture that is smaller by the power
            of two that leaves at least 2.5 pixels to a sigma.
        reject: samples darker than the first answer by this much lose their voice in a second
            one: strands of hair, lashes, frames of glasses. 0: one pass.

    Returns:
        [h, w, 3]; where no weight is near, the weighted mean of the whole picture.
    """
    h, w = weight.shape
    factor = reduction(sigma)
    both = np.empty((h, w, 4), np.float32)
    np.multiply(light, weight[..., None], out=both[..., :3])
    both[..., 3] = weight
    both = shrink(both, factor)
    low = _spread(both, sigma / factor)
    if reject > 0:
        here = both[..., :3].mean(axis=2) / np.maximum(both[..., 3], 1e-6)
        dark = np.minimum(here - low.mean(axis=2), 0) / np.float32(reject)
        low = _spread(both * np.exp(-dark * dark)[..., None], sigma / factor)
    return cast(Floats, cv2.resize(low, (w, h), interpolation=cv2.INTER_LINEAR))


def shrink(picture: Floats, factor: int) -> Floats:
    """Area-filtered to 1 / factor of the size, rounded up."""
    h, w = picture.shape[:2]
    small = (-(-w // factor), -(-h // factor))
    return cast(Floats, cv2.resize(picture, small, interpolation=cv2.INTER_AREA))


def reduction(sigma: float) -> int:
    """By how much ``smooth_skin`` shrinks a picture for this blur."""
    return 1 << int(math.log2(max(sigma, 2.5) / 2.5))


def _spread(both: Floats, sigma: float) -> Floats:
    """[h, w, 3] blurred sums over blurred weights of [h, w, 4]."""
    total = both.sum(axis=(0, 1))
    near = cast(Floats, cv2.GaussianBlur(both, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE))
    near += np.float32(1e-3) * total / np.maximum(total[3], np.float32(1e-6))
    return cast(Floats, near[..., :3] / np.maximum(near[..., 3:], np.float32(1e-9)))
