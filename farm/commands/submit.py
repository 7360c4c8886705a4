"""``farm submit``: put a face on the faces of a film and wait for the result."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from cluster.folders import sweep
from farm.cancelling import cancelling
from farm.commands.giving import DETACHED, Priority, give
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
from farm.options.flags import given, with_options
from farm.options.settings import PROOFS
from farm.progress import duration, open_display
from farm.submission import check_folder
from scheduler.jobs import JobSpec, JobSummary


@with_options
def submit(
    context: typer.Context,
    video: Film = None,
    source: Sources = None,
    target: Target = None,
    output: Output = None,
    profile: Profile = None,
    source_face: SourceFace = None,
    swap: Swaps = None,
    reference: References = None,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan",
            help="Only say what there is to do and how long it would take. Looks at the film (and "
            "keeps what it saw for the submit), renders nothing.",
        ),
    ] = False,
    contact_sheet: Annotated[
        Path | None,
        typer.Option(
            "--contact-sheet",
            metavar="PNG",
            show_default=False,
            help="Also draw before and after, side by side.",
            rich_help_panel=PROOFS,
        ),
    ] = None,
    record_masks: Masks = None,
    frame_hashes: Hashes = None,
    on_error: WhenItFails = OnError.FAIL,
    detach: Annotated[
        bool,
        typer.Option(
            "--detach",
            help="Give the job to the farm that is up (`farm up`) and do not wait for it; see "
            "`farm jobs`, `farm watch JOB`.",
            rich_help_panel=DETACHED,
        ),
    ] = False,
    key: Annotated[
        str,
        typer.Option(
            "--key",
            metavar="KEY",
            show_default=False,
            help="With --detach: the same key is the same job, however often it is submitted.",
            rich_help_panel=DETACHED,
        ),
    ] = "",
    priority: Priority = 50,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON event a line on stdout (docs/events.md).")
    ] = False,
    **options: Any,
) -> None:
    """Put a face on the faces of a film or a picture and wait for the result.

    Every face of the film gets the face of --source, unless you say which. Every frame keeps its
    time, every other stream (sound, subtitles, chapters) is copied as it is, and OUT appears only
    when it is whole. Ctrl-C cancels and leaves nothing behind.

    - `farm submit film.mp4 --source face.jpg`
    - `farm submit film.mkv -s front.jpg -s side.jpg -o out.mkv --encoder libx265`
    - `farm submit film.mp4 --swap A=alice.jpg --swap B=bob.jpg` (letters: `farm faces film.mp4`)
    - `farm submit photo.jpg -s face.jpg -o out.png`
    - `farm submit film.mp4 -s face.jpg --trim-frame-start 100 --trim-frame-end 200`
    - `farm submit -s face.jpg -t film.mp4 -o out.mp4 --face-mask-types box occlusion`
    - `farm submit film.mp4 -s face.jpg --json | jq .event`
    - `farm submit s3://bucket/film.mp4 -s s3://bucket/face.jpg -o s3://bucket/out.mp4`
    - `farm submit film.mp4 -s face.jpg --detach --key monday` (after `farm up`)

    What you always want goes into a settings file or a profile (`farm config init`,
    docs/settings.md). Where FaceFusion's options went: docs/from-facefusion.md.
    """
    # Ray, OpenCV and the runtimes load for half a second: not for `farm --help` and completion.
    from farm.contact_sheet import check_sheet_path, write_contact_sheet
    from farm.plan import plan_facts, plan_lines
    from farm.runner import farm_options, lanes_of, rate_book, run_job, survey_job
    from farm.tidying import tidy

    flags = given(options)
    settings = settings_of(context, profile, flags)
    film = one_target(video, target)
    refuse_remote(film, output, contact_sheet)
    job = ordered(
        settings,
        flags,
        film=film,
        sources=source or (),
        swaps=swap or (),
        references=reference or (),
        output=output,
        source_face=source_face,
        masks=record_masks,
        hashes=frame_hashes,
        on_error=on_error,
    )
    if contact_sheet:
        check_sheet_path(contact_sheet)
        check_folder(contact_sheet.absolute())
    if detach:
        name = give(context, settings, (job,), key=key, priority=priority)
        if as_json:
            print(json.dumps({"job": name, "output": job.goal, "new": name == job.job_id}))
        else:
            print(f"{name}\n  next: farm watch {name}")
        return
    farm = farm_options(settings)
    display = open_display(as_json, sys.stdout, sys.stderr, job.job_id)
    try:
        with cancelling():
            for name in sweep(Path(job.folder).parent):
                display.event("swept", f"removed what job {name} left when it was killed")
            if gone := tidy(settings):
                days = f"{settings.keep_days:g} days"
                display.event("swept", f"removed {len(gone)} things that nobody used for {days}")
            if plan:
                survey = survey_job(job, settings, farm, display)
                facts = plan_facts(job, survey, rate_book(settings), lanes_of(farm))
                display.event("plan", **facts)
                if not as_json:
                    print("\n".join(plan_lines(facts)))
                return
            display.event("submitted", video=job.media, output=job.goal)
            summary = run_job(job, settings, farm, display)
            if contact_sheet:
                sheet = contact_sheet.absolute()
                write_contact_sheet(Path(job.media), Path(job.output), sheet, cut=job.cut)
            display.event("done", **asdict(summary), fps=summary.fps)
    finally:
        display.close()
    if not as_json:
        print("\n".join(_describe(summary, job)))
        if contact_sheet:
            print(f"  before and after: {contact_sheet}")


def _describe(summary: JobSummary, job: JobSpec) -> list[str]:
    """The summary in words, the result's path first."""
    lines = [
        summary.output,
        f"  {summary.frames} frames in {duration(summary.seconds)} ({summary.fps:.1f} fps), "
        f"{summary.chunks} chunks, {summary.retries} retries",
    ]
    if summary.faces:
        lines.append(
            f"  swapped in {summary.swapped_frames} frames ({summary.tracks} tracks); "
            f"no face in {summary.frames - summary.frames_with_faces}"
        )
    else:
        kind = "picture" if job.still else "film"
        lines.append(f"  no face was found: this is the {kind} as it was, encoded anew")
    if summary.passed:
        frames = ", ".join(f"{start} to {stop - 1}" for start, stop in summary.passed)
        lines.append(f"  not worked on, for every attempt failed: frames {frames}")
    if job.report and summary.faces:
        lines.append(f"  how good is it? farm report {summary.output}")
    how = "" if job.still else f", encoder {job.encoder.codec}"
    lines.append(f"  marked as altered: swapper {job.swap.model}{how}")
    return lines
