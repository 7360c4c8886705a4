"""Sampling of planes through an affine, on the CPU: Catmull-Rom and bilinear.

OpenCV's ``INTER_CUBIC`` is the a = -0.75 cubic: it does not reproduce a ramp (a shift of 0.30 px
comes out as 0.34). So the weights are our own, a = -0.5 (R. Keys, "Cubic convolution interpolation
for digital image processing", ASSP 29(6), 1981). A value does not depend on the box that it was
computed in. The bilinear reading serves where there is no fine detail to lose.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from kernels import loops
from kernels.dither import THRESHOLDS
from kernels.geometry import Affine, compose, invert, resize
from kernels.picture import Plane, Roi

ALIAS_LIMIT = 1.5
"""A plane that shrinks by more than this is box-filtered before it is sampled."""

Samples = NDArray[np.float32]
Source = Plane | Samples
Factors = tuple[int, int]
"""(x, y) whole numbers of samples in a cell of a box level."""


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


def sample_cubic(
    source: Source, to_source: Affine, box: Roi, *, outside_zero: bool = False
) -> Samples:
    """Sample a plane with the Catmull-Rom cubic.

    Args:
        source: [h, w].
        to_source: float64 [2, 3] output pixels -> source samples.
        box: output pixels wanted, not empty.
        outside_zero: beyond the source is zero; else its edges repeat.
    Returns: float32 [box height, box width].
    """
    level = Level.seen(source, to_source, box_factors(to_source), box, zero=outside_zero)
    out = np.empty((box.y1 - box.y0, box.x1 - box.x0), np.float32)
    loops.sample(
        level.cells,
        level.low,
        level.size,
        level.to_level,
        box.x0,
        box.y0,
        outside_zero,
        WEIGHTS,
        out,
    )
    return out


def add_sampled(
    plane: Plane,
    top: int,
    change: Samples,
    to_change: Affine,
    part: Roi,
    touched: NDArray[np.bool_],
) -> None:
    """Sample a change of codes as ``sample_cubic`` does, and add it to a plane, in place.

    Rounded by an ordered dither (``kernels.dither``) and clipped to 0..``top``.

    Args:
        plane: [h, w] uint8 or uint16.
        change: [h, w] float32 in codes; zero beyond.
        to_change: float64 [2, 3] samples of the plane -> samples of the change.
        part: of the plane.
        touched: bool [part height, part width], which samples may change.
    """
    level = Level.seen(change, to_change, box_factors(to_change), part, zero=True)
    loops.add_change(
        level.cells,
        level.low,
        level.size,
        level.to_level,
        part.x0,
        part.y0,
        WEIGHTS,
        np.ascontiguousarray(touched),
        THRESHOLDS,
        top,
        plane,
    )


def sample_linear(
    source: Source, to_source: Affine, factors: tuple[int, int], box: Roi, points: int = 1
) -> Samples:
    """Bilinear samples of a box level of one plane; beyond its edges they repeat.

    Args:
        source: [h, w] uint8, uint16 or float32.
        to_source: float64 [2, 3] output pixels -> source samples.
        factors: (x, y) of the box level.
        box: output pixels wanted, not empty.
        points: a value is the mean of ``points`` x ``points`` samples, evenly over its pixel.
    Returns: float32 [box height, box width].
    """
    level = Level.seen(source, to_source, factors, box)
    fine = compose(level.to_level, resize(1 / points, 1 / points))
    out = np.empty((box.y1 - box.y0, box.x1 - box.x0), np.float32)
    loops.sample_means(level.cells, level.low, level.size, fine, box.x0, box.y0, points, out)
    return out


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Level:
    """The part of a plane's box level that some output pixels see."""

    cells: Samples
    low: tuple[int, int]
    """(x, y) of its first cell in the level."""
    size: tuple[int, int]
    """(width, height) of the whole level in cells."""
    to_level: Affine
    """Output pixels -> cells of the level."""

    @classmethod
    def seen(
        cls,
        source: Source,
        to_source: Affine,
        factors: tuple[int, int],
        box: Roi,
        *,
        zero: bool = False,
    ) -> Self:
        """What the cubic sees for the output pixels ``box``; beyond the source it repeats its
        edges or is ``zero``."""
        kx, ky = factors
        seen, size, to_level = seen_cells(source.shape, to_source, factors, box)
        border = cv2.BORDER_CONSTANT if zero else cv2.BORDER_REPLICATE
        cells = box_level(source, kx, ky, seen, border)
        return cls(
            cells=np.ascontiguousarray(cells, np.float32),
            low=(seen.x0, seen.y0),
            size=size,
            to_level=to_level,
        )


def seen_cells(
    shape: tuple[int, ...], to_source: Affine, factors: Factors, box: Roi
) -> tuple[Roi, tuple[int, int], Affine]:
    """What the cubic sees of a plane's box level for the output pixels ``box``.

    Args:
        shape: (height, width) of the plane.
        to_source: float64 [2, 3] output pixels -> samples of the plane.
        factors: (x, y) of the box level.
    Returns: cells of the level, at least one; (width, height) of the whole level; float64 [2, 3]
        output pixels -> cells.
    """
    kx, ky = factors
    size = (-(-shape[1] // kx), -(-shape[0] // ky))
    to_level = compose(invert(resize(kx, ky)), to_source)
    x0, x1 = _extent(to_level[0], box, size[0])
    y0, y1 = _extent(to_level[1], box, size[1])
    return Roi(x0=x0, y0=y0, x1=x1, y1=y1), size, to_level


def _extent(row: NDArray[np.float64], box: Roi, size: int) -> tuple[int, int]:
    """First cell, and the one behind the last, that the cubic sees along one axis."""
    a, b, c = row.tolist()
    # Half a pixel beyond the outer ones: where a mean of several places looks.
    left, right, upper, lower = box.x0 - 0.5, box.x1 - 0.5, box.y0 - 0.5, box.y1 - 0.5
    low = min(a * left, a * right) + min(b * upper, b * lower) + c
    high = max(a * left, a * right) + max(b * upper, b * lower) + c
    # Clipped before it is whole: a far-off box has no whole number of cells.
    first = int(min(max(low - 2, 0.0), size - 1.0))
    return first, int(min(max(high + 4, first + 1.0), float(size)))


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
    """Block means of a part of a source."""
    short_y, short_x = shape[0] * ky - source.shape[0], shape[1] * kx - source.shape[1]
    if short_x or short_y:
        source = cast(Source, cv2.copyMakeBorder(source, 0, short_y, 0, short_x, border))
    means = np.empty(shape, np.float32)
    loops.means(source, kx, ky, means)
    return means


WEIGHTS = cubic_weights(np.arange(loops.FRACTIONS) / loops.FRACTIONS).astype(np.float32)
"""[4096, 4] of the fractions of a sample."""
