"""Means, ratios and plots of rows that are known."""

from __future__ import annotations

import numpy as np
import pytest

from scheduler import report
from scheduler.outcomes import Outcome, Span


def rows(warp: float = 3.0, own: float = 2.0) -> dict[str, np.ndarray]:
    count = 10
    return {
        "frame": np.arange(count),
        "track": np.zeros(count),
        "warp": np.full(count, warp),
        "own_warp": np.full(count, own),
        "flicker": np.full(count, 0.5),
        "own_flicker": np.full(count, 0.25),
    }


def test_steadiness_is_held_against_the_films_own() -> None:
    facts = report.steadiness(rows())
    assert facts == {
        "pairs": 10,
        "warp": {"codes": 3.0, "own_codes": 2.0, "ratio": 1.5},
        "flicker": {"codes": 0.5, "own_codes": 0.25, "ratio": 2.0},
    }
    empty = report.steadiness({name: column[:0] for name, column in rows().items()})
    assert empty["warp"] == {"codes": None, "own_codes": None, "ratio": None}


def test_a_still_source_does_not_make_every_code_a_fault() -> None:
    assert report.excess(rows(warp=0.5, own=0.0)) == pytest.approx(np.full(10, 2.0))


def test_jitter_counts_known_frames_only() -> None:
    facts = report.jitter(np.array([np.nan, 3.0, 4.0]), np.array([60.0, 100.0, 50.0]))
    assert facts["px"] == pytest.approx(np.sqrt(12.5), abs=1e-4)
    assert facts["pct"] == pytest.approx(np.sqrt((9 + 64) / 2), abs=1e-4)
    assert facts["median_pct"] == pytest.approx(5.5)
    assert report.jitter(np.array([np.nan]), np.array([60.0]))["px"] is None


def test_similarity_is_one_minus_the_distance() -> None:
    assert report.similarity([0.4, 0.6]) == {"mean": 0.5, "min": 0.4, "std": 0.1, "frames": 2}
    assert report.similarity([]) is None


def test_the_tally_counts_frames() -> None:
    found = report.tally(
        [
            Span(start=0, stop=5, outcome=Outcome.SWAPPED),
            Span(start=5, stop=6, outcome=Outcome.LOST),
            Span(start=6, stop=8, outcome=Outcome.SWAPPED),
        ]
    )
    assert found == {"swapped": 7, "lost": 1}


def test_pairs_are_spread_and_every_border_is_among_them() -> None:
    every = report.pairs_to_measure(range(1000), cuts=(300,), borders=(100, 300, 501), limit=0)
    assert every == frozenset(range(1, 1000)) - {300}, "not over a cut, not before the film"
    some = report.pairs_to_measure(range(1000), cuts=(300,), borders=(100, 300, 501), limit=100)
    assert {100, 501} <= some
    assert 300 not in some
    assert 95 <= len(some) <= 103
    assert max(np.diff(sorted(some))) <= 11
    assert report.pairs_to_measure([5], cuts=(), borders=(50,), limit=0) == {5}, "no face there"


def test_plots_are_means_of_equal_stretches() -> None:
    frames = np.array([0, 1, 2, 5])
    values = np.array([1.0, 2.0, np.nan, 4.0])
    assert report.binned(frames, values, 6) == [1.0, 2.0, None, None, None, 4.0]
    long = report.binned(np.arange(48_000), np.full(48_000, 2.5), 48_000)
    assert len(long) == report.BINS
    assert set(long) == {2.5}
