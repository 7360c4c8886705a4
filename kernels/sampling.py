"""Catmull-Rom sampling of one plane through an affine, on the CPU.

OpenCV's ``INTER_CUBIC`` is the a = -0.75 cubic: it does not reproduce a ramp (a shift of 0.30 px
comes out as 0.34). So the four neighbours of a row are packed into one 16-byte pixel, gathered in
one go for each of the four rows, and weighted with our own a = -0.5 weights (R. Keys, "Cubic
convolution interpolation for digital image processing", ASSP 29(6), 1981). Every operation is
elementwise, so a value does not depend on the box that it was computed in.
"""

from __future__ import annotations

import math
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from kernels.geometry import Affine, compose, invert, resize
from kernels.picture import Plane, Roi

ALIAS_LIMIT = 1.5
"""A plane that shrinks by more than this is box-filtered before it is sampled."""
_STRIP = 1 << 14
"""Output samples worked on at a time: their neighbours and weights then stay in the cache."""

Samples = NDArray[np.float32]
Source = Plane | Samples


def box_factors(to_source: Affine) -> tuple[int, int]:
    """(x, y) whole factors by which a source is box-filtered down before cubic sampling.

    Args: to_source: output pixels -> source samples.
    """
    steps = np.hypot(to_source[:, 0], to_source[:, 1])
    kx, ky = (max(1, math.ceil(step / ALIAS_LIMIT - 1e-9)) for step in steps)
    return kx, ky


def cubic_weights(t: NDArray[np.float32]) -> tuple[Samples, Samples, Samples, Samples]:
    """Catmull-Rom weights of the samples at -1, 0, 1, 2 for fractions ``t`` in 0..1."""
    half = np.float32(0.5)
    t2 = t * t
    t3 = t2 * t
    first = t2 - half * (t3 + t)
    last = half * (t3 - t2)
    third = half * t + np.float32(2.0) * t2 - np.float32(1.5) * t3
    return first, np.float32(1.0) - first - third - last, third, last


