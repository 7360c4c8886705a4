"""Affines and boxes between frame, display and crop. Pure float64, no pixels.

Coordinates follow ``kernels.picture``: pixel centres lie on whole numbers, so scaling a picture by
s maps x to (x + 0.5) * s - 0.5. An affine is float64 [2, 3] and acts on columns (x, y, 1).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kernels.picture import PictureFormat, Roi

Affine = NDArray[np.float64]
Points = NDArray[np.float64]


def similarity(source: ArrayLike, target: ArrayLike) -> Affine:
    """The rotation, uniform scale and shift that bring ``source`` nearest to ``target``.

    Least squares over all points, without mirroring: Umeyama, "Least-squares estimation of
    transformation parameters between two point patterns", PAMI 13(4), 1991.

    Args:
        source: [n, 2] points, n >= 2.
        target: [n, 2] points in the same order.
    Returns: float64 [2, 3] source -> target.
    Raises ValueError: shapes differ, a value is not finite, or all source points coincide.
    """
    src = np.asarray(source, np.float64)
    dst = np.asarray(target, np.float64)
    if src.shape != dst.shape or src.ndim != 2 or src.shape[1] != 2 or len(src) < 2:
        raise ValueError(f"points of shapes {src.shape} and {dst.shape}; wanted two of [n >= 2, 2]")
    if not (np.isfinite(src).all() and np.isfinite(dst).all()):
        raise ValueError("points with values that are not finite")
    src_mean, dst_mean = src.mean(0), dst.mean(0)
    a, b = src - src_mean, dst - dst_mean
    spread = float((a * a).sum())
    if spread <= 1e-12 * max(1.0, float((src_mean * src_mean).sum())):
        raise ValueError("all source points coincide: no similarity is determined")
    # In the plane the optimum has a closed form: the complex least-squares factor b = z a.
    real = float((a * b).sum()) / spread
    imag = float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / spread
    linear = np.array([[real, -imag], [imag, real]])
    return np.column_stack([linear, dst_mean - linear @ src_mean])


def compose(after: Affine, before: Affine) -> Affine:
    """The affine that applies ``before`` first, then ``after``."""
    # In plain numbers: a tenth of the time that arrays so small take.
    (a, b, c), (d, e, f) = after.tolist()
    (g, h, i), (j, k, m) = before.tolist()
    return np.array(
        [
            [a * g + b * j, a * h + b * k, a * i + b * m + c],
            [d * g + e * j, d * h + e * k, d * i + e * m + f],
        ]
    )


def invert(affine: Affine) -> Affine:
    """The inverse map. Raises ValueError when the affine flattens the plane or is not finite."""
    (a, b, c), (d, e, f) = np.asarray(affine, np.float64).tolist()
    det = a * e - b * d
    if not math.isfinite(det + c + f) or abs(det) < 1e-12:
        raise ValueError(f"affine with determinant {det} cannot be inverted")
    return np.array(
        [
            [e / det, -b / det, (b * f - c * e) / det],
            [-d / det, a / det, (c * d - a * f) / det],
        ]
    )


def apply(affine: Affine, points: ArrayLike) -> Points:
    """Map [..., 2] points; float64 of the same shape."""
    pts = np.asarray(points, np.float64)
    return pts @ affine[:, :2].T + affine[:, 2]


def scale(affine: Affine) -> float:
    """How many output pixels one input pixel becomes in length: sqrt(abs(determinant))."""
    return math.sqrt(abs(float(np.linalg.det(affine[:, :2]))))


def resize(scale_x: float, scale_y: float) -> Affine:
    """The affine of a picture scaled about its outer edges: x -> (x + 0.5) * scale_x - 0.5."""
    return np.array(
        [
            [scale_x, 0.0, 0.5 * scale_x - 0.5],
            [0.0, scale_y, 0.5 * scale_y - 0.5],
        ]
    )


def square_crop(upright: NDArray[np.float64], centre: ArrayLike, side: float, size: int) -> Affine:
    """The affine of a turned square to an upright crop; the square's edges become the crop's.

    Args:
        upright: float64 [2, 2], the rotation after which the square stands upright.
        centre: [2], the square's, after that rotation.
        side: the square's, > 0.
        size: side of the crop in pixels.
    Returns: float64 [2, 3].
    """
    scale = size / max(side, 1e-6)
    return np.column_stack([scale * upright, (size - 1) / 2 - scale * np.asarray(centre)])


def display_size(
    width: int, height: int, sample_aspect_ratio: float, rotation: int
) -> tuple[int, int]:
    """(width, height) of the upright picture with square pixels, in whole pixels, at least 1.

    Args: as ``display_affine``.
    """
    _check_display(width, height, sample_aspect_ratio, rotation)
    wide = max(1, round(width * sample_aspect_ratio))
    return (height, wide) if rotation in (90, 270) else (wide, height)


def display_affine(width: int, height: int, sample_aspect_ratio: float, rotation: int) -> Affine:
    """Coded frame pixels -> upright square-pixel display pixels.

    The width is stretched by the sample aspect ratio (the height stays), then the picture is
    turned. Outer edges map onto outer edges of ``display_size``.

    Args:
        width, height: coded picture in pixels.
        sample_aspect_ratio: width of a pixel over its height, > 0; 1 for square pixels.
        rotation: clockwise degrees by which a player turns the picture: 0, 90, 180 or 270.
    Returns: float64 [2, 3].
    Raises ValueError: another rotation, or a size or ratio that is not positive.
    """
    _check_display(width, height, sample_aspect_ratio, rotation)
    wide = max(1, round(width * sample_aspect_ratio))
    turn = {
        0: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]],
        90: [[0.0, -1.0, height - 1.0], [1.0, 0.0, 0.0]],
        180: [[-1.0, 0.0, wide - 1.0], [0.0, -1.0, height - 1.0]],
        270: [[0.0, 1.0, 0.0], [-1.0, 0.0, wide - 1.0]],
    }[rotation]
    return compose(np.array(turn), resize(wide / width, 1.0))


def crop_roi(affine: Affine, size: int, width: int, height: int, margin: int = 0) -> Roi:
    """The box of frame pixels whose centres a crop may cover, cut to the frame.

    Args:
        affine: frame -> crop.
        size: side of the crop in crop pixels; it covers [-0.5, size - 0.5] on both axes.
        width, height: the frame's, in pixels.
        margin: frame pixels added on all sides before cutting.
    Returns: the box; empty when the crop lies wholly outside the frame.
    """
    low, high = -0.5, size - 0.5
    corners = apply(invert(affine), [[low, low], [high, low], [low, high], [high, high]])
    x0, y0 = (int(v) for v in np.floor(corners.min(0)) - margin)
    x1, y1 = (int(v) for v in np.ceil(corners.max(0)) + 1 + margin)
    box = Roi(x0=max(x0, 0), y0=max(y0, 0), x1=min(x1, width), y1=min(y1, height))
    return Roi(x0=0, y0=0, x1=0, y1=0) if box.empty else box


def plane_affine(fmt: PictureFormat, plane: int) -> Affine:
    """Samples of one plane -> frame (luma) pixels: where each sample sits.

    A subsampled axis is centred between its luma samples, save that the horizontal one sits on
    the left luma column when ``fmt.chroma_left``.
    """
    if plane == 0:
        return resize(1.0, 1.0)
    to_luma = resize(float(1 << fmt.sub_x), float(1 << fmt.sub_y))
    if fmt.chroma_left:
        to_luma[0, 2] = 0.0
    return to_luma


def _check_display(width: int, height: int, sample_aspect_ratio: float, rotation: int) -> None:
    if width < 1 or height < 1 or not 0 < sample_aspect_ratio < math.inf:
        raise ValueError(
            f"picture of {width}x{height} with sample aspect ratio {sample_aspect_ratio}; "
            "wanted positive sizes and a positive, finite ratio"
        )
    if rotation not in (0, 90, 180, 270):
        raise ValueError(f"rotation {rotation}; wanted 0, 90, 180 or 270 degrees clockwise")
