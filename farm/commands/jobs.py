"""``farm jobs`` and the verbs on one job of a farm that is up."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from farm.commands.service import farm_folder
from farm.config import Settings
from farm.progress import CELLS, duration, printable
from scheduler.errors import Cancelled, SettingInvalid
from scheduler.progress import ChunkState

JobOrGroup = Annotated[
    str,
    typer.Argument(
        metavar="JOB",
        help="Its name, or the part of it that no other job has, or the name of a group.",
    ),
]
Job = Annotated[
    str,
    typer.Argument(metavar="JOB", help="Its name, or the part of it that no other job has."),
]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]

ENDED: Final = ("completed", "failed", "cancelled")
_CELLS: Final = {
    "blocked": ChunkState.WAITING,
    "waiting": ChunkState.WAITING,
    "running": ChunkState.RUNNING,
    "done": ChunkState.DONE,
    "failed": ChunkState.FAILED,
}


def ask(context: typer.Context, verb: str, **facts: Any) -> Any:
    """Ask the farm of this user.

    Raises:
        NoFarm: none is up.
        SwapfarmError: what it cannot do.
    """
    from cluster.farm_place import farm_of

    settings: Settings = context.obj
    with farm_of(farm_folder(settings)) as farm:
        return farm.ask(verb, **facts)


def look(context: typer.Context, job: str) -> AbstractContextManager[Callable[[], dict[str, Any]]]:
    """Something that tells all that is known of a job each time it is called. The farm is asked,
    but not of a job that `farm job run` runs here.

    Raises:
        NoFarm: none is up, and no such job was run here.
    """
    from cluster.farm_place import farm_of
    from farm.foreground import Runs

    settings: Settings = context.obj
    here = Runs(settings.state_dir / "runs").get(job)
    if here is not None:
        return nullcontext(lambda: here.show(job, works=here.busy))

    @contextmanager
    def asking() -> Iterator[Callable[[], dict[str, Any]]]:
        with farm_of(farm_folder(settings)) as farm:
            yield lambda: farm.ask("show", job=job)

    return asking()


def jobs(context: typer.Context, as_json: Json = False) -> None:
    """List all jobs of the farm: what they are at, how far, and why they wait.

    - `farm jobs`
    - `farm jobs --json | jq '.[] | select(.state == "failed")'`
    """
    rows = ask(context, "jobs")
    if as_json:
        print(json.dumps(rows))
        return
    if not rows:
        print("no job yet: farm submit FILM -s FACE --detach")
        return
    table = Table(box=None, pad_edge=False)
    grouped = any(row["group"] for row in rows)
    for name in (
        *(("group",) * grouped),
        "job",
        "state",
        "phase",
        "chunks",
        "left",
        "user",
        "output",
    ):
        right = name in ("chunks", "left")
        table.add_column(
            name,
            justify="right" if right else "left",
            overflow="fold",
            no_wrap=name == "job",
        )
    for row in rows:
        left = row["eta_seconds"]
        step = f" of step {row['step']}" if row["steps"] > 1 else ""
        table.add_row(
            *((row["group"],) * grouped),
            row["job"],
            row["error"] or row["state"],
            row["phase"] + step,
            f"{row['chunks_done']}/{row['chunks_total']}",
            "" if left is None or row["state"] in ENDED else duration(left),
            row["user"],
            printable(row["output"]),
        )
    Console().print(table)
    for row in rows:
        if row["waits"]:
            print(f"{row['job']} waits: {printable(row['waits'])}")


def show(context: typer.Context, job: Job, as_json: Json = False) -> None:
    """Show one job: a map of its chunks, attempts, nodes, errors, what is left, what it has cost.

    Of the farm, or one of `farm job run`, whether or not it runs now.

    - `farm show 4f2a` (the end of the name will do)
    """
    with look(context, job) as told:
        facts = told()
    print(json.dumps(facts) if as_json else "\n".join(described(facts)))


def described(facts: dict[str, Any]) -> list[str]:
    """A job in words."""
    left = facts["eta_seconds"]
    lines = [
        f"{facts['job']}  {facts['state']}, {facts['phase']}"
        + (f", {duration(left)} left" if left and facts["state"] not in ENDED else ""),
        f"  {printable(facts['video'])} -> {printable(facts['output'])}",
        f"  user {facts['user']}, priority {facts['priority']}, {facts['running']} chunks under "
        f"way, {facts['retries']} retries, {facts['core_seconds']:.1f} core-seconds",
    ]
    if facts["waits"]:
        lines.append(f"  waits: {printable(facts['waits'])}")
    for step in facts["each_step"]:
        if facts["steps"] > 1:
            lines.append(f"  step {step['step']}, {step['state']} -> {printable(step['output'])}")
        for kind in ("analyse", "render"):
            chunks = [
                chunk
                for chunk in facts["chunks"]
                if (chunk["step"], chunk["kind"]) == (step["step"], kind)
            ]
            if chunks:
                cells = "".join(CELLS[_CELLS[chunk["state"]]][0] for chunk in chunks)
                lines.append(f"  {kind:8} {cells}")
    for chunk in facts["chunks"]:
        if chunk["failures"]:
            lines.append(
                f"  {chunk['kind']} of chunk {chunk['chunk']} (frames {chunk['start']} to "
                f"{chunk['stop'] - 1}) failed {chunk['failures']} times: "
                f"{printable(chunk['error'] or '')}"
            )
    for start, stop in facts["passed"]:
        lines.append(f"  not worked on, for every attempt failed: frames {start} to {stop - 1}")
    failure = facts["failure"]
    if failure:
        lines += [
            f"  error[{failure['code']}]: {printable(failure['found'])}",
            f"    wanted: {printable(failure['wanted'])}",
            f"    next:   {printable(failure['next'])}",
        ]
    return lines


def watch(
    context: typer.Context,
    job: Job,
    every: Annotated[
        float, typer.Option("--every", min=0.2, metavar="SECONDS", help="Between two looks.")
    ] = 1.0,
    as_json: Json = False,
) -> None:
    """Watch a job until it ends; Ctrl-C stops watching, not the job.

    Exits with 0 when it is completed, else with 9. With `--json`: one object a line.
    """
    last = ""
    try:
        with look(context, job) as told:
            while True:
                facts = told()
                text = json.dumps(facts) if as_json else "\n".join(described(facts))
                if text != last:
                    print(text, flush=True)
                last = text
                if facts["state"] in ENDED:
                    break
                time.sleep(every)
    except KeyboardInterrupt as interrupt:
        raise Cancelled(
            "watching ended; the job goes on", "time to finish", f"`farm watch {job}` again"
        ) from interrupt
    if facts["state"] != "completed":
        raise typer.Exit(9)


def logs(
    context: typer.Context,
    job: Job,
    chunk: Annotated[
        int | None,
        typer.Option("--chunk", min=0, metavar="N", show_default=False, help="Of this chunk only."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print what happened to a job, or to one chunk of it, line by line.

    - `farm logs 4f2a --chunk 3`
    """
    from farm.foreground import Runs

    settings: Settings = context.obj
    here = Runs(settings.state_dir / "runs").get(job)
    lines = here.shelf.read_log(job, chunk) if here else ask(context, "logs", job=job, chunk=chunk)
    for line in lines:
        if as_json:
            print(json.dumps(line))
        else:
            code = f" [{line['code']}]" if "code" in line else ""
            print(f"{line['time']}  {line['event']:9} {printable(line['message'])}{code}")


