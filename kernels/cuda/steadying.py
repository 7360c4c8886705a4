"""Single steps of the temporal filters on what lies in device memory.

As ``kernels.cuda.steps``: each is one launch and does not wait for it, pointers are to float32
without gaps unless said otherwise. ``kernels.reference_flow`` defines them in float64.
`colour_transfer` and `means` read a few hundred bytes back: they wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kernels.cuda.device import Texture
from kernels.cuda.launcher import Launcher, pitch_of
from kernels.cuda.pastes import Curves, Pixels
from kernels.cuda.signatures import Hold, Small
from kernels.cuda.steps import SmallPicture
from kernels.filters import SEEN, SURE, TAU, TOLERANCE, UNSEEN, Transfer, matched

TILE: Final = 16
"""As in look.cu and likeness.cu: what a block sums up is as wide."""
MOMENTS: Final = 13
SMALLER: Final = 4
"""Colours are compared on pictures so many times smaller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lumas:
    """Bytes [h, w] without gaps: the original's luma and the swapped crop's."""

    original: int
    swapped: int


def look(
    launcher: Launcher,
    pixels: Pixels,
    k: int,
    luma: int,
    size: tuple[int, int],
    *,
    luma_row: int | None = None,
    mask: int = 0,
) -> None:
    """``kernels.filters.luma`` of ``shrunk``: bytes, and the mask's means where asked for.

    Args:
        k: how many times smaller.
        size: (width, height) of what is filled.
        luma_row: bytes from row to row; without it there are no gaps.
        mask: filled from the fourth channel; 0: not wanted.
    """
    width, height = size
    launcher.run(
        "look",
        *size,
        *(pixels.pointer, pixels.row, pixels.step, k, 1.0 / (k * k)),
        *(luma, width if luma_row is None else luma_row, mask, width, height),
    )


