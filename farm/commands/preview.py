"""``farm preview``: watch what is rendered of a job before it is done."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from farm.commands.jobs import Job, Json
from farm.commands.service import farm_folder
from farm.config import Settings
from farm.progress import duration, printable
from scheduler.errors import JobUnknown


def preview(
    context: typer.Context,
    job: Job,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            show_default=False,
            help="The preview; its ending names the container. [the result with .preview before "
            "its ending, replaced each time]",
        ),
    ] = None,
    step: Annotated[
        int | None,
        typer.Option(
            "--step",
            min=0,
            metavar="N",
            show_default=False,
            help="Of a job with several steps, from 0. [the one that it is at]",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace OUT if it is there.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a playable film of what is rendered of a job without a gap from its start.

    While it runs, while it is paused, and after it failed or was cancelled; of a step that is done
    it names the result. Sound and the other streams are cut to the same length. The farm need not
    be up.

    - `farm preview 4f2a`, then play film.swapped.preview.mp4
    """
    from actors.models import ModelStore
    from actors.muxer import FORMATS
    from cluster.farm_disk import FarmDisk
    from cluster.preparation import credential
    from cluster.previews import preview as join_what_is_done
    from farm.foreground import Runs
    from farm.runner import premises
    from farm.submission import absolute, check_output

    settings: Settings = context.obj
    disk = FarmDisk(farm_folder(settings))
    here = Runs(settings.state_dir / "runs").get(job)
    if here is not None:
        disk = here
    elif not disk.there:
        raise JobUnknown(
            f"no job is called {job!r}",
            "a job of a farm, or one of `farm job run`",
            "see them with `farm job list`; a job that waits in the foreground has no preview",
        )
    target = absolute(output) if output else None
    if target is not None:
        check_output(target, [], tuple(FORMATS), overwrite=overwrite)
    store, signer = ModelStore(settings.cache_dir), credential(premises(settings))
    found = join_what_is_done(disk, job, step, target, store, signer)
    if as_json:
        print(json.dumps(asdict(found)))
        return
    print(printable(found.output))
    if found.complete:
        print(f"  this is the result itself: {found.frames} frames")
        return
    print(
        f"  frames 0 to {found.frames - 1} of {found.frames_total}, {duration(found.seconds)}; "
        "later ones are not rendered yet"
    )
