"""Nodes and their lanes: who is idle, who is not to be trusted."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

from scheduler.history import LaneUp, Needs
from scheduler.retries import Rules
from scheduler.tasks import Role

LaneClass = tuple[int, tuple[str, ...]]
"""What lanes differ in: GPU memory and labels."""


@dataclass(slots=True, kw_only=True)
class LaneSeat:
    """One lane as the ledger sees it."""

    name: str
    node: str
    role: Role
    life: int
    gpu_memory: int = 0
    labels: tuple[str, ...] = ()
    state: Literal["idle", "busy", "down"] = "idle"
    lease: int | None = None
    idle_since: int = 0
    """Rank among the idle ones: who waits longest goes first."""
    rendered: tuple[str, int, int] | None = None
    """Job, step and chunk of the render that it was given last."""

    def fits(self, needs: Needs) -> bool:
        return self.gpu_memory >= needs.gpu_memory and set(needs.labels) <= set(self.labels)


@dataclass(slots=True, kw_only=True)
class Node:
    name: str
    drained: bool = False
    blocked_until: float | None = None
    failed_jobs: list[str] = field(default_factory=list)
    """Different jobs of which tasks failed here since the node was last forgiven."""
    last_fall: float | None = None

    @property
    def usable(self) -> bool:
        return not self.drained and self.blocked_until is None


class Pool:
    """The idle lanes of usable nodes, of one role: an index, made anew from the state."""

    def __init__(self) -> None:
        self._classes: dict[LaneClass, dict[str, LaneSeat]] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def put(self, seat: LaneSeat) -> None:
        lanes = self._classes.setdefault((seat.gpu_memory, seat.labels), {})
        self._size += lanes.pop(seat.name, None) is None
        lanes[seat.name] = seat

    def drop(self, seat: LaneSeat) -> None:
        lanes = self._classes.get((seat.gpu_memory, seat.labels), {})
        if lanes.pop(seat.name, None) is not None:
            self._size -= 1

    def fitting(self, needs: Needs, avoid: Collection[str] = ()) -> LaneSeat | None:
        """The lane that has the least of those that have enough, and waits longest."""
        for memory, labels in sorted(self._classes):
            if memory >= needs.gpu_memory and set(needs.labels) <= set(labels):
                for seat in self._classes[memory, labels].values():
                    if seat.node not in avoid:
                        return seat
        return None


@dataclass(slots=True, kw_only=True)
class Roster:
    """All nodes and lanes that were ever up."""

    nodes: dict[str, Node] = field(default_factory=dict)
    lanes: dict[str, LaneSeat] = field(default_factory=dict)
    turns: int = 0

    def up(self, event: LaneUp) -> LaneSeat | None:
        """Enter a lane; None if this life of it is not news."""
        known = self.lanes.get(event.lane)
        if known is not None and known.life >= event.life:
            return None
        self.nodes.setdefault(event.node, Node(name=event.node))
        seat = LaneSeat(
            name=event.lane,
            node=event.node,
            role=event.role,
            life=event.life,
            gpu_memory=event.gpu_memory,
            labels=event.labels,
        )
        self.lanes[event.lane] = seat
        return seat

    def turn(self) -> int:
        self.turns += 1
        return self.turns

    def blame(self, node: Node, job: str, now: float, rules: Rules, *, fell: bool) -> bool:
        """Note that a job's task failed on a node. Says whether the node is to be blocked now.

        The last usable node is never blocked: bad luck there is better than none at all.
        """
        if fell:
            together = node.last_fall is not None and now - node.last_fall < rules.together_seconds
            node.last_fall = now
            if together:
                return False
        if job not in node.failed_jobs:
            node.failed_jobs.append(job)
        if len(node.failed_jobs) < rules.block_jobs or not node.usable:
            return False
        return any(
            seat.state != "down" and seat.node != node.name and self.nodes[seat.node].usable
            for seat in self.lanes.values()
            if seat.role == "frames"
        )

    def elsewhere(self, needs: Needs, role: Role, avoid: Collection[str]) -> bool:
        """Whether a lane that is up could take a task that avoids these nodes."""
        return any(
            seat.state != "down"
            and seat.role == role
            and seat.node not in avoid
            and seat.fits(needs)
            and self.nodes[seat.node].usable
            for seat in self.lanes.values()
        )
