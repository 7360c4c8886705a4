"""``farm submit``: put a face on the faces of a film and wait for the result."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cluster.folders import sweep
from farm.cancelling import cancelling
from farm.commands.jobs import ask
from farm.config import Settings, load_settings
from farm.options.catalogue import by_name
from farm.options.faces import FaceSelector
from farm.options.flags import given, with_options
from farm.options.settings import PROOFS
from farm.progress import duration, open_display
from farm.submission import build_job, check_folder
from scheduler.errors import SettingInvalid
from scheduler.jobs import JobSpec, JobSummary
from scheduler.places import uri_of

Profile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="FILE|NAME",
        show_default=False,
        help="Options from a TOML file, or from profiles/NAME.toml beside the settings file.",
    ),
]
"""Which profile; of every command that takes a job's options."""


DETACHED: Final = "On a farm that is up"


class OnError(StrEnum):
    """What becomes of a chunk that cannot be worked on."""

    FAIL = "fail"
    PASSTHROUGH = "passthrough"


def settings_of(context: typer.Context, profile: str | None, flags: Mapping[str, Any]) -> Settings:
    """The settings in force for a command that takes a job's options.

    Raises:
        SettingInvalid: see ``farm.config``.
    """
    config: Path | None = context.find_root().params.get("config")
    return load_settings(config, profile=profile, flags=flags)


