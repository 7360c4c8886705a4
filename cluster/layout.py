"""How many lanes a machine bears, and in how many processes their stages are cut."""

from __future__ import annotations


def choose_layout(cpus: float, *, lanes: int = 0, processes: int = 0) -> tuple[int, int]:
    """(lanes, processes of each lane) where the user left one of them open (0).

    One fused process for each core: measured faster than fewer lanes of more processes, since
    no stage waits for another and no frame crosses a process line (docs/performance.md).
    """
    return lanes or max(1, int(cpus)), processes or 1
