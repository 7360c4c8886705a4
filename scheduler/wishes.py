"""What people ask of a simulated farm."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from scheduler.history import (
    CancelAsked,
    Event,
    Held,
    Limited,
    NodeDrained,
    NodeForgiven,
    Paused,
    Prioritised,
    Released,
    Requeued,
    Resumed,
    Retried,
)


def some_wish(rng: Random, films: Mapping[str, int], nodes: int) -> tuple[Event, Event | None]:
    """Something that a person may ask for, and what ends it where it would stop a job for good.

    Args:
        films: frames of each job's film.
    """
    job = rng.choice(sorted(films))
    node = f"node{rng.randrange(nodes)}"
    start = rng.randrange(films[job])
    stop = start + rng.randint(1, 300)
    again = Retried(job=job) if rng.random() < 0.5 else None
    wishes: tuple[tuple[Event, Event | None], ...] = (
        (Paused(job=job), Resumed(job=job)),
        (Held(job=job, reason="disk full"), Released(job=job)),
        (NodeDrained(node=node), NodeForgiven(node=node)),
        (Limited(job=job, lane_limit=1), Limited(job=job, lane_limit=None)),
        (Prioritised(job=job, priority=rng.randint(0, 100)), None),
        (CancelAsked(job=job), again),
        (Retried(job=job), None),
        (Requeued(job=job, step=0, kind="analyse", start=start, stop=stop), None),
        (Requeued(job=job, step=0, kind="render", start=start, stop=stop), None),
        (Requeued(job=job, step=0, kind="render", start=0, stop=films[job]), None),
    )
    return rng.choice(wishes)
