"""What becomes of leases and of the tasks they were for."""

from __future__ import annotations

from collections.abc import Sequence

from scheduler.board import Board
from scheduler.errors import DiskFull, LaneHung, OutputMissing, RenderError, ResultImplausible
from scheduler.failure import Failure
from scheduler.farm_state import FarmState
from scheduler.history import Delivered, OutputLost, Progressed
from scheduler.instructions import Drop, Instruction, JobChanged, JobState, Kill, Stop
from scheduler.leases import Lease
from scheduler.pace import Pace
from scheduler.retries import (
    Rules,
    Verdict,
    backoff,
    give_up,
    give_up_on_storage,
    judge,
    wait,
)
from scheduler.standing import Job
from scheduler.steps import Step
from scheduler.tasks import Task, TaskState


class Completions:
    """Ends leases and says what follows. Works on the state and the board of one ledger."""

    def __init__(self, state: FarmState, board: Board, rules: Rules) -> None:
        self._state = state
        self._board = board
        self._rules = rules

    # Leases

    def close(self, lease: Lease, now: float) -> None:
        """The lane is done with it, one way or the other."""
        self.revoke(lease)
        del self._state.book.open[lease.number]
        self._board.stragglers.discard(lease.number)
        if lease.role == "frames":
            user = self._state.jobs[lease.job].terms.user
            self._state.accounts.settle(user, lease.charge, now - lease.since)

    def revoke(self, lease: Lease) -> None:
        """From now on a delivery under it does not count."""
        job = self._state.jobs[lease.job]
        if lease.number not in job.leases:
            return
        job.leases.remove(lease.number)
        job.running -= lease.role == "frames"
        task = self._state.task_of(lease)
        task.leases.remove(lease.number)
        if not task.leases:
            task.state = TaskState.BLOCKED

    def stop(self, lease: Lease, now: float) -> Instruction:
        """Ask a lane to give up; if it does not answer it is killed."""
        self.revoke(lease)
        lease.stopping = now
        self._board.watch(lease, now + self._rules.kill_seconds)
        return Stop(lease=lease.number, lane=lease.lane)

    def moved(self, event: Progressed, now: float) -> list[Instruction]:
        """A lane tells how far it is. From its first sign of life on it has less time for each."""
        lease = self._state.book.open.get(event.lease)
        if lease is not None:
            first = not lease.beats
            lease.move(event.frames, event.beats, now)
            if first and lease.beats and lease.stopping is None:
                pace = self._state.pace_of(self._state.jobs[lease.job], lease.kind)
                self._board.watch(lease, min(lease.look_at, lease.hangs_at(pace, self._rules)))
        return []

    def look(self, lease: Lease, now: float) -> list[Instruction]:
        """A lease's time has come: the lane hangs, straggles, or did not stop."""
        job = self._state.jobs[lease.job]
        if lease.stopping is not None:
            return self._kill(lease, "it was asked to stop and did not", now)
        pace = self._state.pace_of(job, lease.kind)
        if now >= lease.hangs_at(pace, self._rules):
            why = f"{lease.lane} did nothing for {now - lease.moved:.0f} s"
            failure = Failure.of(
                LaneHung(
                    f"{why} at frame {lease.done} of {lease.frames} of chunk {lease.chunk} in "
                    f"{lease.kind}",
                    "frames that move",
                    "nothing: the lane is killed and the chunk is tried again",
                )
            )
            task = self._state.task_of(lease)
            out = self._kill(lease, why, now)
            return out + self.task_failed(task, failure, now, node=lease.node)
        if now >= lease.straggles_at(pace, self._rules):
            lease.straggles = True
            self._board.stragglers.add(lease.number)
        later = min(lease.hangs_at(pace, self._rules), lease.straggles_at(pace, self._rules))
        self._board.watch(lease, later)
        return []

    def _kill(self, lease: Lease, why: str, now: float) -> list[Instruction]:
        seat = self._state.roster.lanes[lease.lane]
        seat.state, seat.lease = "down", None
        self.close(lease, now)
        self._board.offer(self._state.jobs[lease.job])
        return [Kill(lane=seat.name, life=seat.life, why=why)]

    # Deliveries

    def delivered(self, event: Delivered, now: float) -> list[Instruction]:
        """Count a delivery, or drop it."""
        lease = self._state.book.open.get(event.lease)
        if lease is None:
            if event.lease in self._board.winners:
                return []  # told twice
            self._state.dropped += 1
            return [Drop(lease=event.lease, why="the lease was over")]
        counts = lease.stopping is None
        job, task = self._state.jobs[lease.job], self._state.task_of(lease)
        self.close(lease, now)
        self._board.idle(self._state.roster.lanes[lease.lane])
        if not counts:
            job.dropped += 1
            self._state.dropped += 1
            self._board.offer(job)
            return [Drop(lease=event.lease, why="the lease was given up")]
        doubt = self._implausible(lease, event, now) or _bad_plan(job.steps[task.step], task, event)
        if doubt:
            drop = Drop(lease=event.lease, why=doubt.found)
            return [drop, *self.task_failed(task, doubt, now, node=lease.node)]
        if lease.frames:
            seconds = (now - lease.since) / (lease.frames * lease.cost)
            job.pace(lease.kind).add(seconds)
            self._state.paces.setdefault(lease.kind, Pace()).add(seconds)
        others = [self.stop(self._state.book.open[n], now) for n in list(task.leases)]
        task.state = TaskState.DONE
        task.winner, task.digest = event.lease, event.digest
        self._board.winners.add(event.lease)
        out = others + self._after(job, task, event)
        self._board.offer(job)
        return out

    def _implausible(self, lease: Lease, event: Delivered, now: float) -> Failure | None:
        if not lease.frames:
            return None
        seconds = now - lease.since
        if event.frames != lease.frames:
            found = f"{event.frames} frames instead of {lease.frames}"
        elif lease.frames > seconds * self._rules.frames_per_second:
            found = f"{lease.frames} frames in {seconds * 1000:.3f} ms"
        else:
            return None
        return Failure.of(
            ResultImplausible(
                f"{lease.lane} delivered {found} for chunk {lease.chunk} in {lease.kind}",
                "all frames of the chunk, in a time that is possible",
                "look at the node; nothing of it was published",
            )
        )

    def _after(self, job: Job, task: Task, event: Delivered) -> list[Instruction]:
        step = job.steps[task.step]
        ready: list[Task] = []
        if task.kind == "probe":
            ready += step.plan_analyses(event.chunks)
            if step.overlap:
                ready += step.plan_renders(event.renders)
        ready += step.done(task)
        if task.kind == "stitch" and not step.overlap:
            ready += step.plan_renders(event.chunks, event.costs)
        for dependent in ready:
            self._board.enlist(dependent)
        return self._published(job, step) if task.kind == "publish" else []

    def _published(self, job: Job, step: Step) -> list[Instruction]:
        if step.number + 1 < len(job.steps):
            probe = job.steps[step.number + 1].tasks["probe"][0]
            if probe.state is TaskState.BLOCKED:
                probe.open = 0
                self._board.enlist(probe)
        if all(s.tasks["publish"][0].state is TaskState.DONE for s in job.steps):
            return self.end(job, JobState.COMPLETED, None)
        return []

    # Failures

    def task_failed(
        self,
        task: Task,
        failure: Failure,
        now: float,
        *,
        node: str | None,
        fell: bool = False,
    ) -> list[Instruction]:
        """A lease that counted has ended without a result, and is closed."""
        job = self._state.jobs[task.job]
        if failure.code == DiskFull.code:
            return self._without_room(job, task, failure, now)
        if failure.code == OutputMissing.code:
            return self._without_output(job, task, failure, now)
        task.failures += 1
        task.last = failure
        if node is not None:
            if node not in task.failed_on:
                task.failed_on.append(node)
            self._blame(node, job, now, fell=fell)
        if failure.transient and task.leases:  # the other attempt goes on
            self._board.offer(job)
            return []
        verdict = judge(task, failure, job.terms.attempts, self._rules)
        if verdict is Verdict.AGAIN:
            job.retries += 1
            wait(task, failure, now, self._rules)
            if not self._state.roster.elsewhere(job.terms.needs, task.role, task.failed_on):
                task.avoid_until = task.not_before
            self.wait(task)
            self._board.offer(job)
            return []
        if verdict is Verdict.POISON:
            if self._passes(job, task):
                task.forget()
                task.passthrough = True
                self.wait(task)
                self._board.offer(job)
                return []
            failure = give_up(task, failure, self._rules)
        return self._fail(job, task, failure, now)

    def _fail(self, job: Job, task: Task, failure: Failure, now: float) -> list[Instruction]:
        out = [self.stop(self._state.book.open[n], now) for n in list(task.leases)]
        task.state = TaskState.FAILED
        return out + self.end(job, JobState.FAILED, failure)

    def _without_room(
        self, job: Job, task: Task, failure: Failure, now: float
    ) -> list[Instruction]:
        """A full disk is no fault of task or node: the task is tried until there is room."""
        known = task.last is not None and task.last.code == failure.code
        task.last = failure
        if not task.leases:
            task.not_before = task.avoid_until = now + self._rules.room_seconds
            self.wait(task)
        self._board.offer(job)
        return [] if known else [JobChanged(job=job.id, state=job.state, reason=failure.found)]

    def _without_output(
        self, job: Job, task: Task, failure: Failure, now: float
    ) -> list[Instruction]:
        """What was delivered and is lost is no fault of the task, nor of who looked for it.

        It may have been removed on purpose: of a completed job that is done anew only the result
        is left. A storage that loses the same thing each time ends the job all the same.
        """
        job.retries += 1
        task.losses += 1
        task.last = failure
        if task.losses >= self._rules.losses_most:
            return self._fail(job, task, give_up_on_storage(task, failure), now)
        if not task.leases:
            task.not_before = now + backoff(task.losses, self._rules)
            self.wait(task)
        self._board.offer(job)
        return []

    def _passes(self, job: Job, task: Task) -> bool:
        return (
            (job.terms.on_error == "passthrough" or task.step in job.terms.passing)
            and task.kind in ("analyse", "render")
            and not task.passthrough
        )

    def _blame(self, name: str, job: Job, now: float, *, fell: bool) -> None:
        node = self._state.roster.nodes[name]
        if self._state.roster.blame(node, job.id, now, self._rules, fell=fell):
            node.blocked_until = now + self._rules.forgive_seconds
            self._board.bench(node)

    def lost(self, event: OutputLost, now: float) -> list[Instruction]:
        """Storage lost what a task had delivered: it is done again, if anybody still needs it."""
        job = self._state.jobs.get(event.job)
        task = self._board.find(f"{event.job}/{event.step}/{event.kind}/{event.chunk}")
        if job is None or task is None or job.state.ended or task.winner != event.lease:
            return []
        step = job.steps[task.step]
        dependents = step.dependents(task)
        if all(dependent.state is TaskState.DONE for dependent in dependents):
            return []
        out = self._undo(step, task, now)
        failure = Failure.of(
            OutputMissing(
                f"{event.kind} of chunk {event.chunk} is not on storage any more",
                "what was delivered",
                "nothing: it is done again",
            )
        )
        return out + self.task_failed(task, failure, now, node=None)

    def reopen(self, step: Step, task: Task, now: float) -> list[Instruction]:
        """Do a task anew, and all that was made from it."""
        out: list[Instruction] = [
            self.stop(self._state.book.open[number], now) for number in list(task.leases)
        ]
        if task.state is TaskState.DONE:
            out += self._undo(step, task, now)
        # A stitch gives the same again (law 2): what it did not change stays as it is.
        made = () if task.kind == "stitch" else step.dependents(task)
        for dependent in made:
            if dependent.state in (TaskState.DONE, TaskState.RUNNING):
                out += self.reopen(step, dependent, now)
        task.forget()
        self.wait(task)
        return out

    def _undo(self, step: Step, task: Task, now: float) -> list[Instruction]:
        out: list[Instruction] = []
        self._board.winners.discard(task.winner or 0)
        task.winner, task.state = None, TaskState.BLOCKED
        step.undone(task)
        for dependent in step.dependents(task):
            if dependent.state is TaskState.WAITING:
                dependent.state = TaskState.BLOCKED
            elif dependent.state is TaskState.RUNNING and dependent.role == "film":
                out += [self.stop(self._state.book.open[n], now) for n in list(dependent.leases)]
        return out

    def wait(self, task: Task) -> None:
        """A task that nobody works on goes back to those that wait, if what it needs is there."""
        if task.open:
            task.state = TaskState.BLOCKED
        else:
            self._board.enlist(task)

    def end(self, job: Job, state: JobState, failure: Failure | None) -> list[Instruction]:
        """Nothing of the job goes on."""
        now = self._state.now
        out: list[Instruction] = []
        for number in list(job.leases):
            lease = self._state.book.open[number]
            task = self._state.task_of(lease)
            out.append(self.stop(lease, now))
            if not task.leases:
                self.wait(task)
        job.state, job.failure, job.ended = state, failure, now
        self._board.offer(job)
        return [*out, JobChanged(job=job.id, state=state, failure=failure)]


