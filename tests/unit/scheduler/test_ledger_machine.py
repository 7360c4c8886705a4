"""Whatever people and lanes do, in any order: Hypothesis looks for a history that breaks."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    precondition,
    rule,
)

from scheduler.errors import LaneDied, LaneOutOfMemory, MediaUnreadable
from scheduler.failure import Failure
from scheduler.history import (
    CancelAsked,
    Delivered,
    Event,
    Failed,
    Held,
    LaneDown,
    LaneUp,
    Limited,
    Measured,
    Needs,
    NodeDrained,
    NodeForgiven,
    OutputLost,
    Paused,
    Prioritised,
    Progressed,
    Released,
    Removed,
    Requeued,
    Restarted,
    Resumed,
    Retried,
    Submitted,
    Terms,
    Ticked,
    Weighted,
)
from scheduler.instructions import JobChanged, JobState, Kill, Start, Stop
from scheduler.ledger import Ledger
from scheduler.referee import Referee
from scheduler.tasks import TaskState

DIED = Failure.of(LaneDied("it died", "life", "none"))
FAILURES = st.sampled_from(
    [
        DIED,
        Failure.of(LaneOutOfMemory("memory ran out", "more", "none")),
        Failure.of(MediaUnreadable("a broken packet", "a film", "none")),
    ]
)
LANES = st.sampled_from(["a/0", "a/1", "b/0", "c/0"])
NODES = st.sampled_from(["a", "b", "c"])


class Farm(RuleBasedStateMachine):
    """People and lanes around one ledger. Every event is checked by a referee."""

    jobs = Bundle("jobs")
    old = Bundle("old")

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.referee = Referee(self.ledger)
        self.now = 0.0
        self.doing: dict[str, Start] = {}
        self.lives: dict[str, int] = {}
        self.said: dict[str, JobState] = {}
        """What was last said about each job."""

    def tell(self, event: Event) -> None:
        stopped: list[Stop | Kill] = []
        for instruction in self.referee.handle(event, self.now):
            match instruction:
                case Start():
                    assert instruction.lane not in self.doing
                    self.doing[instruction.lane] = instruction
                case Stop() | Kill():
                    self.doing.pop(instruction.lane, None)
                    stopped.append(instruction)
                case JobChanged():
                    self.said[instruction.job] = instruction.state
        for job in self.ledger.state.jobs.values():
            assert self.said[job.id] is job.state, "every change is told"
        for instruction in stopped:
            if isinstance(instruction, Stop):
                self.tell(Failed(lease=instruction.lease, failure=DIED))
            else:
                self.up(instruction.lane)

    @initialize()
    def desk(self) -> None:
        self.tell(LaneUp(lane="desk", life=1, node="desk", role="film"))
        self.lives["desk"] = 1

    @rule(
        target=jobs,
        name=st.sampled_from(["x", "y", "z"]),
        user=st.sampled_from(["ann", "bob"]),
        steps=st.integers(1, 2),
        limit=st.sampled_from([None, 1, 2]),
        memory=st.sampled_from([0, 0, 8]),
        overlap=st.booleans(),
        passthrough=st.booleans(),
        attempts=st.integers(1, 4),
    )
    def submit(
        self,
        name: str,
        user: str,
        steps: int,
        limit: int | None,
        memory: int,
        overlap: bool,
        passthrough: bool,
        attempts: int,
    ) -> str:
        self.tell(
            Submitted(
                terms=Terms(
                    job=name,
                    user=user,
                    steps=steps,
                    lane_limit=limit,
                    needs=Needs(gpu_memory=memory),
                    overlap=overlap,
                    on_error="passthrough" if passthrough else "fail",
                    attempts=attempts,
                )
            )
        )
        return name

    @rule(job=jobs)
    def pause(self, job: str) -> None:
        known = self.ledger.state.jobs.get(job)
        ended = known is None or known.state.ended
        self.tell(Paused(job=job))
        if known is not None and not ended:
            assert known.state is JobState.PAUSED

    @rule(job=jobs)
    def resume(self, job: str) -> None:
        self.tell(Resumed(job=job))

    @rule(job=jobs, hold=st.booleans())
    def hold(self, job: str, hold: bool) -> None:
        self.tell(Held(job=job, reason="disk full") if hold else Released(job=job))

    @rule(job=jobs, memory=st.sampled_from((0, 8)))
    def measure(self, job: str, memory: int) -> None:
        self.tell(Measured(job=job, needs=Needs(gpu_memory=memory)))

    @rule(job=jobs)
    def cancel(self, job: str) -> None:
        known = self.ledger.state.jobs.get(job)
        ended = known is not None and known.state.ended
        self.tell(CancelAsked(job=job))
        if known is not None and not ended:
            assert known.state is JobState.CANCELLED
            assert known.leases == []

    @rule(job=jobs)
    def retry(self, job: str) -> None:
        self.tell(Retried(job=job))

    @rule(job=jobs, start=st.integers(0, 400), kind=st.sampled_from(["analyse", "render"]))
    def requeue(self, job: str, start: int, kind: str) -> None:
        event = Requeued(job=job, step=0, kind=kind, start=start, stop=start + 50)  # type: ignore[arg-type]
        self.tell(event)

    @rule(job=jobs, priority=st.integers(-5, 200), limit=st.sampled_from([None, 1, 3]))
    def change(self, job: str, priority: int, limit: int | None) -> None:
        self.tell(Prioritised(job=job, priority=priority))
        self.tell(Limited(job=job, lane_limit=limit))

    @rule(job=consumes(jobs))
    def remove(self, job: str) -> None:
        self.tell(Removed(job=job))

    @rule(user=st.sampled_from(["ann", "bob"]), weight=st.floats(0.1, 10.0))
    def weigh(self, user: str, weight: float) -> None:
        self.tell(Weighted(user=user, weight=weight))

    @rule(lane=LANES)
    def up(self, lane: str) -> None:
        self.doing.pop(lane, None)
        self.lives[lane] = self.lives.get(lane, 0) + 1
        node = lane.partition("/")[0]
        role = "film" if lane == "desk" else "frames"
        memory = 16 if node == "a" else 0
        self.tell(
            LaneUp(lane=lane, life=self.lives[lane], node=node, role=role, gpu_memory=memory)  # type: ignore[arg-type]
        )

    @rule(lane=LANES, back=st.integers(0, 1))
    def down(self, lane: str, back: int) -> None:
        life = self.lives.get(lane, 0) - back
        if not back:
            self.doing.pop(lane, None)
        self.tell(LaneDown(lane=lane, life=life, failure=DIED))

    @rule(node=NODES, drain=st.booleans())
    def drain(self, node: str, drain: bool) -> None:
        self.tell(NodeDrained(node=node) if drain else NodeForgiven(node=node))

    @rule(seconds=st.floats(0.0, 200.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.tell(Ticked())

    @precondition(lambda self: self.doing)
    @rule(target=old, choice=st.randoms(use_true_random=False), seconds=st.floats(1.0, 60.0))
    def deliver(self, choice: object, seconds: float) -> Delivered:
        self.now += seconds
        lane = choice.choice(sorted(self.doing))  # type: ignore[attr-defined]
        return self._deliver(lane)

    def _deliver(self, lane: str, wrong: int = 0) -> Delivered:
        start = self.doing.pop(lane)
        frames = self.ledger.task(start.job, start.step, start.kind, start.chunk).frames
        plan = ((0, 150), (150, 300), (300, 450))
        overlap = self.ledger.state.jobs[start.job].terms.overlap
        event = Delivered(
            lease=start.lease,
            frames=frames + wrong,
            chunks=plan if start.kind in ("probe", "stitch") else (),
            renders=plan if start.kind == "probe" and overlap else (),
        )
        self.tell(event)
        return event

    @precondition(lambda self: self.doing)
    @rule(choice=st.randoms(use_true_random=False), failure=FAILURES, lie=st.booleans())
    def fail(self, choice: object, failure: Failure, lie: bool) -> None:
        self.now += 1.0
        lane = choice.choice(sorted(self.doing))  # type: ignore[attr-defined]
        if lie and lane != "desk":
            self._deliver(lane, wrong=-1)
            return
        start = self.doing.pop(lane)
        self.tell(Failed(lease=start.lease, failure=failure))

    @rule(event=old)
    def deliver_again(self, event: Delivered) -> None:
        self.tell(event)

    @precondition(lambda self: self.doing)
    @rule(choice=st.randoms(use_true_random=False), frames=st.integers(0, 200))
    def progress(self, choice: object, frames: int) -> None:
        lane = choice.choice(sorted(self.doing))  # type: ignore[attr-defined]
        self.tell(Progressed(lease=self.doing[lane].lease, frames=frames))

    @rule(job=jobs, chunk=st.integers(0, 2), kind=st.sampled_from(["analyse", "render"]))
    def lose(self, job: str, chunk: int, kind: str) -> None:
        known = self.ledger.state.jobs.get(job)
        tasks = known.steps[0].tasks[kind] if known else []  # type: ignore[index]
        if chunk < len(tasks) and tasks[chunk].winner is not None:
            self.tell(
                OutputLost(job=job, step=0, kind=kind, chunk=chunk, lease=tasks[chunk].winner)  # type: ignore[arg-type]
            )

    @rule()
    def restart(self) -> None:
        self.doing.clear()
        self.tell(Restarted())
        self.up("desk")

    def teardown(self) -> None:
        """When nothing stands in its way any more, every job comes to its end."""
        if "desk" not in self.lives:
            return
        for node in ("a", "b", "c", "desk"):
            self.tell(NodeForgiven(node=node))
        for job in list(self.ledger.state.jobs):
            self.tell(Resumed(job=job))
            self.tell(Released(job=job))
            self.tell(Measured(job=job, needs=Needs()))
        for lane in ("desk", "a/0", "b/0"):
            self.up(lane)
        for _ in range(400):
            if all(job.state.ended for job in self.ledger.state.jobs.values()):
                break
            self.now += 5.0
            for lane in sorted(self.doing):
                if lane in self.doing:
                    self._deliver(lane)
            if not self.doing:
                self.now = max(self.now, self.ledger.next_due() or 0.0)
            self.tell(Ticked())
        for job in self.ledger.state.jobs.values():
            assert job.state.ended, job.id
            if job.state is JobState.COMPLETED:
                renders = job.steps[0].tasks["render"]
                assert [t.state for t in renders] == [TaskState.DONE] * 3


TestFarm = Farm.TestCase
TestFarm.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
