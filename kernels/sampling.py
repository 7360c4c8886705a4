"""Sampling of planes through an affine, on the CPU: Catmull-Rom and bilinear.

OpenCV's ``INTER_CUBIC`` is the a = -0.75 cubic: it does not reproduce a ramp (a shift of 0.30 px
comes out as 0.34). So the four neighbours of a row are packed into one 16-byte pixel, gathered in
one go for each of the four rows, and weighted with our own a = -0.5 weights (R. Keys, "Cubic
convolution interpolation for digital image processing", ASSP 29(6), 1981). Every operation is
elementwise, so a value does not depend on the box that it was computed in. OpenCV's bilinear
reading is exact and five times quicker: it serves where there is no fine detail to lose.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from kernels.geometry import Affine, apply, compose, invert, resize
from kernels.picture import Plane, Roi

ALIAS_LIMIT = 1.5
"""A plane that shrinks by more than this is box-filtered before it is sampled."""
_STRIP = 16_000
"""Output samples worked on at a time: their neighbours and weights then stay in the cache, and
arrays of 8 bytes a sample below the 128 KiB from which malloc asks the system for fresh pages."""

_FRACTION_BITS = 12
_FRACTIONS = 1 << _FRACTION_BITS
"""Positions are kept to 1/4096 of a sample: wrong by 0.03 codes at a full step of 8 bits."""

Samples = NDArray[np.float32]
Source = Plane | Samples


def box_factors(to_source: Affine) -> tuple[int, int]:
    """(x, y) whole factors by which a source is box-filtered down before cubic sampling.

    Args:
        to_source: float64 [2, 3] output pixels -> source samples.
    """
    steps = np.hypot(to_source[:, 0], to_source[:, 1])
    kx, ky = (max(1, math.ceil(step / ALIAS_LIMIT - 1e-9)) for step in steps)
    return kx, ky


def cubic_weights(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Catmull-Rom weights [n, 4] of the samples at -1, 0, 1, 2 for fractions ``t`` [n] in 0..1."""
    t2, t3 = t * t, t * t * t
    return np.stack(
        [
            -0.5 * t3 + t2 - 0.5 * t,
            1.5 * t3 - 2.5 * t2 + 1.0,
            -1.5 * t3 + 2.0 * t2 + 0.5 * t,
            0.5 * t3 - 0.5 * t2,
        ],
        axis=-1,
    )


