"""A farm on a virtual clock: the real ledger, driven by nodes that exist only here.

The nodes die, hang, slow down, lie, say things twice, late and in the wrong order, and lose what
they wrote; people change their minds; the service starts anew. One seed is one history.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from random import Random

from scheduler.errors import LaneDied, LaneError, LaneOutOfMemory, MediaUnreadable
from scheduler.failure import Failure
from scheduler.history import (
    Delivered,
    Event,
    Failed,
    LaneDown,
    LaneUp,
    OutputLost,
    Progressed,
    Restarted,
    Submitted,
    Ticked,
)
from scheduler.instructions import Instruction, JobChanged, JobState, Kill, Start, Stop
from scheduler.ledger import Ledger
from scheduler.scenario import Scenario
from scheduler.simulation_outcome import Outcome
from scheduler.virtual_lanes import Fate, VirtualLane, VirtualNodes
from scheduler.wishes import some_wish

Handle = Callable[[Event, float], list[Instruction]]


class Stuck(Exception):
    """Nothing is left that could happen, and jobs have not ended."""


class WrongFilm(Exception):
    """What was published is not the film: frames lost, doubled, or from a stale attempt."""


class Simulation:
    """One scenario from its beginning to its end.

    Args:
        ledger: fresh; read for what a real service reads from it (which attempts count).
        handle: the ledger's own, or a referee's that passes on to it.
        most_seconds: virtual time after which a job that has not ended is stuck.
    """

    def __init__(
        self,
        scenario: Scenario,
        ledger: Ledger,
        handle: Handle | None = None,
        most_seconds: float = 1e6,
    ) -> None:
        self._scenario = scenario
        self._ledger = ledger
        self._handle = handle or ledger.handle
        self._most = most_seconds
        self._rng = Random(f"simulation {scenario.seed}")
        self._nodes = VirtualNodes(scenario, self._rng)
        self._frames = {film.terms.job: film.frames for film in scenario.films}
        self._joined: dict[tuple[str, int], tuple[int, ...]] = {}
        self._coming: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._open = len(scenario.films)
        self._spent: dict[int, float] = {}
        """Lane seconds of each attempt that was carried out to its end."""
        self._busy = self._up = 0
        """Lanes for chunks, at present."""
        self.now = 0.0
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """Until all jobs have ended.

        Raises:
            Stuck, WrongFilm, or what the referee raises.
        """
        for lane in self._nodes.lanes.values():
            self._rise(lane)
        for film in self._scenario.films:
            self._tell(Submitted(terms=film.terms), film.arrives)
        self._plan_troubles()
        while self._open:
            due = self._ledger.next_due()
            if due is not None and (not self._coming or due < self._coming[0][0]):
                self._move(due)
                self._pass(Ticked())
            elif self._coming:
                moment, _, happen = heappop(self._coming)
                self._move(moment)
                happen()
            else:
                raise Stuck("nothing is left to happen")
            if self.now > self._most:
                raise Stuck(f"{self._open} jobs have not ended after {self.now:.0f} s")
        return self._sum_up()

    # What happens

    def _move(self, moment: float) -> None:
        """Time goes on."""
        seconds = max(moment - self.now, 0.0)
        self.outcome.busy += seconds * self._busy
        self.outcome.up += seconds * self._up
        self.now += seconds

    def _after(self, seconds: float, happen: Callable[[], None]) -> None:
        self._count += 1
        heappush(self._coming, (self.now + seconds, self._count, happen))

    def _tell(self, event: Event, seconds: float | None = None) -> None:
        delay = self._scenario.message_seconds if seconds is None else seconds
        self._after(delay, lambda: self._pass(event))

    def _pass(self, event: Event) -> None:
        self.outcome.events += 1
        for instruction in self._handle(event, self.now):
            match instruction:
                case Start():
                    self.outcome.starts += 1
                    self.outcome.began.setdefault(instruction.job, self.now)
                    self._begin(instruction)
                case Stop():
                    self._after(self._rng.uniform(0.0, 2.0), self._stopper(instruction))
                case Kill():
                    self._kill(self._nodes.lanes[instruction.lane], instruction.life)
                case JobChanged():
                    self._changed(instruction)
        if self._ledger.queued:
            out = self.outcome
            out.queue_seconds, out.queue_busy, out.queue_up = self.now, out.busy, out.up

    def _changed(self, change: JobChanged) -> None:
        before = self.outcome.states.get(change.job)
        self.outcome.states[change.job] = change.state
        ended = before is not None and before.ended
        self._open += ended - change.state.ended
        if change.state.ended:
            self.outcome.ended[change.job] = self.now
        if change.state is JobState.COMPLETED:
            for step in self._ledger.state.jobs[change.job].steps:
                if (change.job, step.number) not in self.outcome.published:
                    raise WrongFilm(f"{change.job} is completed, step {step.number} not published")

    # Lanes

    def _rise(self, lane: VirtualLane) -> None:
        lane.up, lane.hung, lane.doing = True, False, None
        self._up += lane.role == "frames"
        self._tell(
            LaneUp(
                lane=lane.name,
                life=lane.life,
                node=lane.node,
                role=lane.role,
                gpu_memory=lane.gpu_memory,
            )
        )

    def _fall(self, lane: VirtualLane, rebuild: float, detect: float | None) -> None:
        if not lane.up:
            return
        self._idle(lane)
        self._up -= lane.role == "frames"
        lane.up = False
        life = lane.life
        if detect is not None:
            error = LaneDied(f"{lane.name} died", "a living lane", "nothing: it is tried again")
            self._tell(LaneDown(lane=lane.name, life=life, failure=Failure.of(error)), detect)

        def rise() -> None:
            if not lane.up and lane.life == life:
                lane.life += 1
                self._rise(lane)

        self._after(rebuild, rise)

    def _kill(self, lane: VirtualLane, life: int) -> None:
        if lane.life != life or not lane.up:
            return
        start, zombie = lane.doing, lane.hung and self._rng.random() < 0.5
        if zombie and start is not None:  # it was frozen, and wakes up
            frames = self._task_frames(start)
            self._nodes.storage.add(start.lease)
            self._tell(Delivered(lease=start.lease, frames=frames), self._rng.uniform(1.0, 90.0))
        self._fall(lane, self._scenario.rebuild_seconds, None)

    def _begin(self, start: Start) -> None:
        lane = self._nodes.lanes[start.lane]
        if not lane.up:  # the ledger does not know yet; it will be told
            return
        lane.doing, lane.since = start, self.now
        self._busy += lane.role == "frames"
        frames = self._task_frames(start)
        fate = self._nodes.fate(start, lane, frames or self._frames[start.job])
        life, message = lane.life, self._scenario.message_seconds

        def still() -> bool:
            return lane.life == life and lane.up and lane.doing is start

        def progress(done: float) -> None:
            if still() and not lane.hung:
                self._tell(Progressed(lease=start.lease, frames=int(frames * done)))

        step = self._scenario.progress_seconds
        for tick in range(1, int(fate.seconds / step) + 1 if frames else 0):
            self._after(tick * step, partial(progress, tick * step / fate.seconds))

        def end() -> None:
            if still():
                self._end(lane, start, fate)

        self._after(message + fate.seconds, end)

    def _end(self, lane: VirtualLane, start: Start, fate: Fate) -> None:
        """An attempt comes to what it comes to."""
        if fate.end == "hangs":
            lane.hung = True
            return
        if fate.end == "dies":
            self._fall(lane, self._scenario.rebuild_seconds, 0.05)
            return
        frames = self._task_frames(start)
        self._spent[start.lease] = self.now - lane.since
        self._idle(lane)
        errors = {
            "fails": LaneError("a lane failed", "none", "none"),
            "out of memory": LaneOutOfMemory("memory ran out", "memory", "none"),
            "final": MediaUnreadable("a broken packet", "a film", "another copy"),
        }
        if fate.end in errors:
            failed = Failed(lease=start.lease, failure=Failure.of(errors[fate.end]))
            self._say(failed, fate)
            return
        if start.kind in ("join", "publish"):
            self._finish(start, fate)
            return
        if not fate.loses:
            self._nodes.storage.add(start.lease)
        told = frames + self._rng.choice((-1, 1)) if fate.end == "lies" else frames
        self._say(self._delivery(start, told), fate)

    def _delivery(self, start: Start, frames: int) -> Delivered:
        size, length = self._scenario.chunk_frames, self._frames[start.job]
        plan = tuple((at, min(at + size, length)) for at in range(0, length, size))
        overlap = self._ledger.state.jobs[start.job].terms.overlap
        if start.kind == "probe":
            renders = plan if overlap else ()
            return Delivered(lease=start.lease, chunks=plan, renders=renders)
        if start.kind == "stitch":
            costs = self._nodes.costs(start.job, len(plan))
            return Delivered(lease=start.lease, chunks=plan, costs=costs)
        return Delivered(lease=start.lease, frames=frames)

    def _finish(self, start: Start, fate: Fate) -> None:
        """Join or publish: what the ledger names is looked for on the storage."""
        place = (start.job, start.step)
        if start.kind == "join":
            renders = self._ledger.state.jobs[start.job].steps[start.step].tasks["render"]
            lost = [t for t in renders if t.winner not in self._nodes.storage]
            for task in lost:
                if task.winner is not None:
                    self._tell(
                        OutputLost(
                            job=task.job,
                            step=task.step,
                            kind=task.kind,
                            chunk=task.chunk,
                            lease=task.winner,
                        )
                    )
            if lost:
                error = LaneError("segments are missing", "all", "none: they are made again")
                self._say(Failed(lease=start.lease, failure=Failure.of(error)), fate)
                return
            at = 0
            for task in renders:
                if task.start != at:
                    raise WrongFilm(f"{task.key} begins at {task.start}, {at} was to follow")
                at = task.stop
            if at != self._frames[start.job]:
                raise WrongFilm(f"{start.job} has {at} frames of {self._frames[start.job]}")
            self._joined[place] = tuple(t.winner or 0 for t in renders)
        else:
            self.outcome.published[place] = self._joined[place]
        self._say(Delivered(lease=start.lease), fate)

    def _say(self, event: Event, fate: Fate) -> None:
        message = self._scenario.message_seconds
        self._tell(event, message + fate.late)
        if fate.twice:
            self._tell(event, message + self._rng.uniform(0.0, 30.0))

    def _stopper(self, stop: Stop) -> Callable[[], None]:
        def happen() -> None:
            lane = self._nodes.lanes[stop.lane]
            if lane.up and lane.doing and lane.doing.lease == stop.lease and not lane.hung:
                self._idle(lane)
                error = LaneError("given up", "none", "none")
                self._tell(Failed(lease=stop.lease, failure=Failure.of(error)))

        return happen

    def _task_frames(self, start: Start) -> int:
        return self._ledger.task(start.job, start.step, start.kind, start.chunk).frames

    # Troubles and wishes

    def _plan_troubles(self) -> None:
        faults, hour = self._scenario.faults, 3600.0
        names = sorted({lane.node for lane in self._nodes.lanes.values() if lane.role == "frames"})
        for rate, happen in (
            (faults.node_deaths * len(names), lambda: self._node_dies(self._rng.choice(names))),
            (faults.restarts, self._restart),
            (faults.wishes * len(self._frames), self._wish),
        ):
            if rate > 0:
                self._again(hour / rate, happen)

    def _again(self, seconds: float, happen: Callable[[], None]) -> None:
        def both() -> None:
            happen()
            self._again(seconds, happen)

        self._after(self._rng.expovariate(1.0 / seconds), both)

    def _node_dies(self, node: str) -> None:
        for lane in self._nodes.of(node):
            self._fall(lane, self._scenario.reboot_seconds, self._scenario.detect_seconds)

    def _restart(self) -> None:
        self._pass(Restarted())
        for lane in self._nodes.lanes.values():
            self._fall(lane, self._scenario.rebuild_seconds, None)

    def _wish(self) -> None:
        """Something that a person may ask for, and an end to it where it would stop the job."""
        wish, end = some_wish(self._rng, self._frames, self._scenario.nodes)
        self._pass(wish)
        if end is not None:
            self._tell(end, self._rng.uniform(1.0, 120.0))

    # Sums

    def _idle(self, lane: VirtualLane) -> None:
        self._busy -= lane.doing is not None and lane.role == "frames"
        lane.doing = None

    def _sum_up(self) -> Outcome:
        out = self.outcome
        out.seconds = self.now
        for job in self._ledger.state.jobs.values():
            for step in job.steps:
                for kind in ("analyse", "render"):
                    for task in step.tasks[kind]:
                        out.useful += self._spent.get(task.winner or 0, 0.0)
        return out
