"""What lanes tell: the events that an executor gives and the ledger takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from scheduler.errors import SwapfarmError
from scheduler.jobs import Analysis, Segment

SOME_MEMORY: Final = 1 << 62
"""Bytes of a GPU of which nobody could tell: it is taken to have what is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneReady:
    """The lane's processes are up and idle."""

    lane: int
    node: str = ""
    """Where they are; empty: the executor does not say."""
    host: str = ""
    """The node's name for people."""
    gpu_memory: int = 0
    """Bytes of its GPU that are its own; 0: it has no GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneLost:
    """The lane is gone; its running task, if any, was reported as failed just before."""

    lane: int
    error: SwapfarmError


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskProgress:
    """The running attempt has done this many frames of its chunk."""

    key: str
    attempt: int
    frames: int
    beats: int = 0
    """Signs of life so far: frames that passed a stage, the halo's, too, and networks that were
    run. 0: it still loads what it needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDone:
    key: str
    attempt: int
    lane: int
    result: Analysis | Segment


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFailed:
    key: str
    attempt: int
    lane: int
    error: SwapfarmError


ExecutorEvent = LaneReady | LaneLost | TaskProgress | TaskDone | TaskFailed
