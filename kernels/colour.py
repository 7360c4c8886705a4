"""What sample codes mean: matrices between codes and R'G'B', and transfer curves.

Sources: ITU-R BT.601-7, BT.709-6, BT.2020-2 (non-constant luminance), BT.2100-2 (PQ, HLG),
IEC 61966-2-1 (sRGB); code ranges after ITU-T H.273, 8.3.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernels.picture import PictureFormat, Transfer

TABLE_SIZE = 1 << 16


def luma_weights(fmt: PictureFormat) -> tuple[float, float, float]:
    """Weights of R', G', B' in luma; they add up to 1. Gray "rgb" pictures count as BT.709."""
    kr, kb = {
        "bt601": (0.299, 0.114),
        "bt709": (0.2126, 0.0722),
        "bt2020": (0.2627, 0.0593),
        "rgb": (0.2126, 0.0722),
    }[fmt.matrix]
    return kr, 1.0 - kr - kb, kb


def code_scale(fmt: PictureFormat) -> tuple[float, float, float, float]:
    """(luma zero, luma span, chroma zero, chroma span) in codes of the format's depth."""
    top = float((1 << fmt.depth) - 1)
    unit = 2.0 ** (fmt.depth - 8)
    if fmt.full_range:
        return 0.0, top, 128.0 * unit, top
    return 16.0 * unit, 219.0 * unit, 128.0 * unit, 224.0 * unit


def encode_matrix(fmt: PictureFormat) -> NDArray[np.float64]:
    """[planes, 3]: a change of R'G'B' (0..1) -> change of the planes' codes."""
    _, luma_span, _, chroma_span = code_scale(fmt)
    weights = np.array(luma_weights(fmt))
    if fmt.planes == 1:
        return luma_span * weights[None]
    if fmt.matrix == "rgb":
        return luma_span * np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    kr, _, kb = weights
    blue = (np.array([0.0, 0.0, 1.0]) - weights) / (2.0 * (1.0 - kb))
    red = (np.array([1.0, 0.0, 0.0]) - weights) / (2.0 * (1.0 - kr))
    return np.stack([luma_span * weights, chroma_span * blue, chroma_span * red])


def decode_matrix(fmt: PictureFormat) -> NDArray[np.float64]:
    """[3, planes + 1]: codes of the planes and a constant 1 -> R'G'B' (0..1, not clipped)."""
    luma_zero, luma_span, chroma_zero, _ = code_scale(fmt)
    if fmt.planes == 1:
        linear = np.full((3, 1), 1.0 / luma_span)
        zero = np.array([luma_zero])
    else:
        linear = np.linalg.inv(encode_matrix(fmt))
        linear[np.abs(linear) < 1e-12 * np.abs(linear).max()] = 0.0
        chroma = luma_zero if fmt.matrix == "rgb" else chroma_zero
        zero = np.array([luma_zero, chroma, chroma])
    return np.column_stack([linear, -linear @ zero])


def to_linear(signal: NDArray[np.float64], transfer: Transfer) -> NDArray[np.float64]:
    """Non-linear signal 0..1 -> linear light 0..1 (PQ: 1 is 10 000 cd/m2; the rest: 1 is white).

    BT.709 and HLG: inverse of the camera's curve, as wanted for mixing what the camera saw.
    """
    x = np.clip(signal, 0.0, 1.0)
    match transfer:
        case "linear":
            return x
        case "srgb":
            return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
        case "bt709":
            return np.where(x < 4.5 * _BETA, x / 4.5, ((x + _ALPHA - 1) / _ALPHA) ** (1 / 0.45))
        case "pq":
            m1, m2, c1, c2, c3 = _PQ
            root = x ** (1 / m2)
            return (np.maximum(root - c1, 0.0) / (c2 - c3 * root)) ** (1 / m1)
        case "hlg":
            a, b, c = _HLG
            return np.where(x <= 0.5, x * x / 3.0, (np.exp((x - c) / a) + b) / 12.0)


def from_linear(light: NDArray[np.float64], transfer: Transfer) -> NDArray[np.float64]:
    """Inverse of ``to_linear``; light is clipped to 0..1 first."""
    x = np.clip(light, 0.0, 1.0)
    match transfer:
        case "linear":
            return x
        case "srgb":
            return np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)
        case "bt709":
            return np.where(x < _BETA, 4.5 * x, _ALPHA * x**0.45 - (_ALPHA - 1))
        case "pq":
            m1, m2, c1, c2, c3 = _PQ
            power = x**m1
            return ((c1 + c2 * power) / (1.0 + c3 * power)) ** m2
        case "hlg":
            a, b, c = _HLG
            high = a * np.log(np.maximum(12.0 * x - b, 1e-9)) + c
            return np.where(x <= 1 / 12, np.sqrt(3.0 * x), high)


class TransferTables:
    """A transfer curve and its inverse as tables of 65 536 float32 values.

    The inverse is indexed by the fourth root of light: all curves are steep near black, PQ most of
    all, and the root spends the entries there.
    """

    __slots__ = ("from_root", "linear")

    def __init__(self, transfer: Transfer) -> None:
        grid = np.linspace(0.0, 1.0, TABLE_SIZE)
        self.linear = to_linear(grid, transfer).astype(np.float32)
        """[65536] linear light of evenly spaced signals 0..1."""
        self.from_root = from_linear(grid**4, transfer).astype(np.float32)
        """[65536] signal of evenly spaced fourth roots of light 0..1."""

    def to_linear(self, signal: NDArray[np.float32]) -> NDArray[np.float32]:
        """Signal in 0..1 (not checked) -> linear light, float32 of the same shape."""
        return self.linear.take(_index(signal))

    def from_linear(self, light: NDArray[np.float32]) -> NDArray[np.float32]:
        """Linear light, clipped to 0..1 -> signal, float32 of the same shape."""
        root = np.clip(light, 0.0, 1.0)
        np.sqrt(root, out=root)
        return self.from_root.take(_index(np.sqrt(root, out=root)))


def _index(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    scaled = values * np.float32(TABLE_SIZE - 1)
    scaled += np.float32(0.5)
    return scaled.astype(np.uint16)


_ALPHA, _BETA = 1.09929682680944, 0.018053968510807
_PQ = (1305 / 8192, 2523 / 32, 107 / 128, 2413 / 128, 2392 / 128)
_HLG = (0.17883277, 0.28466892, 0.55991073)
