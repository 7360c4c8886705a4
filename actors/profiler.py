"""Where the time of a lane's process goes: by part of the work, on the host and on the GPU.

Parts may lie within parts; each is given the time in which it was the innermost one. Only where a
part begins or ends are clocks read, so what is measured costs two readings a part.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Protocol

from scheduler.timing import Spent

Clock = Callable[[], tuple[float, float]]
"""Seconds (on the wall, of this thread's CPU time)."""
_READ: Final = 64
"""Marks on the GPU's stream after which those that have passed are read."""
_MOST: Final = 4096
"""Marks that are kept at most; beyond, the oldest are forgotten."""


class DeviceClock(Protocol):
    """Marks on the stream of a GPU. Nothing here waits for the GPU, but `wait`."""

    def mark(self) -> Any:
        """A mark behind all that was asked of the GPU so far."""
        ...

    def between(self, one: Any, other: Any) -> float | None:
        """Milliseconds from a mark to a later one; None: the GPU has not come so far."""
        ...

    def wait(self) -> None:
        """Until the GPU has passed all marks."""
        ...


class Ranges(Protocol):
    """Named ranges in the time line of an outside profiler."""

    def push(self, name: str) -> None: ...

    def pop(self) -> None: ...


def host_clock() -> tuple[float, float]:
    """See `Clock`."""
    return time.perf_counter(), time.thread_time()


class Profiler:
    """Adds up the time of the parts of the work. May be used by several threads at once.

    Args:
        clock: of the host.
        device: of a GPU; also given later, with `watch`.
        ranges: told of each part, where an outside profiler is to see them.
    """

    def __init__(
        self,
        *,
        clock: Clock = host_clock,
        device: DeviceClock | None = None,
        ranges: Ranges | None = None,
    ) -> None:
        self._clock = clock
        self._device = device
        self._ranges = ranges
        self._lock = threading.Lock()
        self._mine = threading.local()
        self._sums: dict[str, list[float]] = {}
        """calls, wall and CPU seconds."""
        self._device_ms: dict[str, float] = {}
        self._marks: deque[tuple[str, Any, Any]] = deque(maxlen=_MOST)

    def watch(self, device: DeviceClock) -> None:
        """From the next part on, measure a GPU, too."""
        self._device = device

    def span(self, part: str) -> _Span:
        """A context in which the time is the part's: that of parts within it left out."""
        return _Span(self, part)

    def take(self) -> dict[str, Spent]:
        """What was spent since this was asked last. Waits for the GPU: not for use in a loop."""
        if self._device is not None:
            self._device.wait()
        with self._lock:
            self._read()
            sums, self._sums = self._sums, {}
            device, self._device_ms = self._device_ms, {}
        return {
            part: Spent(
                calls=int(calls),
                wall_ms=wall * 1000,
                cpu_ms=cpu * 1000,
                device_ms=device.get(part),
            )
            for part, (calls, wall, cpu) in sums.items()
        }

    def _enter(self, part: str) -> None:
        stack = self._stack()
        self._turn(stack[-1] if stack else "")
        stack.append(part)
        if self._ranges is not None:
            self._ranges.push(part)

    def _leave(self) -> None:
        if self._ranges is not None:
            self._ranges.pop()
        part = self._stack().pop()
        self._turn(part, 1)

    def _stack(self) -> list[str]:
        mine = self._mine
        if not hasattr(mine, "stack"):
            mine.stack, mine.since, mine.mark = [], (0.0, 0.0), None
        stack: list[str] = mine.stack
        return stack

    def _turn(self, part: str, calls: int = 0) -> None:
        """A part of this thread ends, or another within it begins; "": there was none."""
        mine, device = self._mine, self._device
        now, mark = self._clock(), device.mark() if device is not None else None
        (wall, cpu), before = mine.since, mine.mark
        mine.since, mine.mark = now, mark
        if not part:
            return
        with self._lock:
            sums = self._sums.setdefault(part, [0, 0.0, 0.0])
            sums[0] += calls
            sums[1] += now[0] - wall
            sums[2] += now[1] - cpu
            if before is not None and mark is not None:
                self._marks.append((part, before, mark))
                if len(self._marks) % _READ == 0:
                    self._read()

    def _read(self) -> None:
        device = self._device
        while device is not None and self._marks:
            part, one, other = self._marks[0]
            ms = device.between(one, other)
            if ms is None:
                return
            self._marks.popleft()
            self._device_ms[part] = self._device_ms.get(part, 0.0) + ms


class _Span:
    """One part of the work while it lasts."""

    __slots__ = ("_part", "_profiler")

    def __init__(self, profiler: Profiler, part: str) -> None:
        self._profiler = profiler
        self._part = part

    def __enter__(self) -> None:
        self._profiler._enter(self._part)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._profiler._leave()
