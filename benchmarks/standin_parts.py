"""Pieces that the stand-ins share: a body that costs what it should, and an eye for markers.

Markers are plain colours that a test paints where it wants a face: the stand-ins for detectors and
landmarkers find them by chromaticity, so their boxes and points move with the picture. Skin is one
of them, so that films of people have faces too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.standin_graph import Graph, Value

MARKERS: Final = {
    "red": (0.82, 0.09, 0.09),
    "green": (0.09, 0.82, 0.09),
    "magenta": (0.47, 0.06, 0.47),
    "skin": (0.44, 0.31, 0.25),
}
"""Chromaticities r, g, b of what counts as a face: a colour over the sum of its channels. No face
changes places with another when red and blue are swapped, so a wrong channel order shows."""
RADII: Final = (0.2, 0.2, 0.17, 0.07)
"""How far from its chromaticity a pixel still belongs to a marker."""
SURENESS: Final = (0.95, 0.9, 0.85, 0.8)
"""Score of each marker."""
CELLS: Final = (5.0, 5.0, 5.0, 60.0)
"""Cells that a marker must cover to be a face."""
UPRIGHT: Final = (30.0, 30.0, 30.0, 0.0)
"""How much a marker that gets brighter downwards or to a side is doubted: paint one with its light
from above and it is found only when the picture is turned so."""
OCCLUDER: Final = (0.06, 0.06, 0.88)
"""Chromaticity of what counts as something before a face."""
IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)
HALF: Final = (0.5, 0.5, 0.5)
NONE: Final = (0.0, 0.0, 0.0)
ONE: Final = (1.0, 1.0, 1.0)

CHANNELS: Final = (512, 384, 256, 192, 128, 96, 64, 48, 32, 16, 8)
DEPTH: Final = 8
"""Fewest blocks of a body that is not the narrowest."""


def points_68() -> NDArray[np.float64]:
    """[68, 2] x y of a face's points in its box, 0..1; their five points are ``POINTS_5``."""
    turn = np.linspace(0.0, np.pi, 17)
    jaw = np.stack([0.5 - 0.48 * np.cos(turn), 0.45 + 0.53 * np.sin(turn)], axis=1)
    brow = np.stack([np.linspace(0.16, 0.42, 5), 0.28 - 0.04 * np.sin(np.linspace(0, np.pi, 5))], 1)
    other_brow = brow[::-1] * [-1, 1] + [1, 0]
    bridge = np.stack([np.full(4, 0.5), np.linspace(0.4, 0.6, 4)], axis=1)
    base = np.stack([np.linspace(0.42, 0.58, 5), np.array([0.64, 0.65, 0.66, 0.65, 0.64])], axis=1)
    eye = np.array([[-7, 0], [-3, -2.5], [3, -2.5], [7, 0], [3, 2.5], [-3, 2.5]]) / 100
    lips = np.linspace(0.0, 2 * np.pi, 12, endpoint=False)
    outer = np.stack([0.5 - 0.15 * np.cos(lips), 0.78 - 0.06 * np.sin(lips)], axis=1)
    inside = np.linspace(0.0, 2 * np.pi, 8, endpoint=False)
    inner = np.stack([0.5 - 0.1 * np.cos(inside), 0.78 - 0.02 * np.sin(inside)], axis=1)
    eyes = (eye + np.array([0.3, 0.4]), eye + np.array([0.7, 0.4]))
    return np.concatenate([jaw, brow, other_brow, bridge, base, *eyes, outer, inner])


POINTS_5: Final = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.78], [0.65, 0.78]])
"""Eyes, nose, corners of the mouth in a face's box, 0..1."""


def ellipse(size: int, centre: tuple[float, float], radii: tuple[float, float]) -> Any:
    """float64 [size, size], 1 at the centre of an ellipse, 0 at its border, negative outside."""
    place = (np.arange(size) + 0.5) / size
    across, down = (place - centre[0]) / radii[0], (place - centre[1]) / radii[1]
    return 1.0 - np.sqrt(across[None, :] ** 2 + down[:, None] ** 2)


