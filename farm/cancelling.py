"""Ctrl-C and SIGTERM end a job cleanly."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from scheduler.errors import Cancelled


@contextmanager
def cancelling() -> Iterator[None]:
    """SIGINT and SIGTERM end the work inside; further ones do not disturb the cleaning.

    Raises:
        Cancelled: one of them came.
    """

    def cancel(number: int, frame: FrameType | None) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {each: signal.signal(each, cancel) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise Cancelled(
            "the job was cancelled",
            "time to finish",
            "submit it again when you like; nothing of it was left behind",
        ) from interrupt
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