def _rows(name: str, rows: list[dict[str, Any]], as_json: bool) -> None:
    """What became of a job, or, as a list, of the jobs of a group."""
    if as_json:
        group = bool(rows) and rows[0]["group"] == name
        print(json.dumps(rows if group else rows[0]))
        return
    for row in rows:
        print(f"{row['job']}  {row['state']}, {row['phase']}")


def pause(context: typer.Context, job: JobOrGroup, as_json: Json = False) -> None:
    """Begin no more chunks of a job; those under way finish. `farm resume` goes on."""
    _rows(job, ask(context, "order", job=job, what="pause"), as_json)


def resume(context: typer.Context, job: JobOrGroup, as_json: Json = False) -> None:
    """Go on with a job that was paused."""
    _rows(job, ask(context, "order", job=job, what="resume"), as_json)


def cancel(context: typer.Context, job: JobOrGroup, as_json: Json = False) -> None:
    """End a job. What is done is kept until `farm rm`: `farm retry` goes on from there."""
    _rows(job, ask(context, "order", job=job, what="cancel"), as_json)


def retry(context: typer.Context, job: JobOrGroup, as_json: Json = False) -> None:
    """Go on with a job that failed or was cancelled; finished chunks stay finished."""
    _rows(job, ask(context, "order", job=job, what="retry"), as_json)


