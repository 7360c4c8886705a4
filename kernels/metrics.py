"""How alike two pictures are, and how steady a picture is from frame to frame."""

from __future__ import annotations

from typing import Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from kernels.filters import carry

Floats = NDArray[np.float32]
Gray = NDArray[np.uint8]

WINDOW: Final = 7
HOME: Final = 0.5
"""Pixels from home up to which a flow that was followed there and back is known."""
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
    return similarity(
        *(cast(Gray, cv2.resize(p, (w // 2, h // 2), interpolation=cv2.INTER_AREA)) for p in (a, b))
    )


def similarity(a: Gray, b: Gray) -> Floats:
    """`similarity_map` of pictures uint8 [h, w] that are means already."""
    x, y = a.astype(np.float32), b.astype(np.float32)
    mean_x, mean_y = _mean(x), _mean(y)
    product = mean_x * mean_y
    squares = mean_x * mean_x + mean_y * mean_y
    covariance = _mean(x * y) - product
    variances = _mean(x * x + y * y) - squares
    alike = (2 * product + np.float32(_C1)) * (2 * covariance + np.float32(_C2))
    alike /= (squares + np.float32(_C1)) * (variances + np.float32(_C2))
    return cast(Floats, alike)


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


def known_motion(forth: Floats, back: Floats) -> NDArray[np.bool_]:
    """Where a dense flow is to be trusted: forth and back again leads home within half a pixel.

    Sundaram, Brox, Keutzer, "Dense point trajectories by GPU-accelerated large displacement optical
    flow", ECCV 2010, with a fixed bound.

    Args:
        forth: float32 [h, w, 2], from a picture to its predecessor (``FlowProvider.flow``).
        back: the same the other way.
    """
    home = forth + carry(back, forth)
    return cast(NDArray[np.bool_], np.square(home).sum(-1) < HOME**2)


def unsteadiness(now: Gray, before: Gray, motion: Floats, weight: Floats) -> tuple[float, float]:
    """(`warping_error`, `luma_flicker`) of a picture and the one before it, both in codes.

    Args:
        now, before: [h, w] luma.
        motion: float32 [h, w, 2] from ``now`` to ``before``; that of the source for the source and
            for what was made of it.
        weight: [h, w], 0 where the picture does not matter or the motion is not known.
    """
    x, y = now.astype(np.float32), carry(before.astype(np.float32), motion)
    return warping_error(x, y, weight), luma_flicker(x, y, weight)


def seam_ratio(errors: NDArray[np.floating], borders: NDArray[np.bool_]) -> float | None:
    """How much less steady a film is at chunk borders: mean error there over the median elsewhere.

    Args:
        errors: [n] of frames; `warping_error`, best over the source's own, so that what the source
            itself does at a border is no seam.
        borders: [n] True for the first frame of a chunk.
    Returns: 1 where nothing is to be seen; None without a border or without anything else.
    """
    if not borders.any() or borders.all():
        return None
    usual = float(np.median(errors[~borders]))
    return float(errors[borders].mean()) / usual if usual > 0 else None


def _mean(values: Floats) -> Floats:
    return cast(Floats, cv2.blur(values, (WINDOW, WINDOW), borderType=cv2.BORDER_REFLECT_101))
