"""The definition of the kernels: float64 NumPy, every step written out, speed no concern.

Shares with the fast back ends only what is itself a definition (matrices, curves, sample sites,
dither thresholds). ``docs/compositing.md`` says how near a back end must come.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from kernels.api import Image, Image8, Patch
from kernels.colour import decode_matrix, encode_matrix, from_linear, to_linear
from kernels.dither import bayer
from kernels.geometry import Affine, apply, compose, invert, plane_affine
from kernels.picture import Picture, PictureFormat, Roi

Array = NDArray[np.float64]


class ReferenceKernels:
    """``kernels.api.Kernels`` in float64; see there for the contract of each method."""

    def thumbnail(self, picture: Picture, affine: Affine, width: int, height: int) -> Image8:
        """Each output pixel is the mean of each plane at 8 x 8 points of its footprint.

        Planes are read bilinearly; beyond the frame the edge samples repeat.
        """
        fmt = picture.format
        to_frame = invert(affine)
        steps = (np.arange(8) + 0.5) / 8 - 0.5
        planes = []
        for number, plane in enumerate(picture.planes):
            to_plane = compose(invert(plane_affine(fmt, number)), to_frame)
            total = np.zeros((height, width))
            for down in steps:
                for right in steps:
                    at = apply(to_plane, _grid(width, height) + np.array([right, down]))
                    total += _gather(plane.astype(np.float64), at, _tent, range(2))
            planes.append(total / len(steps) ** 2)
        small = np.floor(_rgb(planes, fmt) * 255 + 0.5).astype(np.uint8)
        centre = apply(to_frame, _grid(width, height))
        inside = (centre >= -0.5) & (centre <= (fmt.width - 0.5, fmt.height - 0.5))
        small[~inside.all(-1)] = 0
        return small

    def crop(self, picture: Picture, affine: Affine, size: int) -> Image:
        return _crop(picture, affine, size).astype(np.float32)

    def paste(
        self,
        picture: Picture,
        crop: Image,
        mask: Image,
        affine: Affine,
        before: Image | None = None,
    ) -> Patch:
        """Over the whole frame and the whole crop; the patch's region is the whole frame."""
        fmt = picture.format
        weight = mask.astype(np.float64)
        own = _crop(picture, affine, len(mask)) if before is None else before.astype(np.float64)
        after = np.clip(crop.astype(np.float64), 0, 1)
        light = to_linear(own, fmt.transfer)
        brought = blend(to_linear(after, fmt.transfer) - light, weight)
        change = from_linear(light + brought, fmt.transfer) - own
        change[brought == 0] = 0

        positions = apply(affine, _grid(fmt.width, fmt.height))
        touched = _bilinear(*_boxed(weight, affine, positions)) > 0
        thresholds = bayer().astype(np.float64)
        for number, plane in enumerate(picture.planes):
            to_crop = compose(affine, plane_affine(fmt, number))
            rows, columns = plane.shape
            codes = change @ encode_matrix(fmt)[number]
            cells, at = _boxed(codes, to_crop, apply(to_crop, _grid(columns, rows)))
            moved = _cubic(np.pad(cells, 4), at + 4)
            moved[~_blocks(touched, fmt, number)] = 0
            pattern = np.tile(thresholds, (-(-rows // 8), -(-columns // 8)))[:rows, :columns]
            values = plane + np.floor(moved + pattern)
            plane[...] = np.clip(values, 0, (1 << fmt.depth) - 1).astype(plane.dtype)
        return Patch(roi=Roi(x0=0, y0=0, x1=fmt.width, y1=fmt.height), touched=touched)


def blend(difference: Array, mask: Array, levels: int = 3) -> Array:
    """The Laplacian blend of ``kernels.pyramid``: difference [h, w, c], mask [h, w]."""
    if levels == 1:
        return difference * mask[..., None]
    low = reduce(difference)
    detail = difference - expand(low, difference.shape[:2])
    smallest = np.stack(
        [
            np.pad(mask, 2, constant_values=np.inf)[y : y + len(mask), x : x + mask.shape[1]]
            for y in range(5)
            for x in range(5)
        ]
    ).min(0)[::2, ::2]
    coarse = np.minimum(reduce(mask[..., None])[..., 0], 4 * smallest)
    return detail * mask[..., None] + expand(blend(low, coarse, levels - 1), mask.shape)


def reduce(image: Array) -> Array:
    """Every second sample of [h, w, c] after the binomial filter 1 4 6 4 1, mirrored at edges."""
    for axis in (0, 1):
        image = np.moveaxis(image, axis, 0)
        padded = np.pad(
            image, [(2, 2), (0, 0), (0, 0)], mode="reflect" if len(image) > 1 else "edge"
        )
        taps = [padded[tap : tap + len(image)][::2] for tap in range(5)]
        image = (taps[0] + 4 * taps[1] + 6 * taps[2] + 4 * taps[3] + taps[4]) / 16
        image = np.moveaxis(image, 0, axis)
    return image


def expand(image: Array, shape: tuple[int, ...]) -> Array:
    """Twice the size, cut to ``shape``: 1 6 1 on old samples, 4 4 between them.

    Before the first sample the second repeats, after the last the last (as OpenCV does).
    """
    for axis in (0, 1):
        image = np.moveaxis(image, axis, 0)
        before = image[[min(1, len(image) - 1), *range(len(image) - 1)]]
        after = image[[*range(1, len(image)), len(image) - 1]]
        pairs = np.stack([(before + 6 * image + after) / 8, (image + after) / 2], axis=1)
        image = np.moveaxis(pairs.reshape(-1, *image.shape[1:])[: shape[axis]], 0, axis)
    return image


def _crop(picture: Picture, affine: Affine, size: int) -> Array:
    fmt = picture.format
    planes = []
    for number, plane in enumerate(picture.planes):
        to_plane = compose(invert(plane_affine(fmt, number)), invert(affine))
        at = apply(to_plane, _grid(size, size))
        cells, at = _boxed(plane.astype(np.float64), to_plane, at, mode="edge")
        subsampled = number > 0 and (fmt.sub_x > 0 or fmt.sub_y > 0)
        planes.append(_gather(cells, at, _tent, range(2)) if subsampled else _cubic(cells, at))
    return _rgb(planes, fmt)


def _grid(width: int, height: int) -> Array:
    """[height, width, 2] x and y of each pixel."""
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float64)


def _rgb(planes: list[Array], fmt: PictureFormat) -> Array:
    codes = np.stack([*planes, np.ones_like(planes[0])], -1)
    return np.clip(codes @ decode_matrix(fmt).T, 0, 1)


def _boxed(
    source: Array, to_source: Affine, at: Array, mode: str = "constant"
) -> tuple[Array, Array]:
    """Box means for positions that stride by more than 1.5, and the positions among them."""
    steps = np.hypot(to_source[:, 0], to_source[:, 1])
    kx, ky = (max(1, math.ceil(step / 1.5 - 1e-9)) for step in steps)
    rows, columns = source.shape
    padded = np.pad(source, [(0, -rows % ky), (0, -columns % kx)], mode=mode)  # type: ignore[call-overload]
    cells = padded.reshape(len(padded) // ky, ky, -1, kx).mean((1, 3))
    return cells, (at - ((kx - 1) / 2, (ky - 1) / 2)) / (kx, ky)


def _clamped(source: Array, x: NDArray[np.int64], y: NDArray[np.int64]) -> Array:
    return source[np.clip(y, 0, len(source) - 1), np.clip(x, 0, source.shape[1] - 1)]


def _keys(distance: Array) -> Array:
    """Catmull-Rom: Keys' cubic convolution kernel with a = -0.5."""
    x = np.abs(distance)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def _tent(distance: Array) -> Array:
    return np.maximum(1.0 - np.abs(distance), 0.0)


def _cubic(source: Array, at: Array) -> Array:
    """Catmull-Rom at positions [..., 2]; beyond the edges the edge samples repeat."""
    return _gather(source, at, _keys, range(-1, 3))


def _bilinear(source: Array, at: Array) -> Array:
    """Bilinear at positions [..., 2]; zero beyond the edges."""
    return _gather(np.pad(source, 2), at + 2, _tent, range(2))


def _gather(source: Array, at: Array, kernel: Callable[[Array], Array], taps: range) -> Array:
    base = np.floor(at).astype(np.int64)
    total = np.zeros(at.shape[:-1])
    for down in taps:
        for right in taps:
            x, y = base[..., 0] + right, base[..., 1] + down
            weight = kernel(at[..., 0] - x) * kernel(at[..., 1] - y)
            total += weight * _clamped(source, x, y)
    return total


def _blocks(touched: NDArray[np.bool_], fmt: PictureFormat, plane: int) -> NDArray[np.bool_]:
    if plane == 0:
        return touched
    wide, high = 1 << fmt.sub_x, 1 << fmt.sub_y
    rows, columns = fmt.plane_shape(plane)
    pads = [(0, rows * high - fmt.height), (0, columns * wide - fmt.width)]
    blocks: NDArray[np.bool_] = np.pad(touched, pads).reshape(rows, high, columns, wide)
    return np.asarray(np.logical_or.reduce(blocks, axis=(1, 3)))
