"""Smooth maps between the canonical layout and a picture, and their inverse."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from kernels.mesh import loops

Floats = NDArray[np.float32]


def grid_nodes(size: int) -> NDArray[np.float64]:
    """[size * size, 2] u v of the nodes of a grid over the layout; its corners are 0 and 1."""
    line = np.linspace(0, 1, size)
    return np.stack(np.meshgrid(line, line), axis=2).reshape(-1, 2)


def texel_nodes(texels: int, grid: int) -> tuple[Floats, Floats]:
    """([n, n], [n, n]) where the middles of a texture's texels lie, in nodes of the grid."""
    line = ((np.arange(texels) + 0.5) / texels * (grid - 1)).astype(np.float32)
    x, y = np.meshgrid(line, line)
    return x, y


def resample(values: Floats, x: Floats, y: Floats) -> Floats:
    """Bilinear values of a [h, w, c] field at pixel coordinates; the border goes on for ever."""
    out = cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return cast(Floats, out)


def jacobian(field: Floats) -> Floats:
    """[g, g, 4] dx/du, dx/dv, dy/du, dy/dv of a field [g, g, 2], per grid step."""
    by_v, by_u = cast("list[Floats]", np.gradient(field, axis=(0, 1)))
    return np.stack([by_u[..., 0], by_v[..., 0], by_u[..., 1], by_v[..., 1]], axis=2)


def spread(slopes: Floats) -> Floats:
    """[...] signed area that one grid cell covers in the picture; negative: seen from behind."""
    return slopes[..., 0] * slopes[..., 3] - slopes[..., 1] * slopes[..., 2]


def invert(field: Floats, size: int, steps: int = 4) -> tuple[Floats, Floats]:
    """Where in the layout each place of a picture comes from.

    Nodes that face the viewer are dropped on the picture's grid, holes are filled from around
    them, and damped Newton steps polish the answer. Starting from the nodes and not from one affine
    guess is what finds the near side of a turned face where the map folds.

    Args:
        field: [g, g, 2] picture position of each node of the layout's grid, in units of the
            answer's grid.
        size: the answer has size x size nodes.
        steps: Newton steps.

    Returns:
        ([size, size, 2] u v in nodes, 0..g-1; [size, size] how far the field's value there still
        is from the wanted place). Outside what the grid covers the first keeps to the grid's edge
        and the second grows.
    """
    slopes = jacobian(field)
    x, y = _nearest_nodes(field, spread(slopes) > 0, size)
    miss = np.empty((size, size), np.float32)
    loops.newton(field, slopes, steps, x, y, miss)
    return np.stack([x, y], axis=2), miss


def _nearest_nodes(field: Floats, front: NDArray[np.bool_], size: int) -> tuple[Floats, Floats]:
    """Mean u and v of the nodes in front that fall on, or else near, each place."""
    v, u = np.nonzero(front)
    at = np.rint(field[v, u]).astype(np.int64)
    inside = ((at >= 0) & (at < size)).all(axis=1)
    place = at[inside, 1] * size + at[inside, 0]
    seeds = np.empty((size, size, 3), np.float32)
    for channel, weights in enumerate((u[inside], v[inside], None)):
        seeds[..., channel] = np.bincount(place, weights, size * size).reshape(size, size)
    found = np.full((size, size, 3), 1e-12, np.float32)
    # A wider blur only has a say where the narrower ones met next to nothing.
    for sigma, share in ((0.7, 1.0), (2.0, 1e-4), (6.0, 1e-7), (20.0, 1e-10)):
        found += np.float32(share) * cv2.GaussianBlur(seeds, (0, 0), sigma)
    return found[..., 0] / found[..., 2], found[..., 1] / found[..., 2]
