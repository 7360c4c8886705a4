"""What the ledger is told. A history is a list of these with their times; the state is its fold.

Lanes and people may tell a thing twice, late or in the wrong order: leases and the lives of lanes
are numbered, so that the ledger knows what is old.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from scheduler.failure import Failure
from scheduler.tasks import Kind, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a lane must have for a job's chunks."""

    gpu_memory: int = 0
    """Bytes."""
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the ledger has to know of a job. What is in its frames is none of its business."""

    job: str
    user: str = ""
    """Person or project, for fair shares."""
    steps: int = 1
    priority: int = 50
    """0 to 100; the higher goes first."""
    lane_limit: int | None = None
    """The most lanes that work on its chunks at a time."""
    needs: Needs = field(default_factory=Needs)
    on_error: Literal["fail", "passthrough"] = "fail"
    """What becomes of a chunk that cannot be worked on."""
    passing: tuple[int, ...] = ()
    """Steps where it keeps the source's own frames, whatever ``on_error`` says."""
    attempts: int = 6
    """How often one task may fail for passing reasons, wherever that is."""
    deadline: float | None = None
    """On the ledger's clock. Orders the jobs of one user and priority; it is no promise."""
    overlap: bool = False
    """Renders begin before the whole film is analysed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """A job that is known already is not taken a second time."""

    terms: Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    """Running tasks may finish; none begins."""

    job: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    job: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The job cannot be worked on now, whatever people wish: no room on the disk, say."""

    job: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a job's lanes must have, now that its film is known."""

    job: str
    needs: Needs


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """The reason to hold the job is gone."""

    job: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelAsked:
    job: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    """A failed or cancelled job goes on where it ended; what is done stays done."""

    job: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Requeued:
    """The chunks with frames in [start, stop) are done again, and what is made from them."""

    job: str
    step: int
    kind: Literal["analyse", "render"]
    start: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Prioritised:
    job: str
    priority: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limited:
    job: str
    lane_limit: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """Forget a job that has ended."""

    job: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighted:
    """How much of the farm a user gets beside others; 1 where nothing is said."""

    user: str
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneUp:
    """The lane's processes are up and idle. Each time a lane is built it has a higher life."""

    lane: str
    life: int
    node: str
    role: Role = "frames"
    gpu_memory: int = 0
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneDown:
    """This life of the lane is over, and so is the task that it had."""

    lane: str
    life: int
    failure: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDrained:
    """What runs on the node may finish; nothing begins."""

    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeForgiven:
    """The node is neither drained nor blocked any more."""

    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressed:
    """So many frames of the lease's chunk are done."""

    lease: int
    frames: int
    beats: int = 0
    """Signs of life so far; they rise with less work than a whole frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """The lease's task is done and its files are on storage under the lease's number."""

    lease: int
    frames: int = 0
    digest: str = ""
    chunks: tuple[tuple[int, int], ...] = ()
    """Of a probe: what to analyse (nothing where it is there already). Of a stitch: what to
    render."""
    renders: tuple[tuple[int, int], ...] = ()
    """Of a probe of a job that overlaps: what to render."""
    costs: tuple[float, ...] = ()
    """Of a stitch, where it can be told: how many times the usual time of a frame each render's
    frames will take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The lease's task ended without a result; its lane is idle."""

    lease: int
    failure: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputLost:
    """What this task had delivered is not on storage any more."""

    job: str
    step: int
    kind: Kind
    chunk: int
    lease: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarted:
    """The service lost its lanes: none is up, and no lease counts any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticked:
    """Something may be due (``Ledger.next_due``)."""


Event = (
    Submitted
    | Paused
    | Resumed
    | Held
    | Measured
    | Released
    | CancelAsked
    | Retried
    | Requeued
    | Prioritised
    | Limited
    | Removed
    | Weighted
    | LaneUp
    | LaneDown
    | NodeDrained
    | NodeForgiven
    | Progressed
    | Delivered
    | Failed
    | OutputLost
    | Restarted
    | Ticked
)
