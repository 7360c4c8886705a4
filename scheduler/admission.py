"""Whether a job fits before it begins: disk, shared memory, GPU memory. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scheduler.errors import DoesNotFit


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What a job will take, in bytes."""

    disk: int
    """Tables, segments, the half-written result."""
    shm: int
    """The ring of one lane."""
    gpu_memory: int = 0
    """Of one lane; 0: none needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What one node has, in bytes."""

    node: str
    shm: int
    shm_free: int
    gpu_memory: int = 0
    gpu_memory_free: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Not admitted with a reason: wait until there is room."""

    admitted: bool
    reason: str = ""
    lacks: Literal["", "disk", "memory"] = ""


def admit(
    demand: Demand, *, disk: int, disk_free: int, reserved: int, nodes: Sequence[Room]
) -> Admission:
    """Whether a job can begin.

    Args:
        disk, disk_free: bytes of the job's storage, in all and not used.
        reserved: bytes that running jobs are still going to write there.
        nodes: those that may work on the job; none: nothing is known of them yet.

    Returns:
        Whether it may begin now or has to wait, and why.

    Raises:
        DoesNotFit: not even with the whole storage and an empty node.
    """
    if demand.disk > disk:
        raise DoesNotFit(
            f"a job that needs {_size(demand.disk)} of disk where {_size(disk)} is all there is",
            "a storage that holds the job's segments and its result",
            "give another place with --work-dir, or choose a smaller quality",
        )
    if nodes and not any(_could(demand, node) for node in nodes):
        most = max(nodes, key=lambda node: (node.gpu_memory, node.shm))
        raise DoesNotFit(
            f"a lane that needs {_size(demand.shm)} of shared memory and "
            f"{_size(demand.gpu_memory)} of GPU memory; the largest node ({most.node}) has "
            f"{_size(most.shm)} and {_size(most.gpu_memory)}",
            "a node that holds one lane",
            "enlarge /dev/shm, use a smaller model, or add a larger node",
        )
    if demand.disk > disk_free - reserved:
        left = max(disk_free - reserved, 0)
        return Admission(
            admitted=False,
            lacks="disk",
            reason=f"needs {_size(demand.disk)} of disk, {_size(left)} are left beside the others",
        )
    if nodes and not any(
        node.shm_free >= demand.shm and node.gpu_memory_free >= demand.gpu_memory for node in nodes
    ):
        return Admission(
            admitted=False, lacks="memory", reason="no node has the memory of one lane free"
        )
    return Admission(admitted=True)


def admit_on_gpus(needed: int, lanes: Mapping[str, int]) -> Admission:
    """Whether a lane that is up has a GPU for a job; a larger one may still join.

    Args:
        needed: bytes of one lane.
        lanes: by the name of a node, bytes of the lane that has most there.
    """
    node = max(lanes, key=lanes.__getitem__)
    if lanes[node] >= needed:
        return Admission(admitted=True)
    return Admission(
        admitted=False,
        lacks="memory",
        reason=f"needs {_size(needed)} of GPU memory for a lane; the most that one has is "
        f"{_size(lanes[node])} (on {node})",
    )


def _could(demand: Demand, node: Room) -> bool:
    return node.shm >= demand.shm and node.gpu_memory >= demand.gpu_memory


def _size(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
