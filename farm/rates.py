"""How fast this machine renders: measured by each job that ends, kept for `farm submit --plan`."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median
from typing import Final

import psutil

from scheduler.devices import CPU
from scheduler.jobs import JobSpec, JobSummary

KEPT: Final = 5
"""Jobs of a kind whose figures are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What rendering costs a lane, in milliseconds of wall time."""

    frame_ms: float
    """To decode and encode one million pixels."""
    swap_ms: float
    """To swap and composite one face."""
    start_seconds: float
    """Until lanes are up."""


BUILT_IN: Final = Rates(frame_ms=22.0, swap_ms=45.0, start_seconds=6.0)
"""Of a server's core in 2026, for jobs of a kind that this machine has not done yet."""
BUILT_IN_ANALYSIS_MS: Final = 12.0
"""What the analysis of a frame with one face costs such a core."""


def kind_of(job: JobSpec, crop_size: int) -> str:
    """Jobs of one kind cost about the same for each pixel and each face."""
    kind = f"{job.swap.model}/{job.encoder.codec}/{job.encoder.preset}/{crop_size}"
    return kind if job.device == CPU else f"{kind}/{job.device}"


def measured(summary: JobSummary, lanes: int) -> Rates | None:
    """The rates of a finished job; None where it swapped or rendered too little to tell."""
    if summary.swaps < 20 or summary.frames < 20:
        return None
    cpu = {
        stage: summary.cpu_ms_per_frame.get(f"render.{stage}", 0.0)
        for stage in ("decoder", "swapper", "compositor", "encoder")
    }
    whole = sum(cpu.values())
    # At the end of a film lanes run empty: no more can be busy than there are chunks.
    busy = min(lanes, summary.chunks)
    spent = summary.phase_seconds["render"] * 1000 * busy / max(whole, 1e-9)
    return Rates(
        frame_ms=spent * (cpu["decoder"] + cpu["encoder"]) / summary.frames / summary.megapixels,
        swap_ms=spent * (cpu["swapper"] + cpu["compositor"]) / summary.swaps,
        start_seconds=summary.phase_seconds.get("start", 0.0),
    )


class RateBook:
    """Rates by kind of job in a JSON file. A damaged or lost file costs an estimate, no more."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def find(self, kind: str) -> tuple[Rates, int] | None:
        """(median rates of the latest jobs of a kind, how many they are)."""
        rows = self._read().get(kind, [])
        if not rows:
            return None
        rates = Rates(**{name: median(row[name] for row in rows) for name in rows[0]})
        return rates, len(rows)

    def add(self, kind: str, rates: Rates) -> None:
        """Put a job's figures beside the earlier ones of its kind; the oldest make room.

        A book that cannot be written costs the next estimate, not this job.
        """
        book = self._read()
        book[kind] = [*book.get(kind, []), asdict(rates)][-KEPT:]
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}.tmp")
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            for left in self._path.parent.glob(f".{self._path.name}.*.tmp"):
                if not psutil.pid_exists(int(left.name.split(".")[-2])):
                    left.unlink(missing_ok=True)
            temporary.write_text(json.dumps(book, indent=1, sort_keys=True))
            temporary.replace(self._path)

    def _read(self) -> dict[str, list[dict[str, float]]]:
        names = [each.name for each in fields(Rates)]
        try:
            book = json.loads(self._path.read_text())
            return {
                kind: [{name: float(row[name]) for name in names} for row in rows]
                for kind, rows in book.items()
            }
        except (OSError, ValueError, AttributeError, TypeError, KeyError):
            # None yet, another version's, or damaged: estimates start anew.
            return {}


def schedule(costs: Sequence[float], lanes: int) -> float:
    """When the last of some tasks ends: each goes, in order, to the lane that is free first."""
    free = [0.0] * max(1, lanes)
    for cost in costs:
        at = free.index(min(free))
        free[at] += cost
    return max(free)
