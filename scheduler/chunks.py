"""The chunk plan: a pure function of the film and the settings, never of the cluster."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Frames [start, stop): the unit of retry."""

    index: int
    start: int
    stop: int
    warmup: int = 0
    """Frames before ``start`` that are decoded to settle filters but not encoded."""
    tail: int = 0
    """Frames after ``stop`` that are decoded as context but not encoded."""

    @property
    def frames(self) -> int:
        return self.stop - self.start
