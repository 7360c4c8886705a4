"""Which lanes the nodes of a cluster get, and in how many processes their stages are cut."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_RAY_UNITS = 10_000
"""Ray counts in ten-thousandths: shares are rounded down to them, so that all of them fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRoom:
    """What a node has for lanes."""

    name: str
    """Ray's id of it."""
    host: str = ""
    cpus: float
    gpus: float = 0.0

    @property
    def lanes(self) -> int:
        """How many lanes it bears: one for each GPU, the rest of one included; where there is no
        GPU one for each core."""
        return math.ceil(self.gpus) if self.gpus > 0 else int(self.cpus)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One lane's share of one node."""

    node: str
    cpus: float
    gpus: float = 0.0


def choose_layout(cpus: float, *, lanes: int = 0, processes: int = 0) -> tuple[int, int]:
    """(lanes, processes of each lane) where the user left one of them open (0), on one machine
    without a GPU.

    One fused process for each core: measured faster than fewer lanes of more processes, since
    no stage waits for another and no frame crosses a process line (docs/performance.md).
    """
    return lanes or max(1, int(cpus)), processes or 1


def deal(nodes: Sequence[NodeRoom], lanes: int = 0, *, processes: int = 1) -> tuple[Share, ...]:
    """The lanes of some nodes.

    Args:
        nodes: those without a core and without a GPU get none.
        lanes: in all; they go to the nodes one by one, each to the one of which the smallest part
            is taken. More than the nodes bear share GPUs or cores. 0: as many as they bear.
        processes: of a lane: a lane with a GPU takes a core for each of them where there are so
            many.
    """
    able = [node for node in nodes if node.lanes]
    counts = {node.name: 0 if lanes else node.lanes for node in able}
    for _ in range(lanes if able else 0):
        least = min(able, key=lambda node: counts[node.name] / node.lanes)
        counts[least.name] += 1
    return tuple(share for node in able for share in _shares(node, counts[node.name], processes))


def _shares(node: NodeRoom, lanes: int, processes: int) -> list[Share]:
    if not lanes:
        return []
    most = 1.0 if not node.gpus else float(processes)
    cpus = min(most, _down(node.cpus / lanes))
    return [
        Share(node=node.name, cpus=cpus, gpus=_gpus(node, lanes, lane)) for lane in range(lanes)
    ]


def _gpus(node: NodeRoom, lanes: int, lane: int) -> float:
    if not node.gpus:
        return 0.0
    if lanes <= node.lanes:
        return _down(min(1.0, node.gpus - lane))  # a GPU is one device: no lane has two halves
    return _down(1 / math.ceil(lanes / node.gpus))


def _down(share: float) -> float:
    return math.floor(share * _RAY_UNITS + 1e-6) / _RAY_UNITS
