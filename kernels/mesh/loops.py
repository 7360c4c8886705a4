"""The inner loops of maps between the layout and a picture; see ``kernels.loops`` for the style."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.compiled import compiled

Floats = NDArray[np.float32]
U = np.uint64
ZERO, ONE, THREE = np.float32(0), np.float32(1), np.float32(3)
DAMPING = np.float32(0.02)


@compiled
def _at(value: Any, last: Any) -> Any:
    """A coordinate kept to 0..last."""
    value = value if value > ZERO else ZERO
    return value if value < last else last


@compiled
def newton(field: Floats, slopes: Floats, steps: int, x: Floats, y: Floats, miss: Floats) -> None:
    """Polish where a field takes the values of its own pixels.

    (J'J + damping) move = J' miss (Levenberg 1944), written out for two unknowns.

    Args:
        field: [g, g, 2]; slopes: [g, g, 4] its Jacobian.
        x, y: [s, s] in nodes, improved in place.
        miss: [s, s], filled: how far off the field's value is in the end.
    """
    g = len(field)
    last = np.float32(g - 1)
    for i in range(len(x)):
        for j in range(len(x)):
            u, v = _at(x[i, j], last), _at(y[i, j], last)
            step = 0
            while True:
                left, upper = U(np.int64(u)), U(np.int64(v))
                p, q = u - np.float32(left), v - np.float32(upper)
                right, lower = min(left + U(1), U(g - 1)), min(upper + U(1), U(g - 1))
                w0, w1, w2, w3 = (ONE - p) * (ONE - q), p * (ONE - q), (ONE - p) * q, p * q
                off_x = np.float32(j) - (
                    (field[upper, left, 0] * w0 + field[upper, right, 0] * w1)
                    + (field[lower, left, 0] * w2 + field[lower, right, 0] * w3)
                )
                off_y = np.float32(i) - (
                    (field[upper, left, 1] * w0 + field[upper, right, 1] * w1)
                    + (field[lower, left, 1] * w2 + field[lower, right, 1] * w3)
                )
                if step == steps:
                    break
                a = (slopes[upper, left, 0] * w0 + slopes[upper, right, 0] * w1) + (
                    slopes[lower, left, 0] * w2 + slopes[lower, right, 0] * w3
                )
                b = (slopes[upper, left, 1] * w0 + slopes[upper, right, 1] * w1) + (
                    slopes[lower, left, 1] * w2 + slopes[lower, right, 1] * w3
                )
                c = (slopes[upper, left, 2] * w0 + slopes[upper, right, 2] * w1) + (
                    slopes[lower, left, 2] * w2 + slopes[lower, right, 2] * w3
                )
                d = (slopes[upper, left, 3] * w0 + slopes[upper, right, 3] * w1) + (
                    slopes[lower, left, 3] * w2 + slopes[lower, right, 3] * w3
                )
                aa, ab, bb = a * a + c * c + DAMPING, a * b + c * d, b * b + d * d + DAMPING
                s, t = a * off_x + c * off_y, b * off_x + d * off_y
                scale = ONE / (aa * bb - ab * ab)
                move_u, move_v = (bb * s - ab * t) * scale, (aa * t - ab * s) * scale
                move_u = move_u if move_u > -THREE else -THREE
                move_v = move_v if move_v > -THREE else -THREE
                u = _at(u + (move_u if move_u < THREE else THREE), last)
                v = _at(v + (move_v if move_v < THREE else THREE), last)
                step += 1
            x[i, j], y[i, j] = u, v
            miss[i, j] = np.sqrt(off_x * off_x + off_y * off_y)


@compiled
def combine(left: Any, right: Any, out: Floats) -> None:
    """[n, m] the transposed product of [m, k] and [k, n], both float64; summed in order of k."""
    columns = left.T.copy()
    row = np.empty(columns.shape[1])
    for j in range(right.shape[1]):
        for i in range(len(row)):
            row[i] = 0.0
        for k in range(len(columns)):
            value = right[k, j]
            for i in range(len(row)):
                row[i] += columns[U(k), U(i)] * value
        for i in range(len(row)):
            out[j, i] = np.float32(row[i])


@compiled
def weigh(columns: Floats, values: Any, out: Floats) -> None:
    """[k, m] sums of columns [n, m] by values [n, k], in their order."""
    for k in range(len(out)):
        for i in range(out.shape[1]):
            out[k, i] = ZERO
        for j in range(len(columns)):
            value = np.float32(values[j, k])
            for i in range(out.shape[1]):
                out[k, i] += columns[U(j), U(i)] * value
