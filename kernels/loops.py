"""The inner loops of the CPU back end: each touches a pixel once.

Indices are made unsigned before use: Numba would else look at each whether it counts from the end.
Constants are float32 by name, or Numba would compute in float64. Rows of arrays have no names: each
would be counted as a reference, once a pixel. What is looked up in a table is clipped so that what
is not a number counts as the least: nothing checks an index here.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.compiled import compiled

Samples = NDArray[np.float32]
Values = NDArray[np.float64]
Plane = NDArray[np.uint8] | NDArray[np.uint16]
U = np.uint64
ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)

FRACTION_BITS = 12
FRACTIONS = 1 << FRACTION_BITS
"""Positions are kept to 1/4096 of a sample: wrong by 0.03 codes at a full step of 8 bits."""


@compiled
def _inside(cells: Samples, x: int, y: int, table: Samples, kx: np.uint64, ky: np.uint64) -> Any:
    """Weigh the 4 x 4 samples from (x, y) on, all of which are there."""
    c0, c1, c2, c3 = U(x), U(x + 1), U(x + 2), U(x + 3)
    r0, r1, r2, r3 = U(y), U(y + 1), U(y + 2), U(y + 3)
    v0, v1, v2, v3 = table[ky, U(0)], table[ky, U(1)], table[ky, U(2)], table[ky, U(3)]
    t0 = ((cells[r0, c0] * v0 + cells[r1, c0] * v1) + cells[r2, c0] * v2) + cells[r3, c0] * v3
    t1 = ((cells[r0, c1] * v0 + cells[r1, c1] * v1) + cells[r2, c1] * v2) + cells[r3, c1] * v3
    t2 = ((cells[r0, c2] * v0 + cells[r1, c2] * v1) + cells[r2, c2] * v2) + cells[r3, c2] * v3
    t3 = ((cells[r0, c3] * v0 + cells[r1, c3] * v1) + cells[r2, c3] * v2) + cells[r3, c3] * v3
    h0, h1, h2, h3 = table[kx, U(0)], table[kx, U(1)], table[kx, U(2)], table[kx, U(3)]
    return (t0 * h0 + t2 * h2) + (t1 * h1 + t3 * h3)


@compiled
def _at_edge(
    cells: Samples,
    low: tuple[int, int],
    size: tuple[int, int],
    ix: int,
    iy: int,
    zero: bool,
    table: Samples,
    kx: np.uint64,
    ky: np.uint64,
) -> Any:
    """The same value where some of the samples from (ix, iy) of the level on lie beyond it."""
    t0 = t1 = t2 = t3 = np.float32(0)
    for tap in range(4):
        row = iy + tap
        if zero and (row < 0 or row >= size[1]):
            continue
        row = min(max(row, 0), size[1] - 1) - low[1]
        weight = table[ky, U(tap)]
        for k in range(4):
            column = ix + k
            if zero and (column < 0 or column >= size[0]):
                continue
            column = min(max(column, 0), size[0] - 1) - low[0]
            value = cells[U(row), U(column)] * weight
            if k == 0:
                t0 += value
            elif k == 1:
                t1 += value
            elif k == 2:
                t2 += value
            else:
                t3 += value
    h0, h1, h2, h3 = table[kx, U(0)], table[kx, U(1)], table[kx, U(2)], table[kx, U(3)]
    return (t0 * h0 + t2 * h2) + (t1 * h1 + t3 * h3)


@compiled
def _aim(
    to_level: Values,
    row: int,
    x0: int,
    size: tuple[int, int],
    at_x: NDArray[np.int64],
    at_y: NDArray[np.int64],
) -> None:
    """Positions of a row of output pixels, in 1/4096 of a cell.

    Three cells beyond an edge all taps see only what lies beyond: farther out counts as there.
    """
    a, d = to_level[0, 0] * FRACTIONS, to_level[1, 0] * FRACTIONS
    px = (to_level[0, 1] * row + to_level[0, 2]) * FRACTIONS
    py = (to_level[1, 1] * row + to_level[1, 2]) * FRACTIONS
    low, right, bottom = -3.0 * FRACTIONS, (size[0] + 1.0) * FRACTIONS, (size[1] + 1.0) * FRACTIONS
    for j in range(len(at_x)):
        x = px + a * (x0 + j)
        x = x if x > low else low
        x = x if x < right else right
        at_x[j] = np.int64(np.rint(x))
        y = py + d * (x0 + j)
        y = y if y > low else low
        y = y if y < bottom else bottom
        at_y[j] = np.int64(np.rint(y))


@compiled
def sample(
    cells: Samples,
    low: tuple[int, int],
    size: tuple[int, int],
    to_level: Values,
    x0: int,
    y0: int,
    zero: bool,
    table: Samples,
    out: Samples,
) -> None:
    """Catmull-Rom samples of a level.

    Args:
        cells: [h, w], the part of the level that is seen; its first lies at ``low`` (x, y).
        size: (width, height) of the whole level.
        to_level: float64 [2, 3] output pixels -> cells of the level.
        x0, y0: output pixel of ``out``'s first.
        zero: beyond the level is zero; else its edges repeat.
        table: [4096, 4] weights.
        out: [rows, columns], filled.
    """
    rows, columns = out.shape
    right, bottom = cells.shape[1] - 4, cells.shape[0] - 4
    at_x, at_y = np.empty(columns, np.int64), np.empty(columns, np.int64)
    for i in range(rows):
        _aim(to_level, y0 + i, x0, size, at_x, at_y)
        for j in range(columns):
            fx, fy = at_x[j], at_y[j]
            ix, iy = (fx >> FRACTION_BITS) - 1, (fy >> FRACTION_BITS) - 1
            kx, ky = U(fx & (FRACTIONS - 1)), U(fy & (FRACTIONS - 1))
            x, y = ix - low[0], iy - low[1]
            if 0 <= x <= right and 0 <= y <= bottom:
                out[i, j] = _inside(cells, x, y, table, kx, ky)
            else:
                out[i, j] = _at_edge(cells, low, size, ix, iy, zero, table, kx, ky)


@compiled
def add_change(
    cells: Samples,
    low: tuple[int, int],
    size: tuple[int, int],
    to_level: Values,
    x0: int,
    y0: int,
    table: Samples,
    touched: NDArray[np.bool_],
    thresholds: Samples,
    top: int,
    plane: Plane,
) -> None:
    """Sample a change of codes as `sample` does (zero beyond), and add it to a plane's part where
    ``touched``, which starts at (x0, y0); rounded by the dither's thresholds, clipped to 0..top."""
    rows, columns = touched.shape
    side = len(thresholds)
    right, bottom = cells.shape[1] - 4, cells.shape[0] - 4
    at_x, at_y = np.empty(columns, np.int64), np.empty(columns, np.int64)
    for i in range(rows):
        _aim(to_level, y0 + i, x0, size, at_x, at_y)
        row = U(y0 + i)
        for j in range(columns):
            if touched[i, j]:
                fx, fy = at_x[j], at_y[j]
                ix, iy = (fx >> FRACTION_BITS) - 1, (fy >> FRACTION_BITS) - 1
                kx, ky = U(fx & (FRACTIONS - 1)), U(fy & (FRACTIONS - 1))
                x, y = ix - low[0], iy - low[1]
                if 0 <= x <= right and 0 <= y <= bottom:
                    change = _inside(cells, x, y, table, kx, ky)
                else:
                    change = _at_edge(cells, low, size, ix, iy, True, table, kx, ky)
                column = U(x0 + j)
                step = np.int64(math.floor(change + thresholds[row % U(side), column % U(side)]))
                if step != 0:
                    code = np.int64(plane[row, column]) + step
                    code = code if code > 0 else np.int64(0)
                    plane[row, column] = code if code < top else np.int64(top)


