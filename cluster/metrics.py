"""What lanes tell Ray's metrics of their work: for Prometheus, at each node's own port.

Ray puts ``ray_`` before the names (docs/gpu-lane.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ray.util.metrics import Counter, Histogram

from scheduler.timing import Spent

BOUNDS_MS: Final = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0]
"""Upper ends of the histogram's buckets."""


class LaneMetrics:
    """The metrics of one process of a lane; they are there when this is made."""

    def __init__(self) -> None:
        tags = ("task", "part")
        self._frames = Counter("farm_frames", "Frames that are done", ("task",))
        self._calls = Counter("farm_part_calls", "How often a part of the work was done", tags)
        self._seconds = Counter(
            "farm_part_seconds",
            "Seconds that a part of the work took, by the clock: wall, cpu or device",
            (*tags, "clock"),
        )
        self._mean = Histogram(
            "farm_part_ms", "Mean milliseconds of a part in one task", BOUNDS_MS, tags
        )

    def add(self, task: str, frames: int, times: Mapping[str, Spent]) -> None:
        """A task is done.

        Args:
            task: analyse or render.
            frames: of the task, told by the process that ended it; 0 by the others.
            times: by part.
        """
        if frames:
            self._frames.inc(frames, {"task": task})
        for part, spent in times.items():
            tags = {"task": task, "part": part}
            clocks = {"wall": spent.wall_ms, "cpu": spent.cpu_ms, "device": spent.device_ms or 0.0}
            for clock, ms in clocks.items():
                if ms > 0:  # Ray refuses to add nothing
                    self._seconds.inc(ms / 1000, {**tags, "clock": clock})
            if spent.calls:
                self._calls.inc(spent.calls, tags)
                self._mean.observe(spent.wall_ms / spent.calls, tags)
