"""How long a chunk takes in a simulation: measured, or from a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from scheduler.errors import SettingInvalid


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkTimes:
    """Seconds a chunk takes.

    Two parts: what is in the chunk, which is the same at each attempt; and what befalls the
    attempt, which is not. Either is drawn from measured quantiles where there are some, else from
    a model. On top of both a few attempts take much longer (a Pareto tail: a machine that is busy,
    a slow disk): what is measured on one quiet machine has none of that.
    """

    analyse: float = 0.02
    """Median seconds a frame."""
    render: float = 0.10
    film_sigma: float = 0.3
    """Films differ from each other by a log-normal factor."""
    contents: tuple[float, ...] = ()
    """Quantiles, evenly spaced from the least to the most, of a chunk's seconds a frame over the
    median of its film; empty: log-normal, and a few with crowds."""
    attempts: tuple[float, ...] = ()
    """The same of an attempt over the median of its chunk's; empty: within 5 %."""
    chunk_sigma: float = 0.3
    crowd_share: float = 0.02
    crowd_most: float = 4.0
    tail_share: float = 0.02
    tail_shape: float = 1.2
    tail_most: float = 30.0

    def content(self, rng: Random) -> float:
        """How a chunk's time differs from the median, at each attempt."""
        if self.contents:
            return drawn(self.contents, rng)
        factor = rng.lognormvariate(0.0, self.chunk_sigma)
        crowd = rng.random() < self.crowd_share
        return factor * (rng.uniform(1.0, self.crowd_most) if crowd else 1.0)

    def luck(self, rng: Random) -> float:
        """How one attempt's time differs from what is in the chunk."""
        if rng.random() < self.tail_share:
            return min(rng.paretovariate(self.tail_shape), self.tail_most)
        return drawn(self.attempts, rng) if self.attempts else rng.uniform(0.95, 1.05)


def drawn(quantiles: tuple[float, ...], rng: Random) -> float:
    """A number whose distribution has these evenly spaced quantiles, straight between them."""
    at = rng.random() * (len(quantiles) - 1)
    low = int(at)
    return quantiles[low] + (at - low) * (quantiles[low + 1] - quantiles[low])


def from_measured(facts: Mapping[str, Any], name: str) -> ChunkTimes:
    """Chunk times from the report of ``benchmarks/chunk_times.py``.

    Args:
        name: of the report, for what is said of it.

    Raises:
        SettingInvalid: it is no such report.
    """
    try:
        contents, attempts = (
            tuple(float(value) for value in facts[part]) for part in ("contents", "attempts")
        )
        analyse, render = float(facts["analyse_s"]), float(facts["render_s"])
    except (KeyError, TypeError, ValueError) as error:
        raise _unusable(name, repr(error)) from error
    rising = all(list(q) == sorted(q) and len(q) > 1 and q[0] > 0 for q in (contents, attempts))
    if not rising or min(analyse, render) <= 0:
        raise _unusable(name, "quantiles that do not rise, or times that are not above 0")
    return ChunkTimes(analyse=analyse, render=render, contents=contents, attempts=attempts)


def _unusable(name: str, why: str) -> SettingInvalid:
    return SettingInvalid(
        f"{name}: {why}",
        "the JSON report of benchmarks/chunk_times.py",
        "make one with `python benchmarks/chunk_times.py FILM ... --json FILE`",
    )


MEASURED: Final = ChunkTimes(
    analyse=0.0186,
    render=0.0432,
    contents=(
        0.6478, 0.68, 0.7005, 0.732, 0.8795, 0.9203, 0.9404, 0.9708, 0.9781, 0.991, 1.0,
        1.0055, 1.0137, 1.0253, 1.035, 1.0517, 1.0641, 1.1377, 1.45, 1.9566, 2.6839,
    ),
    attempts=(
        0.9127, 0.9557, 0.9818, 0.9866, 0.9891, 0.9906, 0.9917, 0.993, 0.9937, 0.9958, 1.0,
        1.0042, 1.0063, 1.007, 1.0083, 1.0094, 1.0109, 1.0134, 1.0182, 1.0443, 1.0873,
    ),
)  # fmt: skip
"""38 chunks of a second of the five sample films, each rendered twice in chunks on a quiet machine
of two cores, mesh swapper, 23 November 2026: ``benchmarks/chunk_times.py FILM ... --chunk-seconds 1
--repeats 1``. In two of the films somebody comes or goes: a chunk with a face takes up to 2.7 times
as long as its film's median."""