@compiled
def sample_means(
    cells: Samples,
    low: tuple[int, int],
    size: tuple[int, int],
    to_level: Values,
    x0: int,
    y0: int,
    points: int,
    out: Samples,
) -> None:
    """Means of ``points`` x ``points`` bilinear samples for each output pixel; edges repeat.

    Args:
        to_level: float64 [2, 3], 1/``points`` of output pixels -> cells of the level.
        Others: as in `sample`.
    """
    rows, columns = out.shape
    a, d = to_level[0, 0], to_level[1, 0]
    last_x, last_y = float(size[0] - 1), float(size[1] - 1)
    last_column, last_row = U(cells.shape[1] - 1), U(cells.shape[0] - 1)
    share = np.float32(1 / (points * points))
    count = columns * points
    at_x, at_y = np.empty(count, np.int64), np.empty(count, np.int64)
    part_x, part_y = np.empty(count, np.float32), np.empty(count, np.float32)
    for i in range(rows):
        for j in range(columns):
            out[i, j] = np.float32(0)
        for p in range(points):
            line = (y0 + i) * points + p
            px = to_level[0, 1] * line + to_level[0, 2]
            py = to_level[1, 1] * line + to_level[1, 2]
            for k in range(count):
                x = px + a * (x0 * points + k)
                x = x if x > 0.0 else 0.0
                x = x if x < last_x else last_x
                ix = np.int64(x)
                at_x[k], part_x[k] = ix, np.float32(x - ix)
                y = py + d * (x0 * points + k)
                y = y if y > 0.0 else 0.0
                y = y if y < last_y else last_y
                iy = np.int64(y)
                at_y[k], part_y[k] = iy, np.float32(y - iy)
            for j in range(columns):
                total = np.float32(0)
                for q in range(points):
                    at = U(j * points + q)
                    ix, iy = at_x[at], at_y[at]
                    left, upper = U(ix - low[0]), U(iy - low[1])
                    # Where the cells end, what lies beyond has no weight.
                    right = left + U(left < last_column)
                    lower = upper + U(upper < last_row)
                    one = cells[upper, left]
                    one += part_x[at] * (cells[upper, right] - one)
                    two = cells[lower, left]
                    two += part_x[at] * (cells[lower, right] - two)
                    total += one + part_y[at] * (two - one)
                out[i, j] += total * share