@with_options
def submit(
    context: typer.Context,
    video: Annotated[
        Path | None,
        typer.Argument(
            metavar="TARGET",
            help="The film, or a picture: a path, or s3://BUCKET/KEY (docs/storage.md).",
            show_default=False,
        ),
    ] = None,
    source: Annotated[
        list[Path] | None,
        typer.Option(
            "--source",
            "-s",
            "--source-paths",
            metavar="FACE",
            show_default=False,
            help="Picture of the face to put on; repeat it for several pictures of one person. "
            "A frontal, neutral, evenly lit photo gives the best result.",
        ),
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option(
            "--target",
            "-t",
            "--target-path",
            metavar="TARGET",
            show_default=False,
            help="Another way to name the film.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            "--output-path",
            metavar="OUT",
            show_default=False,
            help="The result; its ending names the container or the kind of picture. "
            "[TARGET with .swapped before its ending]",
        ),
    ] = None,
    profile: Profile = None,
    source_face: Annotated[
        int | None,
        typer.Option(
            "--source-face",
            min=1,
            metavar="N",
            show_default=False,
            help="Which face of a source picture with several, counted from the left.",
        ),
    ] = None,
    swap: Annotated[
        list[str] | None,
        typer.Option(
            "--swap",
            metavar="A=FACE",
            show_default=False,
            help="Instead of --source: whose face person A of `farm faces VIDEO` gets. Repeat it "
            "for other people; those without one keep their face.",
            rich_help_panel=FaceSelector.panel,
        ),
    ] = None,
    reference: Annotated[
        list[Path] | None,
        typer.Option(
            "--reference",
            metavar="FACE",
            show_default=False,
            help="Picture of the person in the film whose face is swapped; others keep theirs.",
            rich_help_panel=FaceSelector.panel,
        ),
    ] = None,
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
    record_masks: Annotated[
        Path | None,
        typer.Option(
            "--record-masks",
            metavar="PARQUET",
            show_default=False,
            help="Write which pixels of each frame were touched.",
            rich_help_panel=PROOFS,
        ),
    ] = None,
    frame_hashes: Annotated[
        Path | None,
        typer.Option(
            "--frame-hashes",
            metavar="TSV",
            show_default=False,
            help="Write a hash of each frame as it was handed to the encoder.",
            rich_help_panel=PROOFS,
        ),
    ] = None,
    on_error: Annotated[
        OnError,
        typer.Option(
            "--on-error",
            help="What becomes of a chunk that cannot be worked on after all attempts: the job "
            "fails, or the film's own frames stay there and the summary says which.",
        ),
    ] = OnError.FAIL,
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
    priority: Annotated[
        int,
        typer.Option(
            "--priority",
            min=0,
            max=100,
            metavar="0..100",
            help="With --detach: jobs of a higher one go first.",
            rich_help_panel=DETACHED,
        ),
    ] = 50,
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
    from farm.remote import Remote, bound_for
    from farm.runner import farm_options, lanes_of, rate_book, run_job, survey_job
    from farm.tidying import tidy

    flags = given(options)
    settings = settings_of(context, profile, flags)
    film, remote = one_target(video, target), Remote(settings)
    refuse_remote(film, output, contact_sheet)
    result, destination = remote.result(output)
    job = build_job(
        settings,
        video=remote.here(film),
        sources=[remote.here(picture) for picture in source or ()],
        swaps=[remote.role_here(role) for role in swap or ()],
        references=[remote.here(picture) for picture in reference or ()],
        output=result,
        source_face=source_face,
        masks=record_masks,
        hashes=frame_hashes,
        on_error=on_error.value,
    )
    job = bound_for(job, destination)
    check_flags(flags, job)
    if contact_sheet:
        check_sheet_path(contact_sheet)
        check_folder(contact_sheet.absolute())
    if detach:
        give_away(context, job, settings, key=key, priority=priority, as_json=as_json)
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


def give_away(
    context: typer.Context,
    job: JobSpec,
    settings: Settings,
    *,
    key: str,
    priority: int,
    as_json: bool,
) -> None:
    """Give a job to the farm that is up.

    Raises:
        NoFarm: none is up.
        SwapfarmError: what of the job it cannot take.
    """
    from actors.models import ModelStore
    from cluster.job_shelf import Entry, utc_now
    from cluster.preparation import settled

    entry = Entry(
        spec=settled(job, ModelStore(settings.cache_dir)),
        user=getpass.getuser(),
        priority=priority,
        key=key,
        submitted=utc_now(),
    )
    name = ask(context, "submit", entry=entry)
    if as_json:
        print(json.dumps({"job": name, "output": job.goal, "new": name == job.job_id}))
        return
    print(name)
    print(f"  next: farm watch {name}")


def one_target(video: Path | None, target: Path | None) -> Path:
    """The film, named in one of two ways.

    Raises:
        SettingInvalid: in none or in both.
    """
    if video is not None and target is not None:
        raise SettingInvalid(
            f"two targets: {video} and --target {target}", "one film or picture", "leave one out"
        )
    found = video or target
    if found is None:
        raise SettingInvalid(
            "no TARGET: which film?", "farm submit TARGET --source FACE", "see farm submit --help"
        )
    return found


def refuse_remote(target: Path, output: Path | None, contact_sheet: Path | None) -> None:
    """Refuse what does not go with a film or a result in an object store.

    Raises:
        SettingInvalid: no name for the result, or a sheet of one that does not stay here.
    """
    if output is None and uri_of(str(target)):
        raise SettingInvalid(
            "a TARGET in an object store and no -o", "a name for the result", "add -o OUT"
        )
    if contact_sheet and output is not None and uri_of(str(output)):
        raise SettingInvalid(
            "--contact-sheet with a result in an object store",
            "a result on this machine",
            "leave one of them out",
        )


def check_flags(flags: Mapping[str, Any], job: JobSpec) -> None:
    """Refuse what the command line names though it decides nothing for this job.

    Raises:
        SettingInvalid: an order where all faces are swapped, or how to find nobody in particular.
    """
    if "order" in flags.get("face_selector", {}) and job.faces.mode == "many":
        raise SettingInvalid(
            "--face-order with --faces many",
            "--faces one: of many, the order decides nothing",
            "add --faces one, or leave the order out",
        )
    named = sorted(flags.get("reference", {}))
    if named and job.faces.mode != "reference":
        flag = by_name()[f"reference.{named[0]}"].flag
        assert flag is not None
        raise SettingInvalid(
            f"{flag.names[0]} without a reference",
            "a person to look for",
            "add --reference FACE, or --reference-frame-number N",
        )


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
