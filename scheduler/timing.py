"""What the parts of a lane's work took, added up over calls, tasks and lanes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

WAITING: Final = "waiting"
"""The part in which a process waits for frames from its neighbour, or for a free slot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """The time of one part of the work, without that of the parts within it."""

    calls: int = 0
    wall_ms: float = 0.0
    """By the clock on the wall: what others took from the processor meanwhile counts, too."""
    cpu_ms: float = 0.0
    """Of the thread that did it. Threads that an encoder or a network starts by its own settings
    are not counted."""
    device_ms: float | None = None
    """On the GPU's stream, from the first to the last of what was asked there, gaps included;
    None: there was no GPU."""

    def __add__(self, other: Spent) -> Spent:
        device = [each for each in (self.device_ms, other.device_ms) if each is not None]
        return Spent(
            calls=self.calls + other.calls,
            wall_ms=self.wall_ms + other.wall_ms,
            cpu_ms=self.cpu_ms + other.cpu_ms,
            device_ms=sum(device) if device else None,
        )


Times = Mapping[str, Spent]
"""By part: a stage (``decoder``), or a part of one (``detector.landmark``)."""


def added(all_times: Iterable[Times]) -> dict[str, Spent]:
    """The sums of each part."""
    sums: dict[str, Spent] = {}
    for times in all_times:
        for part, spent in times.items():
            sums[part] = sums.get(part, Spent()) + spent
    return sums


def cpu_by_stage(times: Times) -> dict[str, float]:
    """CPU milliseconds of each stage, its parts included; waiting is none."""
    cpu: dict[str, float] = {}
    for part, spent in times.items():
        stage = part.partition(".")[0]
        if stage != WAITING:
            cpu[stage] = cpu.get(stage, 0.0) + spent.cpu_ms
    return cpu
