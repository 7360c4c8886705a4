"""What came of a simulation, in numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

from scheduler.instructions import JobState


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of a simulation. Times in virtual seconds."""

    seconds: float = 0.0
    """From the first event to the end of the last job."""
    useful: float = 0.0
    """Lane seconds of the attempts that counted."""
    busy: float = 0.0
    """Lane seconds in which a lane worked."""
    up: float = 0.0
    """Lane seconds in which a lane could have worked."""
    queue_seconds: float = 0.0
    """From the first event to the last moment at which a chunk waited for a lane."""
    queue_busy: float = 0.0
    queue_up: float = 0.0
    """As ``busy`` and ``up``, up to that moment."""
    starts: int = 0
    events: int = 0
    states: dict[str, JobState] = field(default_factory=dict)
    began: dict[str, float] = field(default_factory=dict)
    """When a job's first task began, after its submission."""
    ended: dict[str, float] = field(default_factory=dict)
    published: dict[tuple[str, int], tuple[int, ...]] = field(default_factory=dict)
    """By job and step: the leases whose segments are in the film."""

    @property
    def efficiency(self) -> float:
        """While there was a queue, with all that was wasted up to the very end put on its account.
        After it lanes are idle because nothing is left to begin."""
        wasted = self.busy - self.useful
        return (self.queue_busy - wasted) / self.queue_up if self.queue_up else 0.0

    @property
    def efficiency_to_the_end(self) -> float:
        """With the run-out, in which the last chunks keep a few lanes busy."""
        return self.useful / self.up if self.up else 0.0

    @property
    def wasted_fraction(self) -> float:
        return 1.0 - self.useful / self.busy if self.busy else 0.0
