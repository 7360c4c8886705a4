"""How long things take here: the median of the latest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

_LATEST: Final = 31


@dataclass(slots=True, kw_only=True)
class Pace:
    """Seconds a frame of the latest tasks of a kind."""

    latest: list[float] = field(default_factory=list)

    def add(self, seconds: float) -> None:
        self.latest.append(seconds)
        if len(self.latest) > _LATEST:
            del self.latest[0]

    def median(self) -> float | None:
        """None before the first task."""
        return sorted(self.latest)[len(self.latest) // 2] if self.latest else None
