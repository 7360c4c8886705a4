"""Nodes, lanes and a storage that exist only in a simulation, with their faults."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from scheduler.instructions import Start
from scheduler.scenario import Scenario
from scheduler.tasks import Role


@dataclass(slots=True, kw_only=True)
class VirtualLane:
    name: str
    node: str
    role: Role
    gpu_memory: int
    slowness: float
    life: int = 1
    up: bool = True
    doing: Start | None = None
    since: float = 0.0
    hung: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What comes of one attempt."""

    seconds: float
    end: str = "delivers"
    """delivers, dies, hangs, fails, out of memory, final, lies or hurries."""
    late: float = 0.0
    """Seconds that its word takes longer than others'."""
    twice: bool = False
    loses: bool = False


class VirtualNodes:
    """All nodes of a scenario, and what their lanes will do.

    What depends on the chunk (how long it takes, whether it is poison) is the same at each attempt;
    what depends on luck is not.
    """

    def __init__(self, scenario: Scenario, rng: Random) -> None:
        self._scenario = scenario
        self._rng = rng
        self._contents: dict[tuple[str, int], float] = {}
        """Factor of the time of each chunk of each film."""
        self._poison: dict[tuple[str, str, int], float] = {}
        """Luck of each chunk of each film and kind, the same at each attempt."""
        self._films: dict[str, float] = {}
        self.storage: set[int] = set()
        """Numbers of the leases whose files are there."""
        faults = scenario.faults
        self.lanes: dict[str, VirtualLane] = {}
        for node in range(scenario.nodes):
            slow = rng.random() < faults.slow_nodes
            for lane in range(scenario.lanes_per_node):
                self._add(
                    VirtualLane(
                        name=f"node{node}/{lane}",
                        node=f"node{node}",
                        role="frames",
                        gpu_memory=8 if node == 0 else rng.choice((0, 8, 16)),
                        slowness=faults.slow_factor if slow else 1.0,
                    )
                )
        for desk in range(scenario.desks):
            name = f"desk/{desk}"
            self._add(VirtualLane(name=name, node="desk", role="film", gpu_memory=0, slowness=1.0))

    def _add(self, lane: VirtualLane) -> None:
        self.lanes[lane.name] = lane

    def of(self, node: str) -> list[VirtualLane]:
        return [lane for lane in self.lanes.values() if lane.node == node]

    def fate(self, start: Start, lane: VirtualLane, frames: int) -> Fate:
        """What comes of an attempt that begins now."""
        times, faults, rng = self._scenario.times, self._scenario.faults, self._rng
        if lane.role == "film":
            seconds = {"probe": 2e-5, "stitch": 5e-5, "join": 5e-5}.get(start.kind, 0.0) * frames
            return Fate(seconds=0.2 + seconds, end=self._luck(film=True), twice=self._hit("twice"))
        luck = self._poison.setdefault((start.job, start.kind, start.chunk), rng.random())
        factor = self._content(start.job, start.chunk)
        factor *= self._films.setdefault(start.job, rng.lognormvariate(0.0, times.film_sigma))
        usual = times.analyse if start.kind == "analyse" else times.render
        seconds = frames * usual * factor * lane.slowness * times.luck(rng)
        end = self._luck(film=False)
        if luck < faults.poison and not start.passthrough:
            end = rng.choice(("dies", "fails"))
        elif luck > 1.0 - faults.broken and not start.passthrough:
            end = "final"
        if end == "out of memory" and start.batch_divisor > 2:
            end = "delivers"
        if end in ("dies", "hangs", "fails", "out of memory", "final"):
            seconds *= rng.random()
        return Fate(
            seconds=0.0 if end == "hurries" else seconds,
            end=end,
            late=rng.uniform(1.0, 60.0) if self._hit("late") else 0.0,
            twice=self._hit("twice"),
            loses=self._hit("loses"),
        )

    def costs(self, job: str, chunks: int) -> tuple[float, ...]:
        """What an analysis tells of the renders: good to a fifth or so."""
        rng = self._rng
        return tuple(
            self._content(job, chunk) * rng.lognormvariate(0.0, 0.2) for chunk in range(chunks)
        )

    def _content(self, job: str, chunk: int) -> float:
        known = self._contents.get((job, chunk))
        if known is None:
            known = self._contents[job, chunk] = self._scenario.times.content(self._rng)
        return known

    def _hit(self, fault: str) -> bool:
        share: float = getattr(self._scenario.faults, fault)
        return share > 0.0 and self._rng.random() < share

    def _luck(self, *, film: bool) -> str:
        faults = self._scenario.faults
        luck = self._rng.random()
        ends = [("dies", faults.lane_dies), ("fails", faults.fails)]
        if not film:
            ends += [
                ("hangs", faults.hangs),
                ("out of memory", faults.out_of_memory),
                ("lies", faults.lies),
                ("hurries", faults.hurries),
            ]
        for end, share in ends:
            if luck < share:
                return end
            luck -= share
        return "delivers"
