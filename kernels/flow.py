"""Points followed from frame to frame by optical flow, and what they say of a whole face.

Pyramidal Lucas-Kanade (J.-Y. Bouguet, "Pyramidal Implementation of the Lucas Kanade Feature
Tracker", 2000) on parts of the luma that the points alone decide: the answer depends on the two
frames and the points, not on where a chunk starts. Each point is followed back again, and how far
it ends from its start weighs it *softly* (Z. Kalal et al., "Forward-Backward Error", 2010, use a
threshold: then noise of a thousandth of a pixel decides whether a point counts).
"""

from __future__ import annotations

from typing import Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from kernels import flow_loops
from kernels.geometry import Affine, Points
from kernels.picture import Picture, Plane

WIDTH: Final = 640
"""Columns of the luma that points are followed in, at least; less than twice as many."""
WINDOW: Final = 21
LEVELS: Final = 3
BACK_LEVELS: Final = 1
GRID: Final = 1 << LEVELS
MARGIN: Final = 16 * GRID
"""Pixels around the points in which they are looked for: the top level's windows, and motion."""
ITERATIONS: Final = 10
EPSILON: Final = 0.02
ROUNDS: Final = 6
"""Of reweighting: a quarter of the points wrong, the fit is then within 2 % of the tolerance."""

Luma = NDArray[np.uint8]
Weights = NDArray[np.float64]


def luma_step(picture: Picture) -> int:
    """Luma pixels of the frame, along each axis, in one pixel of ``flow_luma``."""
    return max(1, picture.format.width // WIDTH)


def flow_luma(picture: Picture) -> Luma:
    """Luma as uint8 [h, w]: means of squares of ``luma_step`` pixels.

    Rows and columns that do not fill a square at the lower and right edge are left out. Samples
    keep the stream's range; of more than 8 bits the highest 8 stay. Of RGB pictures the green
    plane stands for luma.
    """
    step = luma_step(picture)
    luma = picture.planes[0].view()
    if step > 1:
        # A picture less than one step high is still one row.
        rows, columns = max(1, luma.shape[0] // step), luma.shape[1] // step
        whole = luma[: rows * step, : columns * step]
        luma = cast(Plane, cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA))
    return np.right_shift(luma, picture.format.depth - 8).astype(np.uint8, copy=False)


def follow(before: Luma, after: Luma, points: Points, tolerance: float) -> tuple[Points, Weights]:
    """Where points of one face in one frame are in another.

    Args:
        before, after: ``flow_luma`` of the two frames, of one size.
        points: [n, 2] in pixels of ``before``, one at least.
        tolerance: in pixels; a point that comes back so far from its start weighs 1/e.

    Returns:
        [n, 2] in pixels of ``after``, and weights [n] 0..1; 0: the point was lost.
    """
    crop, corner = _around(points, before.shape)
    before, after = before[crop], after[crop]
    start = (points - corner).astype(np.float32)
    there, seen = _lucas_kanade(before, after, start, start, LEVELS)
    # Back from where the points would have come from if all had moved alike: near enough for few
    # levels, and no hint of where this very point started.
    shift = np.median((there - start)[seen], axis=0) if seen.any() else np.zeros(2)
    back, seen_back = _lucas_kanade(after, before, there, there - shift, BACK_LEVELS)
    missed = np.linalg.norm((back - start).astype(np.float64), axis=1)
    weights = np.exp(-np.square(missed / tolerance)) * (seen & seen_back)
    return there.astype(np.float64) + corner, weights


def fit_similarity(source: Points, target: Points, weights: Weights, tolerance: float) -> Affine:
    """The turn, scale and shift that most of the weighted points agree on.

    Least squares, reweighted by Cauchy's function, so that a point that is off by more than the
    tolerance says ever less.

    Args:
        source, target: [n, 2].
        weights: [n], 0 or more.
        tolerance: in the target's pixels.

    Returns: float64 [2, 3], source -> target.
    Raises ValueError: all points coincide, or none has weight.
    """
    affine = np.empty((2, 3))
    failed = flow_loops.fit(source, target, weights, tolerance, ROUNDS, affine)
    if failed:
        why = "no point has weight" if failed == 1 else "all points coincide"
        raise ValueError(f"{why}: no similarity is determined")
    return affine


def carry(
    points: Points,
    source: Points,
    target: Points,
    weights: Weights,
    nearness: NDArray[np.float64],
    tolerance: float,
) -> Points:
    """All points of a face, from where some of them went.

    The similarity of those that were followed, plus what it leaves over, smoothed over the face: a
    weighted mean of the neighbours' remainders that shrinks to nothing where they weigh little.

    Args:
        points: [m, 2], the face at the start.
        source, target: [n, 2], the followed points at the start and at the end.
        weights: [n], how well each was followed.
        nearness: [m, n], 1 for the same place on the face, towards 0 far from it.
        tolerance: of ``fit_similarity``.

    Returns: [m, 2], the face at the end.
    Raises ValueError: as ``fit_similarity``.
    """
    affine = fit_similarity(source, target, weights, tolerance)
    carried = np.empty_like(points)
    # Of a point that runs off alone, the remainder is bounded as its say in the fit is.
    reach = 4 * tolerance
    flow_loops.drift(affine, points, source, target, weights, nearness, reach, carried)
    return carried


def spread(places: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    """``count`` of the places [n, d], far from each other: each next is the farthest from those
    before, beginning with the one nearest the middle. Indices, rising."""
    chosen = int(np.square(places - places.mean(axis=0)).sum(axis=1).argmin())
    picked = [chosen]
    gap = np.square(places - places[chosen]).sum(axis=1)
    for _ in range(count - 1):
        chosen = int(gap.argmax())
        picked.append(chosen)
        gap = np.minimum(gap, np.square(places - places[chosen]).sum(axis=1))
    return np.array(sorted(picked))


def _around(
    points: Points, shape: tuple[int, ...]
) -> tuple[tuple[slice, slice], NDArray[np.float64]]:
    """The part of a luma plane that following these points may need, and its first x and y.

    It is decided by the points alone, its edges are on the grid of the highest level's pixels, and
    so it is the same, and the levels in it are, whoever asks.
    """
    low = np.floor(np.nan_to_num(points.min(axis=0)) / GRID).astype(int) * GRID - MARGIN
    high = np.ceil(np.nan_to_num(points.max(axis=0)) / GRID).astype(int) * GRID + MARGIN
    height, width = shape
    x0, y0 = (int(v) for v in np.clip(low, 0, [width - 1, height - 1]) // GRID * GRID)
    x1, y1 = (int(v) for v in np.clip(high, [x0 + 1, y0 + 1], [width, height]))
    return (slice(y0, y1), slice(x0, x1)), np.array([x0, y0], np.float64)


def _lucas_kanade(
    before: Luma, after: Luma, points: NDArray[np.float32], guess: NDArray[np.floating], levels: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Points [n, 2] of one plane in another, begun at the guess [n, 2]; which were found, [n]."""
    moved, status, _ = cv2.calcOpticalFlowPyrLK(
        before,
        after,
        points.reshape(-1, 1, 2),
        guess.astype(np.float32).reshape(-1, 1, 2),
        winSize=(WINDOW, WINDOW),
        maxLevel=levels,
        criteria=(cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, ITERATIONS, EPSILON),
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    return np.asarray(moved, np.float32)[:, 0], np.asarray(status)[:, 0] > 0
