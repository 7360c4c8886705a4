"""What follows from a failed attempt: again, elsewhere, or never."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from scheduler.errors import AttemptsExhausted, ChunkPoisoned, LaneOutOfMemory
from scheduler.failure import Failure
from scheduler.tasks import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Patience, in numbers. Times in seconds."""

    backoff_seconds: float = 0.5
    """Before the second attempt; doubles with each further one."""
    backoff_most: float = 60.0
    losses_most: int = 10
    """What storage has lost so often is not made again."""
    room_seconds: float = 10.0
    """Before a task that found the disk full is tried again."""
    poison_nodes: int = 3
    """A chunk that failed on so many different nodes is to blame itself."""
    avoid_seconds: float = 60.0
    """How long a task waits for a node other than those it failed on."""
    block_jobs: int = 3
    """A node on which tasks of so many jobs failed gets no more."""
    forgive_seconds: float = 600.0
    together_seconds: float = 5.0
    """Lanes of a node that fall so soon after each other fell for one reason."""
    stall_seconds: float = 30.0
    """A lane that gives no sign of life for so long hangs, ..."""
    stall_frames: float = 5.0
    """... or for so many times the median time of a frame, if that is longer."""
    begin_seconds: float = 600.0
    """How long a lane may take to its first sign of life: it loads networks meanwhile."""
    patience_growth: float = 2.0
    """A task that has failed gets so many times the patience: what was taken for hung may be
    slow."""
    film_seconds: float = 3600.0
    """How long a film task may take; it has no frames to count."""
    straggle_factor: float = 1.5
    """A chunk that takes so many times what it should gets a second attempt on an idle lane of
    another node."""
    kill_seconds: float = 10.0
    """Between asking a lane to stop and killing it."""
    frames_per_second: float = 10_000.0
    """No lane is faster; one that says so lies."""


class Verdict(Enum):
    AGAIN = "again"
    POISON = "poison"
    """The chunk cannot be worked on."""
    FINAL = "final"
    """The job cannot be finished."""


_OUT_OF_MEMORY: Final = LaneOutOfMemory.code


def judge(task: Task, failure: Failure, attempts: int, rules: Rules) -> Verdict:
    """What follows from a task's latest failure, which it has counted already."""
    if not failure.transient:
        return Verdict.FINAL
    if len(task.failed_on) >= rules.poison_nodes:
        return Verdict.POISON
    return Verdict.POISON if task.failures >= attempts else Verdict.AGAIN


def backoff(times: int, rules: Rules) -> float:
    """Seconds before the next attempt of what has gone wrong so many times."""
    return min(rules.backoff_seconds * 2.0 ** (times - 1), rules.backoff_most)


def wait(task: Task, failure: Failure, now: float, rules: Rules) -> None:
    """Say when and how the task is tried again. The first time that memory runs out, the lane's
    batches are halved and the node is not avoided."""
    task.not_before = now + backoff(task.failures, rules)
    task.avoid_until = task.not_before + rules.avoid_seconds
    if failure.code == _OUT_OF_MEMORY:
        task.batch_divisor *= 2
        if task.batch_divisor == 2:
            task.avoid_until = task.not_before


def give_up(task: Task, failure: Failure, rules: Rules) -> Failure:
    """Why the job ends, where a task was tried often enough."""
    what = _name(task)
    if len(task.failed_on) >= rules.poison_nodes:
        return Failure.of(
            ChunkPoisoned(
                f"{what} failed on {len(task.failed_on)} nodes ({', '.join(task.failed_on)}); "
                f"the last time: {failure.found}",
                "one success",
                "look at these frames of the film; with --on-error passthrough they stay as "
                "they are and the rest is rendered",
            )
        )
    return Failure.of(
        AttemptsExhausted(
            f"{what} failed {task.failures} times; the last time: {failure.found}",
            "one success in as many attempts",
            "look at the last error; `farm doctor` checks this machine",
        )
    )


def give_up_on_storage(task: Task, failure: Failure) -> Failure:
    """Why the job ends, where storage lost the same thing often enough."""
    return Failure.of(
        AttemptsExhausted(
            f"{_name(task)}: what was delivered was lost {task.losses} times; the last time: "
            f"{failure.found}",
            "a storage that keeps what it took",
            "look at the disk of the job's folder (--work-dir), then `farm retry`",
        )
    )


def _name(task: Task) -> str:
    what = f"{task.kind} of step {task.step}"
    if task.frames:
        what = f"chunk {task.chunk} (frames {task.start} to {task.stop - 1}) in {what}"
    return what