def lift(
    launcher: Launcher, crop: int, original: int, change: int, settled: int, size: int
) -> tuple[int, int, int, int]:
    """What a swapper made of a crop; waits for the box of its mask.

    Args:
        crop: [s, s, 4], the mask last.
        original: [s, s, 3].
        change, settled: [s, s, 4], both filled with R'G'B' minus the original's, and the mask.
    Returns: box x0 y0 x1 y1 of the mask above 0; all 0 where nothing is.
    """
    blocks = (-(-size // TILE)) ** 2
    boxes = launcher.memory("boxes", 16 * blocks)
    launcher.run("lift", size, size, crop, original, change, settled, boxes, size, size)
    found = launcher.fetched(boxes, (blocks, 4), "int32")
    found = found[found[:, 2] > 0]
    if not len(found):
        return 0, 0, 0, 0
    x0, y0 = found[:, :2].min(0).tolist()
    x1, y1 = found[:, 2:].max(0).tolist()
    return x0, y0, x1, y1


def part_texture(
    launcher: Launcher, picture: int, row: int, at: tuple[int, int], size: tuple[int, int]
) -> Texture:
    """A part of a picture of four values a pixel, copied to where it can be read; zero beyond.

    Valid until the next call.

    Args:
        row: pixels from row to row.
        at: x y of the part's first pixel.
        size: its (width, height).
    """
    pitch, (width, height) = pitch_of(size[0], 16), size
    out = launcher.memory("part", pitch * height)
    source = picture + 16 * (at[1] * row + at[0])
    launcher.run("cut", *size, source, row, out, pitch // 16, width, height)
    return Texture(
        pointer=out,
        pitch=pitch,
        width=width,
        height=height,
        dtype="float32",
        channels=4,
        zero_beyond=True,
    )


def colour_transfer(
    launcher: Launcher, original: Pixels, swapped: Pixels, size: int, curves: Curves
) -> Transfer:
    """``kernels.filters.colour_transfer``; waits for its sums.

    Args:
        swapped: of four values a pixel, the last of them the mask.
        size: side of both crops, a multiple of 4.
    Raises ValueError: another side.
    """
    if size % SMALLER or size < SMALLER:
        raise ValueError(f"crops of {size} pixels; wanted a multiple of {SMALLER}")
    small = size // SMALLER
    blocks = (-(-small // TILE)) ** 2
    partials = launcher.memory("colour moments", 4 * MOMENTS * blocks)
    launcher.run(
        "colour_moments",
        *(small, small),
        *(original.pointer, original.row, original.step, swapped.pointer, swapped.row),
        *(curves.to_light, partials, small, small),
    )
    return transfer_of(launcher.fetched(partials, (blocks, MOMENTS), "float32"))


def transfer_of(partials: NDArray[np.float32]) -> Transfer:
    """The transfer of what the blocks of ``colour_moments`` summed up, [n, 13].

    Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    variances", 1979, in float64.
    """
    values = partials.astype(np.float64)
    weight, means, squares = values[:, :1], values[:, 1:7], values[:, 7:]
    total = float(weight.sum())
    if total < 16:
        return np.array([[1.0] * 3, [0.0] * 3])
    mean = (weight * means).sum(0) / total
    spread = np.sqrt((squares + weight * np.square(means - mean)).sum(0) / total)
    return matched(mean[:3], spread[:3], mean[3:], spread[3:])


def likeness(
    launcher: Launcher,
    now: Lumas,
    before: Lumas,
    flow: SmallPicture,
    followed: int,
    alike: int,
    size: tuple[int, int],
    *,
    row: int | None = None,
) -> None:
    """``kernels.metrics.similarity`` of two pictures and those before them, carried by the flow.

    What is carried is not rounded to bytes, as it is on a CPU.

    Args:
        flow: x y in its own pixels.
        followed, alike: [h, w], filled: of the originals, of the swapped.
        size: (width, height) of all lumas.
        row: bytes from row to row in all four; without it there are no gaps.
    """
    launcher.run(
        "likeness",
        *size,
        *(now.original, before.original, now.swapped, before.swapped),
        size[0] if row is None else row,
        Small.of(flow.pointer, flow.width, flow.height, size),
        *(followed, alike, *size),
        count=2,
    )


def means(
    launcher: Launcher, a: int, b: int, weight: int, size: tuple[int, int]
) -> tuple[float, float]:
    """``kernels.metrics.weighted_mean`` of two pictures [h, w]; waits for their sums."""
    blocks = -(-size[0] // TILE) * -(-size[1] // TILE)
    partials = launcher.memory("tallies", 12 * blocks)
    launcher.run("tally", *size, a, b, weight, partials, *size)
    sums = launcher.fetched(partials, (blocks, 3), "float32").sum(0, dtype=np.float64)
    total, one, two = sums.tolist()
    return (one / total, two / total) if total > 0 else (0.0, 0.0)


def flow_amounts(
    launcher: Launcher,
    before: Texture,
    flow: SmallPicture,
    change: int,
    row: int,
    k: int,
    amounts: int,
    size: tuple[int, int],
) -> None:
    """How much of a difference ``flow_blend`` would bring in, [h / k, w / k], not yet averaged.

    Args:
        before, flow, change, row, size: as those of ``kernels.cuda.steps.flow_blend``.
        k: 1, 2, 4, 8 or 16; divides the size.
    """
    if TILE % k or size[0] % k or size[1] % k:
        raise ValueError(f"means over {k} x {k} of {size}; wanted a divisor of 16 and of the size")
    launcher.run(
        "flow_amounts",
        *size,
        launcher.device.texture(before),
        Small.of(flow.pointer, flow.width, flow.height, size),
        *(change, row, k, 1.0 / (k * k), amounts, *size),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """How much is held, by which filters."""

    held: float
    anomaly: float
    alike: float
    """Similarity from which on the swap snaps to the frame before."""
    flow: bool
    snap: bool
    out_of_line: bool
    """All that is sure is held at ``anomaly``."""


def hold(
    launcher: Launcher,
    followed: int,
    alike: int,
    amounts: int,
    band: int,
    shares: Shares,
    weight: int,
    edge: int,
    size: tuple[int, int],
) -> None:
    """The shares of colours and mask with which the change of the frame before is held.

    Args:
        followed, alike: from `likeness`.
        amounts: from `flow_amounts`.
        band: from ``kernels.cuda.steps.seam_band``; 0: the mask is not held.
        weight, edge: [h, w], filled.
    """
    launcher.run(
        "hold",
        *size,
        *(followed, alike, amounts, band),
        Hold(
            *(shares.held, shares.alike, shares.anomaly, TAU, 1 / (SURE - TAU)),
            *(UNSEEN, 1 / (SEEN - UNSEEN), TOLERANCE**-2),
            *(int(shares.flow), int(shares.snap), int(shares.out_of_line)),
        ),
        *(weight, edge, *size),
    )