@compiled
def means(source: Plane | Samples, kx: int, ky: int, out: Samples) -> None:
    """Means of ``kx`` x ``ky`` samples, added up column by column of a block."""
    rows, columns = out.shape
    share = np.float32(1 / (kx * ky))
    sums = np.empty(columns * kx, np.float32)
    for i in range(rows):
        for j in range(len(sums)):
            sums[j] = np.float32(source[i * ky, j])
        for other in range(1, ky):
            for j in range(len(sums)):
                sums[j] += np.float32(source[i * ky + other, j])
        for j in range(columns):
            total = sums[U(j * kx)]
            for other in range(1, kx):
                total += sums[U(j * kx + other)]
            out[i, j] = total * share


@compiled
def to_rgb(first: Samples, second: Samples, third: Samples, matrix: Samples, out: Samples) -> None:
    """Codes of three planes [h, w] -> R'G'B' [h, w, 3] clipped to 0..1, by a matrix [3, 4]."""
    for i in range(out.shape[0]):
        for channel in range(3):
            a, b, c, d = (
                matrix[channel, 0],
                matrix[channel, 1],
                matrix[channel, 2],
                matrix[channel, 3],
            )
            for j in range(out.shape[1]):
                value = ((first[i, j] * a + second[i, j] * b) + third[i, j] * c) + d
                value = value if value > ZERO else ZERO
                out[i, j, channel] = value if value < ONE else ONE


