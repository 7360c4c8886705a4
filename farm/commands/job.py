"""``farm job``: jobs of several steps, put together, then run here or given to the farm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from farm.commands.giving import Priority
from farm.commands.job_running import ended, run_all, run_one, submit_one
from farm.commands.order import (
    Film,
    Hashes,
    Masks,
    OnError,
    Output,
    Profile,
    References,
    SourceFace,
    Sources,
    Swaps,
    Target,
    WhenItFails,
    one_target,
    ordered,
    refuse_remote,
    settings_of,
)
from farm.commands.service import farm_folder
from farm.config import Settings
from farm.options.flags import (
    MINUS,
    given,
    with_parameters_of,
    with_run_options,
    with_step_options,
)
from farm.progress import printable
from scheduler.errors import JobBusy, SettingInvalid

Name = Annotated[str, typer.Argument(metavar="JOB", help="The job's name.")]


def _index(text: str) -> int:
    try:
        return int(text.replace(MINUS, "-"))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no number") from error


Index = Annotated[
    int,
    typer.Argument(
        metavar="INDEX",
        parser=_index,
        help="Number of a step, from 0; from the end: -1 is the last one.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
Halt = Annotated[
    bool, typer.Option("--halt-on-error", help="Stop at the first job that fails. [go on]")
]

app = typer.Typer(
    help="Jobs of several steps: put together, then run here or on the farm.", no_args_is_help=True
)


def homes(context: typer.Context) -> Any:
    """Where jobs are."""
    from farm.job_homes import JobHomes

    settings: Settings = context.obj
    return JobHomes(settings, farm_folder(settings))


def running(context: typer.Context, options: dict[str, Any]) -> Settings:
    """The settings in force for whoever runs a job."""
    return settings_of(context, None, given(options))


def show_row(row: dict[str, Any] | None, name: str, as_json: bool) -> None:
    """A job in a line, or as JSON."""
    assert row is not None, name
    if as_json:
        print(json.dumps(row))
        return
    print(f"{row['job']}  {row['state']}, {len(row['steps'])} steps")
    for step in row["steps"]:
        print(f"  {step['step']}: {printable(step['video'])} -> {printable(step['output'])}")


@app.command("create")
def create(context: typer.Context, job: Name, as_json: Json = False) -> None:
    """Begin a job of several steps. A draft of this name that is there stays as it is.

    - `farm job create monday`, then `farm job add-step monday film.mp4 -s face.jpg -o one.mp4`
    """
    from cluster.job_shelf import utc_now
    from farm.drafts import Draft

    known = homes(context)
    with known.drafts.editing():
        if known.where(job):
            known.editable(job)
        else:
            known.drafts.put(Draft(name=job, created=utc_now()))
    show_row(known.row(job), job, as_json)


def _every_step(
    source: Sources = None,
    output: Output = None,
    profile: Profile = None,
    source_face: SourceFace = None,
    swap: Swaps = None,
    reference: References = None,
    record_masks: Masks = None,
    frame_hashes: Hashes = None,
    on_error: WhenItFails = OnError.FAIL,
    as_json: Json = False,
) -> None:
    """What can be said of a step, beside its film and its place."""


def _put(
    context: typer.Context,
    job: str,
    said: dict[str, Any],
    *,
    index: int | None = None,
    remix: int | None = None,
    video: Path | None = None,
    target: Path | None = None,
) -> None:
    """Put a step into a draft.

    Args:
        said: what the user said: the parameters of `_every_step`, and options.
        index: before this step; None: behind the last.
        remix: the step whose result is the film.
    """
    from farm.drafts import DraftStep

    flags = given(said)
    settings = settings_of(context, said["profile"], flags)
    known = homes(context)
    with known.drafts.editing():
        draft = known.editable(job)
        film = one_target(video, target) if remix is None else draft.output(remix)
        refuse_remote(film, said["output"], None)
        spec = ordered(
            settings,
            flags,
            film=film,
            sources=said["source"] or (),
            swaps=said["swap"] or (),
            references=said["reference"] or (),
            output=said["output"],
            source_face=said["source_face"],
            masks=said["record_masks"],
            hashes=said["frame_hashes"],
            on_error=said["on_error"],
        )
        step = DraftStep(spec=spec, overwrite=settings.overwrite)
        at = len(draft.steps) if index is None else index
        known.drafts.put(draft.inserted(at, step))
    show_row(known.row(job), job, said["as_json"])


@app.command("add-step")
@with_step_options
@with_parameters_of(_every_step)
def add_step(
    context: typer.Context, job: Name, video: Film = None, target: Target = None, **said: Any
) -> None:
    """Add a step to a job. It takes the options of `farm submit` that say what is made, with
    the settings of now; where and under which rules it is made, `farm job run` says.

    - `farm job add-step monday film.mp4 -s face.jpg -o one.mp4`
    """
    _put(context, job, said, video=video, target=target)


@app.command("remix-step")
@with_step_options
@with_parameters_of(_every_step)
def remix_step(context: typer.Context, job: Name, index: Index, **said: Any) -> None:
    """Add a step whose film is the result of step INDEX.

    - `farm job remix-step monday -1 -s other.jpg --faces one -o two.mp4`
    """
    _put(context, job, said, remix=index)


@app.command("insert-step")
@with_step_options
@with_parameters_of(_every_step)
def insert_step(
    context: typer.Context,
    job: Name,
    index: Index,
    video: Film = None,
    target: Target = None,
    **said: Any,
) -> None:
    """Put a step before step INDEX.

    - `farm job insert-step monday 0 film.mp4 -s face.jpg -o zero.mp4`
    """
    _put(context, job, said, index=index, video=video, target=target)


@app.command("remove-step")
def remove_step(context: typer.Context, job: Name, index: Index, as_json: Json = False) -> None:
    """Take step INDEX out of a job."""
    known = homes(context)
    with known.drafts.editing():
        known.drafts.put(known.editable(job).without(index))
    show_row(known.row(job), job, as_json)


@app.command("list")
def list_(
    context: typer.Context,
    state: Annotated[
        str | None,
        typer.Argument(
            metavar="STATE",
            show_default=False,
            help="Only these: drafted, queued, running, paused, completed, failed or cancelled.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """List all jobs: drafts, those that were run here, and the farm's, whether or not it is up.

    - `farm job list failed`
    """
    from farm.job_homes import DRAFTED
    from scheduler.instructions import JobState

    states = (DRAFTED, *(each.value for each in JobState))
    if state is not None and state not in states:
        raise SettingInvalid(f"state {state!r}", "one of " + ", ".join(states), "correct it")
    rows = [row for row in homes(context).rows() if state in (None, row["state"])]
    if as_json:
        print(json.dumps(rows))
        return
    for row in rows:
        why = f" [{row['error']}]" if row["error"] else ""
        print(f"{row['job']}  {row['state']}{why}, {len(row['steps'])} steps, {row['where']}")
    if not rows:
        print("no job" + (f" that is {state}" if state else " yet: farm job create NAME"))


@app.command("submit")
def submit(
    context: typer.Context, job: Name, priority: Priority = 50, as_json: Json = False
) -> None:
    """Give a job to the farm that is up (`farm up`). The second time changes nothing."""
    known = homes(context)
    submit_one(context, known, job, priority)
    show_row(known.row(job), job, as_json)


@app.command("submit-all")
def submit_all(
    context: typer.Context,
    priority: Priority = 50,
    halt_on_error: Halt = False,
    as_json: Json = False,
) -> None:
    """Give all drafts that have a step to the farm."""
    known = homes(context)
    names = [draft.name for draft in known.drafts.all() if draft.steps]
    run_all(
        known,
        names,
        lambda name: submit_one(context, known, name, priority),
        halt=halt_on_error,
        as_json=as_json,
    )


@app.command("run")
@with_run_options
def run(context: typer.Context, job: Name, as_json: Json = False, **options: Any) -> None:
    """Run a job here and wait for it. No `farm up` is needed.

    Step goes after step; the first that fails ends the job. Ctrl-C cancels it. `farm job retry`
    goes on where it ended; after a crash `farm job run` does.
    """
    run_one(context, running(context, options), homes(context), job, as_json, retry=False)


@app.command("run-all")
@with_run_options
def run_everything(
    context: typer.Context, halt_on_error: Halt = False, as_json: Json = False, **options: Any
) -> None:
    """Run all drafts that have a step, and what a crash interrupted, one after the other."""
    settings = running(context, options)
    known = homes(context)
    names = [
        row["job"]
        for row in known.rows()
        if (row["where"] == "draft" and row["steps"])
        or (row["where"] == "here" and row["state"] == "queued")
    ]
    run_all(
        known,
        names,
        lambda name: run_one(context, settings, known, name, as_json, retry=False),
        halt=halt_on_error,
        as_json=as_json,
    )


@app.command("retry")
@with_run_options
def retry(context: typer.Context, job: Name, as_json: Json = False, **options: Any) -> None:
    """Go on with a job that failed or was cancelled; what is finished stays finished.

    One that was run here is run here again; one of the farm's goes on there.
    """
    run_one(context, running(context, options), homes(context), job, as_json, retry=True)


@app.command("retry-all")
@with_run_options
def retry_all(
    context: typer.Context, halt_on_error: Halt = False, as_json: Json = False, **options: Any
) -> None:
    """Go on with all jobs that failed."""
    settings = running(context, options)
    known = homes(context)
    names = [row["job"] for row in known.rows() if row["state"] == "failed"]
    run_all(
        known,
        names,
        lambda name: run_one(context, settings, known, name, as_json, retry=True),
        halt=halt_on_error,
        as_json=as_json,
    )


@app.command("delete")
def delete(context: typer.Context, job: Name, as_json: Json = False) -> None:
    """Forget a job with all that is left of it. Results stay. One that is gone is gone."""
    _delete(context, homes(context), job)
    print(json.dumps({"job": job, "gone": True}) if as_json else f"{job} is gone")


@app.command("delete-all")
def delete_all(context: typer.Context, halt_on_error: Halt = False, as_json: Json = False) -> None:
    """Forget all jobs that nobody works on: drafts, and those that have ended."""
    known = homes(context)
    names = [row["job"] for row in known.rows() if row["where"] == "draft" or ended(row)]
    run_all(
        known,
        names,
        lambda name: _delete(context, known, name),
        halt=halt_on_error,
        as_json=as_json,
    )


def _delete(context: typer.Context, known: Any, name: str) -> None:
    where = known.where(name)
    gone = True
    if where == "farm":
        from farm.commands.jobs import ask

        gone = ask(context, "rm", job=name)
    elif where == "here":
        gone = known.runs.remove(name)
    if not gone:
        raise JobBusy(
            f"job {name!r} goes on", "a job that has ended", f"cancel it first: farm cancel {name}"
        )
    known.drafts.remove(name)
