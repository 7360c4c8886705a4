"""The definition of the steps that the CUDA back end offers on their own: float64 NumPy.

What a step has in common with a face's whole way is in ``kernels.reference``; here is the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kernels.colour import code_scale, decode_matrix, encode_matrix, from_linear, to_linear
from kernels.dither import bayer
from kernels.geometry import apply, invert, plane_affine
from kernels.picture import Picture, PictureFormat, Roi

Array = NDArray[np.float64]


def pack(pictures: Array, mean: Array, deviation: Array, bgr: bool) -> Array:
    """[n, h, w, >= 3] -> [n, 3, h, w], ordered, then (value - mean) / deviation by channel."""
    ordered = pictures[..., 2::-1] if bgr else pictures[..., :3]
    return np.moveaxis((ordered - mean) / deviation, -1, 1)


def unpack(tensor: Array, mean: Array, deviation: Array, bgr: bool) -> Array:
    """The inverse of ``pack``, clipped to 0..1: [n, h, w, 3]."""
    pictures = np.moveaxis(tensor, 1, -1) * deviation + mean
    return np.clip(pictures[..., ::-1] if bgr else pictures, 0, 1)


def merge_masks(masks: Array, product: bool, low: float, high: float, border: bool) -> Array:
    """[n, h, w] -> [h, w]: the least or the product, stretched from low..high to 0..1."""
    merged: Array = masks.prod(0) if product else masks.min(0)
    merged = np.clip((merged - low) / (high - low), 0, 1)
    if border:
        merged[[0, -1]] = merged[:, [0, -1]] = 0
    return merged


def blur(picture: Array, taps: Sequence[float], zero_beyond: bool) -> Array:
    """[h, w] filtered along both axes by taps and their mirror image."""
    radius = len(taps) - 1
    both = np.array([*taps[:0:-1], *taps])
    for axis in (0, 1):
        lines = np.moveaxis(picture, axis, 0)
        pads = [(radius, radius), (0, 0)]
        # One sample has no other to be mirrored to.
        mode = "constant" if zero_beyond else "edge" if len(lines) == 1 else "reflect"
        padded = np.pad(lines, pads, mode=mode)  # type: ignore[call-overload]
        total = np.zeros_like(lines)
        for k, tap in enumerate(both):
            total += tap * padded[k : k + len(lines)]
        picture = np.moveaxis(total, 0, axis)
    return picture


def grade(crop: Array, transfer: Array, fmt: PictureFormat) -> Array:
    """[h, w, 4]: gain and bias [2, 3] in light, by four times the mask in the fourth channel."""
    share = np.minimum(4 * crop[..., 3:], 1)
    light = to_linear(np.clip(crop[..., :3], 0, 1), fmt.transfer) * transfer[0] + transfer[1]
    graded = crop.copy()
    graded[..., :3] += share * (from_linear(light, fmt.transfer) - crop[..., :3])
    return graded


def decode(picture: Picture, roi: Roi, light: bool) -> Array:
    """A box of a picture as R'G'B' or light; subsampled chroma is read bilinearly."""
    fmt = picture.format
    x, y = np.meshgrid(np.arange(roi.x0, roi.x1), np.arange(roi.y0, roi.y1))
    planes = []
    for number, plane in enumerate(picture.planes):
        at = apply(invert(plane_affine(fmt, number)), np.stack([x, y], -1))
        planes.append(_bilinear(plane.astype(np.float64), at))
    codes = np.stack([*planes, np.ones(x.shape)], -1)
    rgb = np.clip(codes @ decode_matrix(fmt).T, 0, 1)
    return to_linear(rgb, fmt.transfer) if light else rgb