def body(g: Graph, x: Value, width: int, grid: int, macs: int) -> Value:
    """Residual blocks of 3x3 convolutions on [n, width, grid, grid] that cost ``macs`` in all."""
    cell = grid * grid * 9 * width
    blocks, rest = divmod(macs, 2 * cell * width)
    for inner in (*(width for _ in range(blocks)), rest // (2 * cell)):
        if inner:
            y = g.op("Relu", g.conv(x, width, inner))
            x = g.op("Relu", g.add(x, g.conv(y, inner, width, gain=0.5)))
    return x


def width_for(grid: int, macs: int) -> int:
    """Channels at which a body of that many multiplications has at least ``DEPTH`` blocks."""
    fits = (each for each in CHANNELS if 2 * grid * grid * 9 * each * each * DEPTH <= macs)
    return next(fits, CHANNELS[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What a network may cost: its width follows the target, its depth what is left to spend."""

    target: int
    """Multiply-accumulates of the whole network."""
    spend: int
    """Of which in its body."""


def features(g: Graph, x: Value, size: int, patch: int, effort: Effort) -> tuple[Value, int]:
    """[n, 3, size, size] -> a body's [n, width, size / patch, size / patch], and its width."""
    grid = size // patch
    width = width_for(grid, effort.target)
    stem = g.op("Relu", g.conv(x, 3, width, patch, patch))
    return body(g, stem, width, grid, effort.spend), width


def flavour(g: Graph, x: Value, size: int, patch: int, effort: Effort) -> Value:
    """[n, 1]: one number in -1..1 that all of a body's multiplications go into."""
    found, width = features(g, x, size, patch, effort)
    mean = g.reshape(g.op("GlobalAveragePool", found), 0, width)
    return g.op("Tanh", g.dense(mean, g.random(width, 1)))


def normal_to_plain(
    g: Graph, x: Value, mean: tuple[float, ...], std: tuple[float, ...], bgr: bool = False
) -> Value:
    """Undo (x - mean) / std of an NCHW picture: R'G'B' 0..1."""
    shape = (1, 3, 1, 1)
    if std != ONE:
        x = g.mul(x, np.reshape(std, shape))
    if mean != NONE:
        x = g.add(x, np.reshape(mean, shape))
    if bgr:
        x = g.op("Gather", x, g.weight(np.array([2, 1, 0])), axis=1)
    return x


def chroma(g: Graph, rgb: Value) -> tuple[Value, Value]:
    """Chromaticities [n, 3, h, w] of a R'G'B' picture, and the sum of its channels [n, 1, h, w]."""
    total = g.add(g.sum(rgb, 1), 1e-3)
    return g.div(rgb, total), total


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What ``look`` sees of each marker: values [n, markers, 1, 1], in pixels of the picture."""

    sure: Value
    """0..1: whether it is there, times its score."""
    mass: Value
    """Cells that it covers."""
    x: Value
    y: Value
    half_width: Value
    half_height: Value


def look(g: Graph, rgb: Value, size: int, cell: int) -> Sight:
    """Find the markers in a R'G'B' picture [n, 3, size, size] by their moments."""
    pooled = g.op("AveragePool", rgb, kernel_shape=[cell, cell], strides=[cell, cell])
    colour, light = chroma(g, g.clip(pooled, 0.0, 1.0))
    kinds = np.array(list(MARKERS.values()))
    off = g.sub(g.op("Unsqueeze", colour, g.weight(np.array([1]))), kinds[None, :, :, None, None])
    off = g.op("Squeeze", g.sum(g.mul(off, off), 2), g.weight(np.array([2])))
    near = g.mul(g.sub(1.0, g.div(off, np.square(RADII)[None, :, None, None])), 3.0)
    lit = g.clip(g.mul(g.sub(light, 0.25), 4.0), 0.0, 1.0)
    there = g.mul(g.clip(near, 0.0, 1.0), lit)

    mass = g.sum(there, 2, 3)
    share = g.div(there, g.add(mass, 1e-3))
    place = (np.arange(size // cell) + 0.5) * cell - 0.5
    means, halves, tilts = [], [], []
    bright = g.sum(g.mul(share, light), 2, 3)
    for axis in (place[None, None, None, :], place[None, None, :, None]):
        mean = g.sum(g.mul(share, axis), 2, 3)
        off = g.sub(g.weight(axis), mean)
        spread = g.sum(g.mul(g.mul(share, off), off), 2, 3)
        half = g.mul(g.op("Sqrt", g.add(spread, 1e-6)), 2.0)  # of an evenly filled ellipse
        slope = g.sum(g.mul(g.mul(share, off), light), 2, 3)
        means.append(mean)
        halves.append(half)
        tilts.append(g.div(slope, g.add(g.mul(bright, half), 1e-3)))
    doubt = np.array(UPRIGHT)[None, :, None, None]
    gates = [
        g.clip(g.sub(1.2, g.mul(tilt, doubt)), 0.0, 1.0)
        for tilt in (g.op("Abs", tilts[0]), tilts[1])
    ]
    cells = np.array(CELLS)[None, :, None, None]
    seen = g.clip(g.sub(g.div(mass, cells / 2), 1.0), 0.0, 1.0)
    sure = g.mul(g.mul(g.mul(seen, gates[0]), gates[1]), np.array(SURENESS)[None, :, None, None])
    return Sight(
        sure=sure,
        mass=mass,
        x=means[0],
        y=means[1],
        half_width=halves[0],
        half_height=halves[1],
    )
