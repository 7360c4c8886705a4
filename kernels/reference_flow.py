"""The definition of dense flow and of the filters' weights on a GPU: float64 NumPy."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from kernels.colour import to_linear
from kernels.filters import SEEN, SURE, TAU, TOLERANCE, UNSEEN, matched
from kernels.picture import Transfer as Curve
from kernels.reference_steps import catmull_rom, enlarged

Array = NDArray[np.float64]

REACH: Final = 6
DEVIATION: Final = 2.5


def means(picture: Array, k: int) -> Array:
    """[h, w, ...] as means of k x k pixels; both sides are whole multiples of k."""
    h, w = picture.shape[:2]
    averaged: Array = picture.reshape(h // k, k, w // k, k, *picture.shape[2:]).mean((1, 3))
    return averaged


def luma(rgb: Array) -> Array:
    """[h, w] 0..255 of R'G'B' [h, w, >= 3], not rounded."""
    weighed: Array = rgb[..., :3] @ np.array([0.2126, 0.7152, 0.0722])
    return np.clip(255 * weighed, 0, 255)


def colour_transfer(original: Array, swapped: Array, transfer: Curve) -> Array:
    """``kernels.filters.colour_transfer`` of [s, s, >= 3] and [s, s, 4], whose last is the mask."""
    small = means(swapped, 4)
    total = small[..., 3].sum()
    if total < 16:
        return np.array([[1.0] * 3, [0.0] * 3])
    share = small[..., 3:] / total
    moments = []
    for picture in (means(original, 4)[..., :3], small[..., :3]):
        light = to_linear(np.clip(picture, 0, 1), transfer)
        mean = (light * share).sum((0, 1))
        moments += [mean, np.sqrt((np.square(light - mean) * share).sum((0, 1)))]
    return matched(*moments)


def scaled(flow: Array, size: tuple[int, ...]) -> Array:
    """A flow [.., .., 2] in its own pixels for a picture [h, w]."""
    ratios = size[1] / flow.shape[1], size[0] / flow.shape[0]
    motion: Array = enlarged(flow, (size[0], size[1])) * ratios
    return motion


def likeness(now: Array, before: Array, flow: Array) -> Array:
    """SSIM over 7 x 7 boxes (mirrored) of a picture [h, w] and the one before, carried along."""
    step = scaled(flow, now.shape)
    y, x = np.mgrid[: now.shape[0], : now.shape[1]].astype(np.float64)
    old = catmull_rom(before[..., None], x + step[..., 0], y + step[..., 1])[..., 0].clip(0, 255)
    a, b = _box(now, 3), _box(old, 3)
    covariance = _box(now * old, 3) - a * b
    variances = _box(now * now, 3) - a * a + _box(old * old, 3) - b * b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    alike: Array = (2 * a * b + c1) * (2 * covariance + c2)
    return alike / ((a * a + b * b + c1) * (variances + c2))


def flow_amounts(before: Array, flow: Array, change: Array, k: int) -> Array:
    """Largest channel of the difference that ``flow_blend`` would bring in, of means of k x k."""
    h, w = change.shape[:2]
    step = scaled(flow, (h, w))
    y, x = np.mgrid[:h, :w].astype(np.float64)
    difference = catmull_rom(before, x + step[..., 0], y + step[..., 1]) - change
    blurred = np.stack([_box(difference[..., c], 1) for c in range(3)], -1)
    largest: Array = np.abs(means(blurred, k)).max(-1)
    return largest


def hold(
    followed: Array,
    alike: Array,
    amounts: Array,
    band: Array | None,
    shares: tuple[float, float, float],
    filters: tuple[bool, bool, bool],
) -> tuple[Array, Array]:
    """What ``actors.stabilizer`` holds of colours and mask.

    Args:
        shares: held, held in a frame out of line, similarity from which on the swap snaps.
        filters: flow, snap, out of line.
    """
    held, anomaly, snaps = shares
    sure = np.clip((followed - TAU) / (SURE - TAU), 0, 1)
    weight = np.zeros_like(sure)
    if filters[0]:
        off = _box(amounts, 2)
        agreed = np.minimum(followed, np.exp(-np.square(off / TOLERANCE)))
        worth = np.clip((off - UNSEEN) / (SEEN - UNSEEN), 0, 1)
        weight = held * np.clip((agreed - TAU) / (SURE - TAU), 0, 1) * worth
    if filters[1]:
        weight = np.maximum(weight, held * sure * (alike > snaps))
    if filters[2]:
        weight = anomaly * sure
    return weight, held * sure * band if band is not None else np.zeros_like(sure)


