"""The inner loops of following points; see ``kernels.loops`` for how they are written.

Sums run in the order of the points: the same bits on every machine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernels.compiled import compiled

Values = NDArray[np.float64]


@compiled
def fit(
    source: Values, target: Values, weights: Values, tolerance: float, rounds: int, affine: Values
) -> int:
    """The similarity [2, 3] that most of the weighted points [n, 2] agree on: least squares,
    reweighted by Cauchy's function. Returns 0; 1 where no point has weight; 2 where all coincide.
    """
    count = len(source)
    trust = weights.copy()
    for _ in range(rounds):
        total = 0.0
        sx = sy = tx = ty = 0.0
        for i in range(count):
            total += trust[i]
            sx += trust[i] * source[i, 0]
            sy += trust[i] * source[i, 1]
            tx += trust[i] * target[i, 0]
            ty += trust[i] * target[i, 1]
        if not total > 0:
            return 1
        sx, sy, tx, ty = sx / total, sy / total, tx / total, ty / total
        extent = real = imaginary = 0.0
        for i in range(count):
            share = trust[i] / total
            a, b = source[i, 0] - sx, source[i, 1] - sy
            c, d = target[i, 0] - tx, target[i, 1] - ty
            extent += share * (a * a + b * b)
            real += share * (a * c + b * d)
            imaginary += share * (a * d - b * c)
        if not extent > 1e-12 * max(1.0, sx * sx + sy * sy):
            return 2
        real, imaginary = real / extent, imaginary / extent
        affine[0, 0], affine[0, 1], affine[0, 2] = real, -imaginary, tx - real * sx + imaginary * sy
        affine[1, 0], affine[1, 1], affine[1, 2] = imaginary, real, ty - imaginary * sx - real * sy
        for i in range(count):
            x, y = source[i, 0], source[i, 1]
            c = target[i, 0] - (affine[0, 0] * x + affine[0, 1] * y + affine[0, 2])
            d = target[i, 1] - (affine[1, 0] * x + affine[1, 1] * y + affine[1, 2])
            trust[i] = weights[i] / (1.0 + (c * c + d * d) / (tolerance * tolerance))
    return 0


@compiled
def drift(
    affine: Values,
    points: Values,
    source: Values,
    target: Values,
    weights: Values,
    nearness: Values,
    tolerance: float,
    out: Values,
) -> None:
    """Points [m, 2] by an affine, plus what it leaves over at the followed points [n, 2], smoothed
    by their nearness [m, n]; a remainder far over the tolerance counts little."""
    count = len(source)
    left, trust = np.empty((count, 2)), np.empty(count)
    for i in range(count):
        x, y = source[i, 0], source[i, 1]
        left[i, 0] = target[i, 0] - (affine[0, 0] * x + affine[0, 1] * y + affine[0, 2])
        left[i, 1] = target[i, 1] - (affine[1, 0] * x + affine[1, 1] * y + affine[1, 2])
        off = left[i, 0] * left[i, 0] + left[i, 1] * left[i, 1]
        trust[i] = weights[i] / (1.0 + off / (tolerance * tolerance))
    for j in range(len(points)):
        total = dx = dy = 0.0
        for i in range(count):
            near = nearness[j, i] * trust[i]
            total += near
            dx += near * left[i, 0]
            dy += near * left[i, 1]
        x, y = points[j, 0], points[j, 1]
        out[j, 0] = affine[0, 0] * x + affine[0, 1] * y + affine[0, 2] + dx / (total + 0.5)
        out[j, 1] = affine[1, 0] * x + affine[1, 1] * y + affine[1, 2] + dy / (total + 0.5)
