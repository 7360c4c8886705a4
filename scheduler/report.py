"""The numbers of a report: rows in, means and ratios out. Keys are those of docs/report.md."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from scheduler.outcomes import Outcome, Span

STILL: Final = 0.25
"""Warping error in codes that a source is taken to have at least: rounding alone makes as much."""
BINS: Final = 480
"""Points of a plot at most."""

Rows = Mapping[str, NDArray[Any]]
"""Measured pairs of frames: frame, track, warp, own_warp, flicker, own_flicker, each [n]."""


def excess(rows: Rows) -> NDArray[np.float64]:
    """[n] warping error over the source's own."""
    result: NDArray[np.float64] = rows["warp"] / np.maximum(rows["own_warp"], STILL)
    return result


def steadiness(rows: Rows) -> dict[str, Any]:
    """Means of the measured pairs, in codes, and over the source's own."""
    facts: dict[str, Any] = {"pairs": len(rows["frame"])}
    for name, own in (("warp", "own_warp"), ("flicker", "own_flicker")):
        mean, base = _mean(rows[name]), _mean(rows[own])
        facts[name] = {
            "codes": _short(mean),
            "own_codes": _short(base),
            "ratio": _short(mean / base) if mean is not None and base else None,
        }
    return facts


def jitter(pixels: NDArray[np.floating], eyes: NDArray[np.floating]) -> dict[str, Any]:
    """Landmarks' second difference: root mean square, and the median of frames.

    Args:
        pixels: [n] by frame; NaN where it is not known.
        eyes: [n] distance of the outer eye corners in pixels.
    """
    known = np.isfinite(pixels) & (eyes > 0)
    px = np.asarray(pixels, np.float64)[known]
    share = 100 * px / np.asarray(eyes, np.float64)[known]
    return {
        "px": _short(_rms(px)),
        "pct": _short(_rms(share)),
        "median_pct": _short(float(np.median(share))) if len(share) else None,
    }


def similarity(distances: Sequence[float]) -> dict[str, Any] | None:
    """Mean, least and spread of 1 - distance; None without any."""
    if not distances:
        return None
    values = 1.0 - np.asarray(distances, np.float64)
    return {
        "mean": _short(float(values.mean())),
        "min": _short(float(values.min())),
        "std": _short(float(values.std())),
        "frames": len(values),
    }


def tally(spans: Sequence[Span]) -> dict[str, int]:
    """Frames of each outcome that a track has."""
    counts: dict[str, int] = {}
    for outcome in Outcome:
        frames = sum(span.frames for span in spans if span.outcome is outcome)
        if frames:
            counts[outcome.value] = frames
    return counts


def pairs_to_measure(
    frames: Sequence[int], cuts: Collection[int], borders: Collection[int], limit: int
) -> frozenset[int]:
    """Frames to compare with the one before: evenly spread, and every chunk border.

    Args:
        frames: rising, those with a face that was pasted.
        limit: about how many; 0: all.
    """
    shots = frozenset(cuts)
    usable = [frame for frame in frames if frame > 0 and frame not in shots]
    step = max(1, -(-len(usable) // limit)) if limit else 1
    return frozenset(usable[::step]) | (frozenset(borders) & frozenset(usable))


def binned(
    frames: NDArray[np.integer] | NDArray[np.floating], values: NDArray[np.floating], length: int
) -> list[float | None]:
    """Means of values over equal stretches of a film, None where a stretch has none.

    Args:
        frames, values: [n]; values that are not finite do not count.
        length: of the film in frames.
    """
    count = min(BINS, length)
    known = np.isfinite(values)
    places = np.asarray(frames, np.int64)[known] * count // length
    sums = np.bincount(places, np.asarray(values, np.float64)[known], count)
    totals = np.bincount(places, minlength=count)
    return [
        _short(s / n) if n else None for s, n in zip(sums.tolist(), totals.tolist(), strict=True)
    ]


def _mean(values: NDArray[np.floating]) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _rms(values: NDArray[np.float64]) -> float | None:
    return float(np.sqrt(np.square(values).mean())) if len(values) else None


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