def requeue(
    context: typer.Context,
    job: Job,
    chunk: Annotated[
        int | None,
        typer.Option("--chunk", min=0, metavar="N", show_default=False, help="This chunk."),
    ] = None,
    frames: Annotated[
        str | None,
        typer.Option(
            "--frames",
            metavar="FIRST-LAST",
            show_default=False,
            help="All chunks that have some of these frames.",
        ),
    ] = None,
    analyse: Annotated[
        bool, typer.Option("--analyse", help="The analysis, too, not only the render.")
    ] = False,
    step: Annotated[
        int, typer.Option("--step", min=0, metavar="N", help="Of a job with several steps, from 0.")
    ] = 0,
    as_json: Json = False,
) -> None:
    """Do a chunk or a range of frames of a job again, and what is made from it.

    - `farm requeue 4f2a --chunk 3`
    - `farm requeue 4f2a --frames 1200-1500 --analyse`
    """
    if (chunk is None) == (frames is None):
        raise SettingInvalid(
            "neither or both of --chunk and --frames", "one of them", "see farm requeue --help"
        )
    kind = "analyse" if analyse else "render"
    if chunk is not None:
        known = ask(context, "show", job=job)["chunks"]
        chunks = [each for each in known if (each["step"], each["kind"]) == (step, kind)]
        found = [each for each in chunks if each["chunk"] == chunk]
        if not found:
            raise SettingInvalid(
                f"--chunk {chunk} where {kind} has {len(chunks)} chunks",
                "the number of a chunk, from 0",
                f"see `farm show {job}`",
            )
        start, stop = found[0]["start"], found[0]["stop"]
    else:
        start, stop = _frames(frames or "")
    facts = {"kind": kind, "start": start, "stop": stop, "step": step}
    _rows(job, ask(context, "requeue", job=job, **facts), as_json)


def _frames(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    if not (first.isascii() and first.isdigit() and last.isascii() and last.isdigit()):
        raise SettingInvalid(f"--frames {text!r}", "two numbers, as in 100-250", "correct it")
    if int(last) < int(first):
        raise SettingInvalid(f"--frames {text!r}", "the smaller number first", "swap them")
    return int(first), int(last) + 1


def priority(
    context: typer.Context,
    job: JobOrGroup,
    value: Annotated[int, typer.Argument(metavar="0..100", min=0, max=100)],
    as_json: Json = False,
) -> None:
    """Change a job's priority: jobs of a higher one go first (50 where nothing is said)."""
    _rows(job, ask(context, "priority", job=job, priority=value), as_json)


def rm(context: typer.Context, job: JobOrGroup, as_json: Json = False) -> None:
    """Forget a job that has ended, with all that is left of it. Its result stays.

    Exits with 9 while the job goes on: `farm cancel` it first.
    """
    gone = ask(context, "rm", job=job)
    if as_json:
        print(json.dumps({"job": job, "gone": gone}))
    elif not gone:
        print(f"{job} goes on, or a lane still gives it up: cancel it first", file=sys.stderr)
    if not gone:
        raise typer.Exit(9)
