"""How alike two pictures are, and how steady a picture is from frame to frame."""

from __future__ import annotations

from typing import Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Gray = NDArray[np.uint8]

WINDOW: Final = 7
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def similarity_map(a: Gray, b: Gray) -> Floats:
    """Approximate structural similarity around each pixel of the half-sized pictures.

    SSIM (Wang, Bovik, Sheikh, Simoncelli, IEEE TIP 13(4), 2004) with a 7 x 7 box instead of its
    Gaussian, on means of 2 x 2 pixels: a quarter of the work, and a camera's noise, which is no
    structure, counts half.

    Args:
        a, b: uint8 [h, w], h and w even.
    Returns: float32 [h / 2, w / 2], 1 where they are equal, at least -1.
    Raises ValueError: shapes that differ or are odd.
    """
    if a.shape != b.shape or a.ndim != 2 or a.shape[0] % 2 or a.shape[1] % 2:
        raise ValueError(f"pictures {a.shape} and {b.shape}; wanted two of one even [h, w]")
    h, w = a.shape
    x, y = (
        cast(Gray, cv2.resize(p, (w // 2, h // 2), interpolation=cv2.INTER_AREA)).astype(np.float32)
        for p in (a, b)
    )
    mean_x, mean_y = _mean(x), _mean(y)
    product = mean_x * mean_y
    squares = mean_x * mean_x + mean_y * mean_y
    covariance = _mean(x * y) - product
    variances = _mean(x * x + y * y) - squares
    similarity = (2 * product + np.float32(_C1)) * (2 * covariance + np.float32(_C2))
    similarity /= (squares + np.float32(_C1)) * (variances + np.float32(_C2))
    return cast(Floats, similarity)


def weighted_mean(values: Floats, weight: Floats) -> float:
    """Mean of ``values`` by ``weight``, both [h, w]; 0 where there is no weight."""
    total = float(weight.sum(dtype=np.float64))
    if total <= 0:
        return 0.0
    return float(np.multiply(values, weight).sum(dtype=np.float64)) / total


def warping_error(now: Floats, carried: Floats, weight: Floats) -> float:
    """Mean absolute difference of a picture and its predecessor carried along by the motion.

    Lai, Huang, Wang, Shechtman, Yumer, Yang, "Learning blind video temporal consistency", ECCV
    2018, with the absolute difference. Compare it with the source's own by the same motion: noise
    and what flow cannot follow are in both.

    Args:
        now, carried: [h, w] luma, any unit; the error has the same one.
        weight: [h, w], 0 where the motion is not to be trusted or the picture does not matter.
    """
    return weighted_mean(np.abs(now - carried), weight)


def luma_flicker(now: Floats, carried: Floats, weight: Floats, block: int = 16) -> float:
    """Mean absolute change of brightness of blocks of ``block`` pixels: the part of
    `warping_error` that is broad enough to be seen as flicker, not as noise.

    Args: as `warping_error`.
    """
    h, w = now.shape
    size = (max(1, w // block), max(1, h // block))
    total = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    change = cv2.resize((now - carried) * weight, size, interpolation=cv2.INTER_AREA)
    return float(np.abs(change).sum(dtype=np.float64) / max(float(total.sum()), 1e-9))


def _mean(values: Floats) -> Floats:
    return cast(Floats, cv2.blur(values, (WINDOW, WINDOW), borderType=cv2.BORDER_REFLECT_101))
