"""Thin-plate splines as one matrix: control values in, values anywhere else out."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def _kernel(a: Array, b: Array) -> Array:
    squared = (a[:, None, 0] - b[None, :, 0]) ** 2
    squared += (a[:, None, 1] - b[None, :, 1]) ** 2
    logs = np.log(np.maximum(squared, 1e-300))
    logs *= squared
    return 0.5 * logs


def thin_plate_operator(control: Array, queries: Array, smoothing: float) -> Array:
    """The matrix that carries values at ``control`` to a smooth surface at ``queries``.

    The surface minimises squared error plus ``smoothing`` times bending energy (Duchon 1977,
    "Splines minimizing rotation-invariant semi-norms"); straight planes pass unbent. Since
    neither depends on the values, the whole fit is one matrix, worked out once.

    Args:
        control: [n, 2] places of the known values; keep them within about 0..1, because the
            smoothing is not free of scale.
        queries: [m, 2] places to evaluate.
        smoothing: 0 interpolates; 1e-4 is a firm sheet through a face mesh.

    Returns:
        [m, n]: ``operator @ values`` for values [n, k].
    """
    n = len(control)
    system = np.zeros((n + 3, n + 3))
    system[:n, :n] = _kernel(control, control) + smoothing * np.eye(n)
    system[:n, n] = 1
    system[:n, n + 1 :] = control
    system[n:, :n] = system[:n, n:].T
    basis = np.empty((len(queries), n + 3))
    basis[:, :n] = _kernel(queries, control)
    basis[:, n] = 1
    basis[:, n + 1 :] = queries
    # basis @ inverse(system), without the columns of the side conditions; the system is symmetric.
    return cast(Array, np.linalg.solve(system, basis.T)[:n].T)