class CubicSampler:
    """Samples planes through affines. Keeps its scratch: use one in each thread."""

    __slots__ = ("_index", "_packed", "_row", "_total", "_weights")

    def __init__(self) -> None:
        self._index = np.zeros(0, np.intp)
        self._packed = np.empty(0, np.float32)
        self._weights = np.empty((4, 0, 4), np.float32)
        self._row = np.empty((0, 4), np.float32)
        self._total = np.empty((0, 4), np.float32)

    def sample(
        self, sources: Sequence[Source], to_source: Affine, box: Roi, *, outside_zero: bool = False
    ) -> list[Samples]:
        """Sample planes of one size through one affine; they share positions and weights.

        Args:
            sources: planes [h, w], all of one size.
            to_source: float64 [2, 3] output pixels -> source samples.
            box: output pixels wanted, not empty.
            outside_zero: beyond the sources is zero; else their edges repeat.
        Returns: for each source float32 [box height, box width].
        """
        height, width = sources[0].shape
        kx, ky = box_factors(to_source)
        size = (-(-width // kx), -(-height // ky))
        to_level = compose(invert(resize(kx, ky)), to_source)
        border = cv2.BORDER_CONSTANT if outside_zero else cv2.BORDER_REPLICATE
        columns = box.x1 - box.x0
        rows = min(max(1, _STRIP // columns), box.y1 - box.y0)
        if self._weights.shape[1] < rows * columns:
            self._weights = np.empty((4, rows * columns, 4), np.float32)
            self._row, self._total = np.empty((2, rows * columns, 4), np.float32)
        results = [np.empty((box.y1 - box.y0, columns), np.float32) for _ in sources]
        for top in range(box.y0, box.y1, rows):
            bottom = min(top + rows, box.y1)
            cells = self._aim(to_level, Roi(x0=box.x0, y0=top, x1=box.x1, y1=bottom), size)
            for source, out in zip(sources, results, strict=True):
                seen = box_level(source, kx, ky, cells, border)
                self._gather(seen, out[top - box.y0 : bottom - box.y0])
        return results

    def _aim(self, to_level: Affine, box: Roi, size: tuple[int, int]) -> Roi:
        """Set up for output pixels ``box``; gives the cells that ``_gather`` wants to see."""
        columns = np.arange(box.x0, box.x1, dtype=np.float64)
        rows = np.arange(box.y0, box.y1, dtype=np.float64)
        fine = to_level * _FRACTIONS
        whole, fractions, spans = [], [], []
        for (a, b, c), extent in zip(fine.tolist(), size, strict=True):
            position = np.add.outer(b * rows + c, a * columns)
            index = np.rint(position, out=position).astype(np.intp).ravel()
            fractions.append(index & (_FRACTIONS - 1))
            index >>= _FRACTION_BITS
            corners = index[[0, len(columns) - 1, -len(columns), -1]]
            low, high = int(corners.min()), int(corners.max())
            if low < -3 or high > extent + 1:
                # Three samples beyond an edge all taps see only the border.
                np.clip(index, -3, extent + 1, out=index)
                low, high = min(max(low, -3), extent + 1), max(min(high, extent + 1), -3)
            whole.append(index)
            spans.append((low - 1, high + 3))
        (x0, x1), (y0, y1) = spans
        ix, iy = whole
        ix -= x0 + 1
        iy -= y0 + 1
        iy *= x1 - x0 - 3
        self._index = np.add(ix, iy, out=ix)
        count = len(ix)
        across = self._row[:count]
        _ACROSS.take(fractions[0], axis=0, out=across, mode="clip")
        for tap, table in enumerate(_DOWN):
            weights = self._weights[tap, :count]
            table.take(fractions[1], axis=0, out=weights, mode="clip")
            weights *= across
        return Roi(x0=x0, y0=y0, x1=x1, y1=y1)

    def _gather(self, cells: Source, out: Samples) -> None:
        """Weigh the neighbours of each output pixel of the box given to ``_aim``."""
        height, width = cells.shape
        if self._packed.size < height * (width - 3) * 4:
            self._packed = np.empty(height * (width - 3) * 4, np.float32)
        packed = self._packed[: height * (width - 3) * 4].reshape(height, width - 3, 4)
        for tap in range(4):
            packed[..., tap] = cells[:, tap : width - 3 + tap]
        pixels = packed.reshape(-1, 4)
        count = len(self._index)
        row, total = self._row[:count], self._total[:count]
        for tap in range(4):
            target = row if tap else total
            shifted = pixels[tap * (width - 3) :]
            shifted.take(self._index, axis=0, out=target, mode="clip")
            target *= self._weights[tap, :count]
            if tap:
                total += row
        # As complex numbers two channels are added at a time.
        pairs = total.view(np.complex64)
        summed = pairs[:, 0] + pairs[:, 1]
        np.add(summed.real.reshape(out.shape), summed.imag.reshape(out.shape), out=out)


def sample_linear(
    source: Source, to_source: Affine, factors: tuple[int, int], size: tuple[int, int]
) -> Samples:
    """Bilinear samples of a box level of one plane; beyond its edges they repeat.

    Args:
        source: [h, w] uint8, uint16 or float32.
        to_source: float64 [2, 3] output pixels -> source samples.
        factors: (x, y) of the box level.
        size: (width, height) of the output.
    Returns: float32 [height, width].
    """
    kx, ky = factors
    to_level = compose(invert(resize(kx, ky)), to_source)
    right, bottom = size[0] - 1, size[1] - 1
    reach = apply(to_level, [[0, 0], [right, 0], [0, bottom], [right, bottom]])
    rows, columns = source.shape
    count = np.array([-(-columns // kx), -(-rows // ky)])
    x0, y0 = (int(v) for v in np.clip(np.floor(reach.min(0)) - 1, -1, count))
    x1, y1 = (int(v) for v in np.clip(np.ceil(reach.max(0)) + 2, [x0 + 1, y0 + 1], count + 1))
    cells = box_level(source, kx, ky, Roi(x0=x0, y0=y0, x1=x1, y1=y1), cv2.BORDER_REPLICATE)
    to_level[:, 2] -= (x0, y0)
    read = cv2.warpAffine(
        cells.astype(np.float32),
        to_level,
        size,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return cast(Samples, read)


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
        inner = _means(inner, kx, ky, (y1 - y0, x1 - x0), border)
    if cells == Roi(x0=x0, y0=y0, x1=x1, y1=y1):
        return cast(Source, inner)
    # A box wholly outside leaves a cell of the edge that it does not contain: pad, then cut.
    left, top = max(x0 - cells.x0, 0), max(y0 - cells.y0, 0)
    right, bottom = max(cells.x1 - x1, 0), max(cells.y1 - y1, 0)
    padded: Any = cv2.copyMakeBorder(inner, top, bottom, left, right, border)
    skip_x, skip_y = max(cells.x0 - x0, 0), max(cells.y0 - y0, 0)
    rows, columns = cells.y1 - cells.y0, cells.x1 - cells.x0
    return cast(Source, padded[skip_y : skip_y + rows, skip_x : skip_x + columns])


def _means(source: Source, kx: int, ky: int, shape: tuple[int, int], border: int) -> Samples:
    """Block means of a part of a source; added up in one fixed order, whatever the part."""
    short_y, short_x = shape[0] * ky - source.shape[0], shape[1] * kx - source.shape[1]
    if short_x or short_y:
        source = cast(Source, cv2.copyMakeBorder(source, 0, short_y, 0, short_x, border))
    rows = source[::ky].astype(np.float32)
    for other in range(1, ky):
        rows += source[other::ky]
    total = rows[:, ::kx].copy()
    for other in range(1, kx):
        total += rows[:, other::kx]
    total *= np.float32(1 / (kx * ky))
    return total


_ACROSS = cubic_weights(np.arange(_FRACTIONS) / _FRACTIONS).astype(np.float32)
_DOWN = [np.repeat(_ACROSS[:, tap, None], 4, axis=1) for tap in range(4)]
"""The same weights, each four times: one for each sample of a packed pixel."""
