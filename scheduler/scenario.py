"""What a simulated farm is made of: films, nodes, times and faults; all from a seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from scheduler.chunk_times import MEASURED, ChunkTimes
from scheduler.history import Needs, Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What goes wrong. Shares of leases, except where a rate is named."""

    lane_dies: float = 0.0
    hangs: float = 0.0
    """The lane stops; when it is killed it may wake up and deliver all the same."""
    fails: float = 0.0
    out_of_memory: float = 0.0
    lies: float = 0.0
    """Another number of frames."""
    hurries: float = 0.0
    """Done in no time."""
    twice: float = 0.0
    """What a lane says arrives a second time, later."""
    late: float = 0.0
    """What a lane says takes long to arrive, so that later words overtake it."""
    loses: float = 0.0
    """Storage says yes and has nothing."""
    poison: float = 0.0
    """Share of chunks that fail wherever they are tried."""
    broken: float = 0.0
    """Share of chunks whose failure is final."""
    slow_nodes: float = 0.0
    slow_factor: float = 5.0
    node_deaths: float = 0.0
    """An hour and node."""
    restarts: float = 0.0
    """Of the service, an hour."""
    wishes: float = 0.0
    """Of people, an hour and job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedFilm:
    terms: Terms
    frames: int
    arrives: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One simulated farm and its work."""

    seed: int
    films: tuple[SimulatedFilm, ...]
    nodes: int
    lanes_per_node: int = 1
    desks: int = 8
    """Lanes for film tasks; they share a node of their own."""
    chunk_frames: int = 200
    times: ChunkTimes = field(default_factory=ChunkTimes)
    faults: Faults = field(default_factory=Faults)
    rebuild_seconds: float = 6.0
    """Until a lane that died is up again."""
    reboot_seconds: float = 300.0
    """Until a node that died is up again."""
    detect_seconds: float = 1.5
    """Until the death of a node is known."""
    progress_seconds: float = 20.0
    message_seconds: float = 0.02
    """From a lane to the ledger and back."""


def film_queue(
    seed: int,
    nodes: int,
    jobs: int,
    faults: Faults | None = None,
    times: ChunkTimes = MEASURED,
) -> Scenario:
    """A farm under a queue of films of 10 s to 2 h, submitted at once by a fifth as many users."""
    rng = Random(seed)
    films = tuple(
        SimulatedFilm(
            terms=Terms(
                job=f"film{number}",
                user=f"user{number % max(jobs // 5, 1)}",
                priority=rng.choice((50, 50, 50, 60)),
                attempts=10,
            ),
            frames=int(25 * rng.uniform(10, 7200)),
        )
        for number in range(jobs)
    )
    return Scenario(
        seed=seed,
        films=films,
        nodes=nodes,
        desks=max(nodes // 30, 2),
        times=times,
        faults=faults or Faults(node_deaths=0.01, lane_dies=0.0005, late=0.001, twice=0.001),
    )


def small_farm(seed: int) -> Scenario:
    """A small farm in which much goes wrong: for proofs, many of them."""
    rng = Random(f"small farm {seed}")

    def some(most: float) -> float:
        return rng.choice((0.0, rng.uniform(0.0, most)))

    nodes = rng.randint(1, 4)
    films = tuple(
        SimulatedFilm(
            terms=Terms(
                job=f"film{number}",
                user=rng.choice(("ann", "bob")),
                steps=rng.choice((1, 1, 2)),
                priority=rng.choice((50, 50, 0, 100)),
                lane_limit=rng.choice((None, None, 1, 2)),
                needs=rng.choice((Needs(), Needs(), Needs(gpu_memory=8))),
                on_error=rng.choice(("fail", "passthrough")),
                attempts=rng.randint(2, 6),
                deadline=rng.choice((None, 1000.0, 2000.0)),
                overlap=rng.choice((False, False, True)),
            ),
            frames=rng.randint(1, 1100),
            arrives=rng.choice((0.0, rng.uniform(0.0, 60.0))),
        )
        for number in range(rng.randint(1, 3))
    )
    return Scenario(
        seed=seed,
        films=films,
        nodes=nodes,
        lanes_per_node=rng.randint(1, 2),
        desks=rng.randint(1, 2),
        times=ChunkTimes(tail_share=0.05),
        faults=Faults(
            lane_dies=some(0.15),
            hangs=some(0.1),
            fails=some(0.15),
            out_of_memory=some(0.1),
            lies=some(0.05),
            hurries=some(0.05),
            twice=some(0.3),
            late=some(0.3),
            loses=some(0.1),
            poison=some(0.05),
            broken=some(0.02),
            slow_nodes=some(0.5),
            node_deaths=some(30.0),
            restarts=some(20.0),
            wishes=some(60.0),
        ),
        reboot_seconds=60.0,
    )
