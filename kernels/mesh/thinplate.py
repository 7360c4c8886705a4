"""Thin-plate splines fitted once: control values in, values anywhere else out.

No BLAS or LAPACK takes part: theirs sum in an order that depends on the number of threads, and the
same job must give the same bytes in every process.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernels.mesh import loops

Array = NDArray[np.float64]


class ThinPlate:
    """Carries values at control points to a smooth surface at other places.

    The surface minimises squared error plus ``smoothing`` times bending energy (J. Duchon,
    "Splines minimizing rotation-invariant semi-norms", 1977); planes pass unbent. Since neither
    depends on the values, all but two matrix products are done once.

    Args:
        control: [n, 2] places of the known values; keep them within about 0..1, because the
            smoothing is not free of scale.
        queries: [m, 2] places to evaluate.
        smoothing: 0 interpolates; 1e-4 is a firm sheet through a face mesh.

    Raises:
        ValueError: the control points lie on a line, or two coincide without smoothing.
    """

    def __init__(self, control: Array, queries: Array, smoothing: float) -> None:
        n = len(control)
        system = np.zeros((n + 3, n + 3))
        system[:n, :n] = _kernel(control, control) + smoothing * np.eye(n)
        system[:n, n] = 1
        system[:n, n + 1 :] = control
        system[n:, :n] = system[:n, n:].T
        self._weights = _inverse(system)[:, :n].copy()
        self._basis = np.column_stack([_kernel(queries, control), np.ones(len(queries)), queries])
        self._quick = np.empty((n, len(queries)), np.float32)
        loops.combine(self._basis, self._weights, self._quick)

    def at(self, values: Array) -> Array:
        """[m, k] the surface through values [n, k], float64."""
        return _product(self._basis, _product(self._weights, values))

    def quick(self, values: Array) -> NDArray[np.float32]:
        """[m, k] the same in float32: good to about 1e-5 of the values' range."""
        out = np.empty((values.shape[1], self._quick.shape[1]), np.float32)
        loops.weigh(self._quick, values, out)
        return np.ascontiguousarray(out.T)


def _kernel(a: Array, b: Array) -> Array:
    squared = (a[:, None, 0] - b[None, :, 0]) ** 2
    squared += (a[:, None, 1] - b[None, :, 1]) ** 2
    logs = np.log(np.maximum(squared, 1e-300))
    logs *= squared
    return 0.5 * logs


def _product(matrix: NDArray[np.floating], values: NDArray[np.floating]) -> Array:
    """matrix @ values, summed in NumPy's own fixed order, a column at a time."""
    columns = np.ascontiguousarray(values.T)
    return np.stack([np.einsum("ij,j->i", matrix, column) for column in columns], axis=1)


def _inverse(matrix: Array) -> Array:
    """Gauss-Jordan elimination in place with partial pivoting; 70 ms for the face mesh."""
    a = matrix.copy()
    n = len(a)
    swaps = []
    scale = np.abs(a).max()
    for i in range(n):
        pivot = i + int(np.abs(a[i:, i]).argmax())
        if abs(a[pivot, i]) < 1e-13 * scale:
            raise ValueError("control points that determine no surface")
        a[[i, pivot]] = a[[pivot, i]]
        swaps.append(pivot)
        factor = 1 / a[i, i]
        a[i, i] = 1
        a[i] *= factor
        column = a[:, i].copy()
        column[i] = 0
        a[:, i] *= np.arange(n) == i
        a -= column[:, None] * a[i]
    for i in reversed(range(n)):
        a[:, [i, swaps[i]]] = a[:, [swaps[i], i]]
    return a