def dense_flow(
    now: Array, before: Array, finest: int, rounds: int, coarsest: int, firm: float
) -> Array:
    """Where each pixel of ``now`` [h, w] lies in ``before``, as a step: [.., .., 2], of the level
    ``finest`` (0: whole pixels) and in its pixels.

    On each level from coarse to fine, ``rounds`` times, B. D. Lucas and T. Kanade's equations ("An
    iterative image registration technique", 1981) for each pixel under a Gaussian window: the one
    motion that explains it best, where each pixel is looked for where its own motion so far says.
    ``firm`` weighs the mean of the motion around against the window's structure.
    """
    pyramid = [(now, before)]
    while len(pyramid) <= finest or min(pyramid[-1][0].shape) >= 2 * coarsest:
        pyramid.append((_halved(pyramid[-1][0]), _halved(pyramid[-1][1])))
    flow = np.zeros((1, 1, 2))
    for one, two in reversed(pyramid[finest:]):
        for _ in range(rounds):
            flow = follow(one, two, flow, firm)
    return flow


def follow(now: Array, before: Array, flow: Array, firm: float) -> Array:
    """One round on one level; the flow may be of the level above."""
    h, w = now.shape
    flow = scaled(flow, (h, w))
    y, x = np.mgrid[:h, :w].astype(np.float64)
    at_x, at_y = x + flow[..., 0], y + flow[..., 1]
    told = (at_x > -0.5) & (at_y > -0.5) & (at_x < w - 0.5) & (at_y < h - 0.5)
    slope_x, slope_y = _slope(now) * told, _slope(now.T).T * told
    known = slope_x * flow[..., 0] + slope_y * flow[..., 1] - (_between(before, at_x, at_y) - now)
    xx, xy, yy = (_window(a * b) for a, b in ((slope_x,) * 2, (slope_x, slope_y), (slope_y,) * 2))
    right_x, right_y = _window(slope_x * known), _window(slope_y * known)
    right_x += firm * _window(flow[..., 0], "edge")
    right_y += firm * _window(flow[..., 1], "edge")
    share = (xx + firm) * (yy + firm) - xy * xy
    found = np.stack(
        [(yy + firm) * right_x - xy * right_y, (xx + firm) * right_y - xy * right_x], -1
    )
    return np.clip(found / share[..., None], flow - 2, flow + 2)


def _halved(picture: Array) -> Array:
    odd = [(0, side % 2) for side in picture.shape]
    return means(np.pad(picture, odd, mode="edge"), 2)


def _slope(picture: Array) -> Array:
    """Along x, by Scharr's filter; the edges repeat."""
    padded = np.pad(picture, 1, mode="edge")
    across = padded[:, 2:] - padded[:, :-2]
    slope: Array = (3 * across[:-2] + 10 * across[1:-1] + 3 * across[2:]) / 32
    return slope


def _between(picture: Array, x: Array, y: Array) -> Array:
    """[h, w] read bilinearly; the edges repeat."""
    x, y = np.clip(x, 0, picture.shape[1] - 1), np.clip(y, 0, picture.shape[0] - 1)
    i, j = x.astype(int), y.astype(int)
    right, lower = np.minimum(i + 1, picture.shape[1] - 1), np.minimum(j + 1, len(picture) - 1)
    upper = picture[j, i] + (x - i) * (picture[j, right] - picture[j, i])
    below = picture[lower, i] + (x - i) * (picture[lower, right] - picture[lower, i])
    mixed: Array = upper + (y - j) * (below - upper)
    return mixed


def _window(picture: Array, beyond: str = "constant") -> Array:
    taps = np.exp(-0.5 * np.square(np.arange(-REACH, REACH + 1) / DEVIATION))
    return _filtered(picture, taps / taps.sum(), beyond)


def _box(picture: Array, reach: int) -> Array:
    return _filtered(picture, np.full(2 * reach + 1, 1 / (2 * reach + 1)), "reflect")


def _filtered(picture: Array, taps: Array, beyond: str) -> Array:
    reach = len(taps) // 2
    for axis in (0, 1):
        lines = np.moveaxis(picture, axis, 0)
        mode = "edge" if beyond == "reflect" and len(lines) == 1 else beyond
        padded = np.pad(lines, [(reach, reach), (0, 0)], mode=mode)  # type: ignore[call-overload]
        total = np.zeros_like(lines)
        for k, tap in enumerate(taps):
            total += tap * padded[k : k + len(lines)]
        picture = np.moveaxis(total, 0, axis)
    return picture
