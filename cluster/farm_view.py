"""A farm's jobs and nodes as plain facts, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from cluster.farm import Farm
from cluster.job_shelf import JobShelf
from cluster.service import DESK
from scheduler.events import SOME_MEMORY
from scheduler.farm_state import FarmState
from scheduler.ledger import Ledger
from scheduler.nodes import LaneSeat, Node
from scheduler.progress import ChunkProgress, JobSnapshot
from scheduler.standing import Job, current_step, find_job
from scheduler.steps import Step
from scheduler.tally import cell_of
from scheduler.tasks import Kind, Task, TaskState

_CHUNKS: Final[tuple[Kind, ...]] = ("analyse", "render")
_KINDS: Final[tuple[Kind, ...]] = ("probe", "analyse", "stitch", "render", "join", "publish")


def list_jobs(farm: Farm) -> list[dict[str, Any]]:
    """One row a job, the oldest first."""
    with farm.lock:
        return rows_of(farm.ledger, farm.shelf)


def rows_of(ledger: Ledger, shelf: JobShelf) -> list[dict[str, Any]]:
    """The same of a ledger that nobody changes."""
    return [_row(ledger, shelf, job) for job in ledger.state.jobs.values()]


def show_job(farm: Farm, name: str) -> dict[str, Any]:
    """All that is known of a job: its row, each chunk, its errors, what it has cost.

    Raises:
        JobUnknown: there is none.
    """
    with farm.lock:
        return facts_of(farm.ledger, farm.shelf, name)


def facts_of(ledger: Ledger, shelf: JobShelf, name: str) -> dict[str, Any]:
    """The same of a ledger that nobody changes."""
    job = find_job(ledger.state.jobs, name)
    name = job.id
    chunks = [
        _chunk(ledger.state, task)
        for step in job.steps
        for kind in _CHUNKS
        for task in step.tasks[kind]
    ]
    specs = shelf.entry(name).steps
    return {
        **_row(ledger, shelf, job),
        "nodes": sorted({c["node"] for c in chunks if c["node"]}),
        "retries": job.retries,
        "dropped": job.dropped,
        "core_seconds": round(shelf.core_seconds(name), 3),
        "passed": [list(frames[1:]) for frames in job.passed()],
        "failure": _failure(job),
        "summary": shelf.summary(name, len(specs) - 1),
        "chunks": chunks,
        "each_step": [
            {
                "step": number,
                "state": _step_state(job, step),
                "video": spec.media,
                "output": spec.goal,
                "summary": shelf.summary(name, number),
            }
            for number, (step, spec) in enumerate(zip(job.steps, specs, strict=True))
        ],
    }


def snapshot(farm: Farm, name: str) -> JobSnapshot:
    """How far the step is that a job is at, without its speed."""
    with farm.lock:
        job = farm.job(name)
        step = job.steps[current_step(job)]
        phase = _phase(job)
        tasks = [task for kind in _CHUNKS if kind == phase for task in step.tasks[kind]]
        rows = [_chunk(farm.ledger.state, task) for task in tasks]
        words = [f"step {step.number} of {len(job.steps)}"] * (len(job.steps) > 1)
        if job.lacks:
            words.append(f"{job.lacks}: it goes on when there is room")
        return JobSnapshot(
            job_id=name,
            phase="publish" if phase == "done" else phase,
            chunks=tuple(
                ChunkProgress(
                    index=task.chunk,
                    state=cell_of(task),
                    frames_done=row["frames_done"],
                    frames_total=task.frames,
                    attempts=task.tries,
                )
                for task, row in zip(tasks, rows, strict=True)
            ),
            frames_done=sum(row["frames_done"] for row in rows),
            frames_total=sum(task.frames for task in tasks),
            retries=job.retries,
            message=", ".join(words),
        )


def list_nodes(farm: Farm) -> list[dict[str, Any]]:
    """One row a node that had lanes in this life of the service or is drained."""
    with farm.lock:
        state = farm.ledger.state
        rows = []
        for node in state.roster.nodes.values():
            lanes = [seat for seat in state.roster.lanes.values() if seat.node == node.name]
            if node.name == DESK or not (lanes or node.drained):
                continue
            rows.append(
                {
                    "node": node.name,
                    "host": farm.hosts.get(node.name, ""),
                    "state": _node_state(node, lanes),
                    "blocked_until": node.blocked_until,
                    "failed_jobs": list(node.failed_jobs),
                    "lanes": [
                        {
                            "lane": seat.name,
                            "state": seat.state,
                            "gpu_memory": None
                            if seat.gpu_memory == SOME_MEMORY
                            else seat.gpu_memory,
                            "job": state.book.open[seat.lease].job
                            if seat.lease in state.book.open
                            else None,
                        }
                        for seat in lanes
                    ],
                }
            )
        return rows


def _node_state(node: Node, lanes: Sequence[LaneSeat]) -> str:
    if node.drained:
        return "drained"
    if all(seat.state == "down" for seat in lanes):
        return "down"
    return "up" if node.blocked_until is None else "blocked"


def _row(ledger: Ledger, shelf: JobShelf, job: Job) -> dict[str, Any]:
    entry = shelf.entry(job.id)
    tasks = [task for step in job.steps for kind in _CHUNKS for task in step.tasks[kind]]
    return {
        "job": job.id,
        "group": entry.group,
        "state": job.state.value,
        "phase": _phase(job),
        "step": current_step(job),
        "steps": len(job.steps),
        "user": job.terms.user,
        "priority": job.priority,
        "key": entry.key,
        "submitted": entry.submitted,
        "video": entry.spec.media,
        "output": entry.steps[-1].goal,
        "chunks_total": len(tasks),
        "chunks_done": sum(task.state is TaskState.DONE for task in tasks),
        "running": job.running,
        "eta_seconds": _eta(ledger.state, job),
        "waits": ledger.why_waiting(job.id),
        "error": job.failure.code if job.failure else None,
    }


def _failure(job: Job) -> dict[str, Any] | None:
    failure = job.failure
    if failure is None:
        return None
    return {
        "code": failure.code,
        "found": failure.found,
        "wanted": failure.wanted,
        "next": failure.next_step,
    }


def _step_state(job: Job, step: Step) -> str:
    if step.tasks["publish"][0].state is TaskState.DONE:
        return "completed"
    if step.number != current_step(job):
        return "queued"
    return job.state.value


def _phase(job: Job) -> str:
    """The first kind of task that is not done; of a job that has ended, where it ended."""
    for step in job.steps:
        for kind in _KINDS:
            tasks = step.tasks[kind]
            if kind == "render" and not tasks and step.tasks["stitch"][0].state is TaskState.DONE:
                return kind
            if any(task.state is not TaskState.DONE for task in tasks):
                return kind
    return "done"


def _eta(state: FarmState, job: Job) -> float | None:
    """Seconds until all chunks are rendered, at the pace so far; None: nothing is known yet."""
    if job.state.ended:
        return 0.0
    lanes = sum(
        seat.role == "frames" and seat.state != "down" for seat in state.roster.lanes.values()
    )
    seconds = 0.0
    for step in job.steps:
        frames = step.tasks["analyse"][-1].stop if step.tasks["analyse"] else 0
        for kind in _CHUNKS:
            tasks = step.tasks[kind]
            left = sum(
                task.frames * task.cost for task in tasks if task.state is not TaskState.DONE
            )
            if kind == "render" and not tasks:
                left = float(frames)
            pace = state.pace_of(job, kind).median()
            if left and pace is None:
                return None
            if not tasks and not frames:
                return None
            seconds += left * (pace or 0.0)
    return round(seconds / max(lanes, 1), 1)


def _chunk(state: FarmState, task: Task) -> dict[str, Any]:
    leases = [state.book.open[number] for number in task.leases]
    return {
        "step": task.step,
        "kind": task.kind,
        "chunk": task.chunk,
        "start": task.start,
        "stop": task.stop,
        "state": task.state.value,
        "attempts": task.tries,
        "failures": task.failures,
        "failed_on": list(task.failed_on),
        "error": task.last.found if task.last else None,
        "passthrough": task.passthrough,
        "frames_done": task.frames
        if task.state is TaskState.DONE
        else max((lease.done for lease in leases), default=0),
        "lane": leases[0].lane if leases else None,
        "node": leases[0].node if leases else None,
    }