def encode(rgb: Array, fmt: PictureFormat, roi: Roi, light: bool, dither: bool) -> list[Array]:
    """The codes of a box [h, w, 3] in each plane."""
    rgb = from_linear(rgb, fmt.transfer) if light else np.clip(rgb, 0, 1)
    luma_zero, _, chroma_zero, _ = code_scale(fmt)
    planes = []
    for number in range(fmt.planes):
        sub_x, sub_y = (fmt.sub_x, fmt.sub_y) if number else (0, 0)
        wide, high = 1 << sub_x, 1 << sub_y
        pads = [(0, -len(rgb) % high), (1, -rgb.shape[1] % wide), (0, 0)]
        padded = np.pad(rgb, pads, mode="edge")
        rows = padded.reshape(-1, high, *padded.shape[1:]).mean(1)
        if sub_x == 1 and fmt.chroma_left:
            means = (rows[:, 0:-2:2] + 2 * rows[:, 1:-1:2] + rows[:, 2::2]) / 4
        else:
            means = rows[:, 1:].reshape(len(rows), -1, wide, 3).mean(2)
        zero = chroma_zero if number and fmt.matrix != "rgb" else luma_zero
        codes = means @ encode_matrix(fmt)[number] + zero
        y, x = np.mgrid[: codes.shape[0], : codes.shape[1]]
        pattern = bayer()[(y + (roi.y0 >> sub_y)) % 8, (x + (roi.x0 >> sub_x)) % 8]
        planes.append(np.clip(codes + (pattern if dither else 0.5), 0, (1 << fmt.depth) - 1))
    return planes


def flow_blend(
    before: Array, flow: Array, weight: Array, edge: Array, change: Array, original: Array
) -> tuple[Array, Array]:
    """The change [h, w, 4] with a share of the one before, carried by the flow, and the crop.

    The carried change minus the present one is averaged over 3 x 3 pixels (mirrored at the edges),
    weighed, and added. Flow [.., .., 2] and shares [.., ..] may be smaller.
    """
    h, w = change.shape[:2]
    y, x = np.mgrid[:h, :w].astype(np.float64)
    step = enlarged(flow, (h, w)) * (w / flow.shape[1], h / flow.shape[0])
    difference = catmull_rom(before, x + step[..., 0], y + step[..., 1]) - change
    padded = np.pad(difference, [(1, 1), (1, 1), (0, 0)], mode="reflect")
    mean = sum(padded[j : j + h, i : i + w] for j in range(3) for i in range(3)) / 9
    shares = [enlarged(each[..., None], (h, w)) for each in (weight, weight, weight, edge)]
    settled = change + mean * np.concatenate(shares, -1)
    whole = np.concatenate([original, np.zeros((h, w, 1))], -1)
    return settled, np.clip(settled + whole, 0, 1)


def _bilinear(source: Array, at: Array) -> Array:
    base = np.floor(at).astype(int)
    total = np.zeros(at.shape[:-1])
    for dy in (0, 1):
        for dx in (0, 1):
            x, y = base[..., 0] + dx, base[..., 1] + dy
            share = (1 - abs(at[..., 0] - x)) * (1 - abs(at[..., 1] - y))
            inside = np.clip(y, 0, len(source) - 1), np.clip(x, 0, source.shape[1] - 1)
            total += share * source[inside]
    return total


def enlarged(picture: Array, size: tuple[int, int]) -> Array:
    """[h, w, c] at more pixels, bilinearly; edges repeat."""
    axes = []
    for length, wanted in zip(picture.shape[:2], size, strict=True):
        axes.append(np.clip((np.arange(wanted) + 0.5) * length / wanted - 0.5, 0, length - 1))
    y, x = np.meshgrid(*axes, indexing="ij")
    return np.stack(
        [_bilinear(picture[..., k], np.stack([x, y], -1)) for k in range(picture.shape[2])], -1
    )


def catmull_rom(source: Array, x: Array, y: Array) -> Array:
    """[h, w, c] by the cubic with a = -0.5; zero beyond."""
    base_x, base_y = np.floor(x).astype(int), np.floor(y).astype(int)
    total = np.zeros((*x.shape, source.shape[2]))
    for dy in range(-1, 3):
        for dx in range(-1, 3):
            i, j = base_x + dx, base_y + dy
            inside = (i >= 0) & (j >= 0) & (i < source.shape[1]) & (j < len(source))
            values = source[np.clip(j, 0, len(source) - 1), np.clip(i, 0, source.shape[1] - 1)]
            total += (_keys(x - i) * _keys(y - j) * inside)[..., None] * values
    return total


def _keys(distance: Array) -> Array:
    x = abs(distance)
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