class CubicSampler:
    """Samples planes of one size through one affine; weights are shared between the planes."""

    __slots__ = ("_box", "_kx", "_ky", "_size", "_strips")

    def __init__(self, to_source: Affine, box: Roi, width: int, height: int) -> None:
        """
        Args:
            to_source: float64 [2, 3] output pixels -> source samples.
            box: output pixels wanted.
            width, height: of the source in samples.
        """
        self._box = box
        self._kx, self._ky = box_factors(to_source)
        self._size = (-(-width // self._kx), -(-height // self._ky))
        to_level = compose(invert(resize(self._kx, self._ky)), to_source)
        rows = max(1, _STRIP // max(1, box.x1 - box.x0))
        self._strips = [
            _Strip(to_level, Roi(x0=box.x0, y0=y, x1=box.x1, y1=min(y + rows, box.y1)), self._size)
            for y in range(box.y0, box.y1, rows)
        ]

    def sample(self, source: Source, *, outside_zero: bool = False) -> Samples:
        """float32 [box height, box width]; beyond the source its edge repeats, or zero."""
        out = np.empty((self._box.y1 - self._box.y0, self._box.x1 - self._box.x0), np.float32)
        border = cv2.BORDER_CONSTANT if outside_zero else cv2.BORDER_REPLICATE
        for strip in self._strips:
            cells = box_level(source, self._kx, self._ky, strip.cells, border)
            strip.gather(cells, out[strip.top - self._box.y0 :])
        return out


class _Strip:
    """Positions and weights of a band of output rows."""

    __slots__ = ("_index", "_shape", "_weights", "cells", "top")

    def __init__(self, to_level: Affine, box: Roi, size: tuple[int, int]) -> None:
        self.top = box.y0
        columns = np.arange(box.x0, box.x1, dtype=np.float64)
        rows = np.arange(box.y0, box.y1, dtype=np.float64)
        self._shape = (len(rows), len(columns))
        whole, weights = [], []
        for (a, b, c), extent in zip(to_level.tolist(), size, strict=True):
            position = a * columns[None, :] + (b * rows + c)[:, None]
            base = np.floor(position)
            weights.append(cubic_weights((position - base).ravel().astype(np.float32)))
            whole.append(base.astype(np.intp))
            if base.min() < -3 or base.max() > extent + 1:
                # Three samples beyond an edge all taps see only the border.
                whole[-1] = np.clip(whole[-1], -3, extent + 1)
        ix, iy = whole
        self.cells = Roi(
            x0=int(ix.min()) - 1, y0=int(iy.min()) - 1, x1=int(ix.max()) + 3, y1=int(iy.max()) + 3
        )
        packed = self.cells.x1 - self.cells.x0 - 3
        self._index = ((iy - 1 - self.cells.y0) * packed + (ix - 1 - self.cells.x0)).ravel()
        across = cv2.merge(weights[0])
        self._weights = [across * cv2.merge([down] * 4) for down in weights[1]]

    def gather(self, cells: Source, out: Samples) -> None:
        height, width = cells.shape
        packed = np.empty((height, width - 3, 4), np.float32)
        for tap in range(4):
            packed[..., tap] = cells[:, tap : width - 3 + tap]
        pixels = packed.reshape(-1, 4)
        total: Samples | None = None
        for tap, weights in enumerate(self._weights):
            row = pixels[tap * (width - 3) :].take(self._index, axis=0)
            row *= weights.reshape(row.shape)
            total = row if total is None else np.add(total, row, out=total)
        assert total is not None
        # As complex numbers two channels are added at a time.
        pairs = total.view(np.complex64)
        summed = pairs[:, 0] + pairs[:, 1]
        out[: self._shape[0]] = (summed.real + summed.imag).reshape(self._shape)


def box_level(source: Source, kx: int, ky: int, cells: Roi, border: int) -> Source:
    """Means of ``kx`` x ``ky`` samples, on cells counted from the source's first sample.

    A cell cut by the right or bottom edge is the mean as if the edge sample repeated (or zero
    followed). Cells wholly outside repeat the edge cell (or are zero).

    Args:
        source: [h, w] uint8, uint16 or float32.
        cells: box of cells wanted; may reach outside.
        border: ``cv2.BORDER_REPLICATE`` or ``cv2.BORDER_CONSTANT`` (zero).
    Returns: [cells height, cells width] float32; with both factors 1 the source's own type.
    """
    height, width = source.shape
    last_x, last_y = -(-width // kx) - 1, -(-height // ky) - 1
    x0, y0 = min(max(cells.x0, 0), last_x), min(max(cells.y0, 0), last_y)
    x1, y1 = max(min(cells.x1, last_x + 1), x0 + 1), max(min(cells.y1, last_y + 1), y0 + 1)
    inner: Any = source[y0 * ky : y1 * ky, x0 * kx : x1 * kx]
    if kx > 1 or ky > 1:
        short_y, short_x = (y1 - y0) * ky - inner.shape[0], (x1 - x0) * kx - inner.shape[1]
        inner = inner.astype(np.float32)
        if short_x or short_y:
            inner = cv2.copyMakeBorder(inner, 0, short_y, 0, short_x, border)
        inner = cv2.resize(inner, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
    if cells == Roi(x0=x0, y0=y0, x1=x1, y1=y1):
        return cast(Source, inner)
    # A box wholly outside leaves a cell of the edge that it does not contain: pad, then cut.
    left, top = max(x0 - cells.x0, 0), max(y0 - cells.y0, 0)
    right, bottom = max(cells.x1 - x1, 0), max(cells.y1 - y1, 0)
    padded: Any = cv2.copyMakeBorder(inner, top, bottom, left, right, border)
    skip_x, skip_y = max(cells.x0 - x0, 0), max(cells.y0 - y0, 0)
    rows, columns = cells.y1 - cells.y0, cells.x1 - cells.x0
    return cast(Source, padded[skip_y : skip_y + rows, skip_x : skip_x + columns])
