"""What lanes tell: the events that an executor gives and the ledger takes."""

from __future__ import annotations

from dataclasses import dataclass

from scheduler.errors import SwapfarmError
from scheduler.jobs import Analysis, Segment


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneReady:
    """The lane's processes are up and idle."""

    lane: int
    node: str = ""
    """Where they are; empty: the executor does not say."""
    host: str = ""
    """The node's name for people."""


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