@compiled
def to_bytes(rgb: Samples, out: NDArray[np.uint8]) -> None:
    """R'G'B' [h, w, 3] 0..1 -> 0..255, rounded."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            for k in range(3):
                out[i, j, k] = np.uint8(rgb[i, j, k] * np.float32(255) + HALF)


@compiled
def survey(crop: Samples, mask: Samples) -> tuple[bool, int, int, int, int]:
    """Whether all values of [h, w, 3] and [h, w] are finite; x0, y0, x1, y1 of the smallest box
    outside which the mask is zero."""
    rows, columns = mask.shape
    x0, y0, x1, y1 = columns, rows, 0, 0
    off = ZERO
    for i in range(rows):
        for j in range(columns):
            for k in range(3):
                # 0 of a finite value, else not a number, which stays.
                off += crop[i, j, k] * ZERO
        first, last = columns, -1
        for j in range(columns):
            value = mask[i, j]
            off += value * ZERO
            if value > ZERO:
                first = min(first, j)
                last = j
        if last >= 0:
            x0, x1 = min(x0, first), max(x1, last + 1)
            y0, y1 = min(y0, i), i + 1
    return off == ZERO, x0, y0, x1, y1


@compiled
def light_changes(
    before: Samples,
    after: Samples,
    y0: int,
    x0: int,
    table: Samples,
    light: Samples,
    difference: Samples,
) -> None:
    """Linear light of a part of ``before`` [h, 3 w] from (x0, y0) on, and how far that of ``after``
    (clipped) lies off it.

    Args:
        after: [rows, columns, >= 3], the part.
        table: of ``kernels.colour.TransferTables``.
        light, difference: [rows, 3 columns], filled.
    """
    most = np.float32(len(table) - 1)
    rows, columns = light.shape
    own, new = np.empty(columns, np.int32), np.empty(columns, np.int32)
    # Each step in a loop of its own: all but the look-ups then take many values at a time.
    for i in range(rows):
        for j in range(columns):
            value = before[y0 + i, 3 * x0 + j]
            value = value if value > ZERO else ZERO
            value = value if value < ONE else ONE
            own[j] = np.int32(value * most + HALF)
        for k in range(3):
            for j in range(columns // 3):
                value = after[i, j, k]
                value = value if value > ZERO else ZERO
                value = value if value < ONE else ONE
                new[3 * j + k] = np.int32(value * most + HALF)
        for j in range(columns):
            here = table[U(own[j])]
            light[i, j] = here
            difference[i, j] = table[U(new[j])] - here


@compiled
def blend_level(
    fine: Samples, expanded: Samples, level: Samples, brought: Samples, out: Samples
) -> None:
    """One level of a Laplacian blend, [h, 3 w]: the band times its mask [h, w], and what the
    coarser levels bring."""
    rows, columns = level.shape
    for i in range(rows):
        for j in range(columns):
            share = level[i, j]
            for at in range(3 * j, 3 * j + 3):
                out[i, at] = (fine[i, at] - expanded[i, at]) * share + brought[i, at]


@compiled
def code_changes(
    brought: Samples,
    light: Samples,
    before: Samples,
    y0: int,
    x0: int,
    at_y: int,
    at_x: int,
    from_root: Samples,
    matrix: Samples,
    codes: Samples,
) -> None:
    """What light brought to light changes in the codes of planes.

    Args:
        brought, light: [rows, 3 columns].
        before: [h, 3 w] R'G'B' of ``light``, from (x0, y0) on.
        at_y, at_x: where in the planes.
        from_root: of ``kernels.colour.TransferTables``.
        matrix: [planes, 3] R'G'B' -> codes.
        codes: [planes, S, S], filled from there on.
    """
    most = np.float32(len(from_root) - 1)
    rows, columns = brought.shape
    at, change = np.empty(columns, np.int32), np.empty(columns, np.float32)
    for i in range(rows):
        for j in range(columns):
            value = brought[i, j] + light[i, j]
            value = value if value > ZERO else ZERO
            value = value if value < ONE else ONE
            at[j] = np.int32(np.sqrt(np.sqrt(value)) * most + HALF)
        for j in range(columns):
            moved = from_root[U(at[j])] - before[y0 + i, 3 * x0 + j]
            change[j] = moved if brought[i, j] != ZERO else ZERO
        for plane in range(len(codes)):
            red, green, blue = matrix[plane, 0], matrix[plane, 1], matrix[plane, 2]
            for j in range(columns // 3):
                codes[plane, at_y + i, at_x + j] = (
                    change[U(3 * j)] * red + change[U(3 * j + 1)] * green
                ) + change[U(3 * j + 2)] * blue