def _bad_plan(step: Step, task: Task, event: Delivered) -> Failure | None:
    """What is wrong with a plan that came with a delivery. It would be wrong the next time too."""
    bad = ""
    if task.kind == "probe":
        bad = _gap(event.chunks) if event.chunks else ""
        bad = bad or (_gap(event.renders) if step.overlap else "")
    elif task.kind == "stitch" and not step.overlap:
        known = [(render.start, render.stop) for render in step.tasks["render"]]
        bad = _gap(event.chunks)
        if known not in ([], list(event.chunks)):
            bad = "a second plan of the renders that differs from the first"
        elif event.costs and (len(event.costs) != len(event.chunks) or min(event.costs) <= 0.0):
            bad = f"costs {event.costs} of {len(event.chunks)} chunks"
    if not bad:
        return None
    error = RenderError(bad, "all frames in chunks that follow each other", "report this")
    return Failure.of(error)


def _gap(ranges: Sequence[tuple[int, int]]) -> str:
    """What is wrong with a plan; empty when its chunks follow each other from frame 0 on."""
    at = 0
    for start, stop in ranges:
        if start != at or stop <= start:
            return f"a plan with a chunk of frames {start} to {stop} where {at} was to follow"
        at = stop
    return "" if ranges else "a plan without chunks"
