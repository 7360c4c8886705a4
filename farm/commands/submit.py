"""``farm submit``: put a face on the faces of a film and wait for the result."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer

from cluster.folders import sweep
from farm.cancelling import cancelling
from farm.config import Settings
from farm.progress import duration, open_display
from farm.submission import (
    build_job,
    check_folder,
    encoder_settings,
    face_choice,
    stabilize_settings,
)
from scheduler.jobs import JobSpec, JobSummary

WHERE: Final = "Where it runs"
WHO: Final = "Whose face"
HOW: Final = "How it is encoded"
PROOFS: Final = "Proofs and inspection"


def submit(
    context: typer.Context,
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="The film.", show_default=False)],
    source: Annotated[
        list[Path] | None,
        typer.Option(
            "--source",
            "-s",
            metavar="FACE",
            show_default=False,
            help="Picture of the face to put on; repeat it for several pictures of one person. "
            "A frontal, neutral, evenly lit photo gives the best result.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            show_default=False,
            help="The result; its ending names the container. [VIDEO.swapped.mp4 beside VIDEO]",
        ),
    ] = None,
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
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace OUT when it is there already.")
    ] = False,
    swap: Annotated[
        list[str] | None,
        typer.Option(
            "--swap",
            metavar="A=FACE",
            show_default=False,
            help="Instead of --source: whose face person A of `farm faces VIDEO` gets. Repeat it "
            "for other people; those without one keep their face.",
            rich_help_panel=WHO,
        ),
    ] = None,
    faces: Annotated[
        str | None,
        typer.Option(
            "--faces",
            metavar="WHICH",
            show_default=False,
            help="many: all faces; one: the first of each frame by --face-order; reference: those "
            "of the person in --reference. [many]",
            rich_help_panel=WHO,
        ),
    ] = None,
    face_order: Annotated[
        str | None,
        typer.Option(
            "--face-order",
            metavar="ORDER",
            show_default=False,
            help="For --faces one: left-right, right-left, top-bottom, bottom-top, small-large, "
            "large-small, best-worst or worst-best. [large-small]",
            rich_help_panel=WHO,
        ),
    ] = None,
    reference: Annotated[
        list[Path] | None,
        typer.Option(
            "--reference",
            metavar="FACE",
            show_default=False,
            help="Picture of the person in the film whose face is swapped; others keep theirs.",
            rich_help_panel=WHO,
        ),
    ] = None,
    reference_distance: Annotated[
        float | None,
        typer.Option(
            "--reference-distance",
            min=0.0,
            max=2.0,
            metavar="D",
            show_default=False,
            help="How far a person may be from --reference: 0 is the same picture, above 0.6 "
            "mostly somebody else. [0.6]",
            rich_help_panel=WHO,
        ),
    ] = None,
    swapper: Annotated[
        str, typer.Option("--swapper", metavar="NAME", help="What swaps the faces: mesh.")
    ] = "mesh",
    crop_size: Annotated[
        int,
        typer.Option(
            "--crop-size",
            min=0,
            max=1024,
            metavar="PX",
            help="Side of the aligned crop; 0 fits it to the film's faces.",
        ),
    ] = 0,
    occlusion: Annotated[
        bool,
        typer.Option(
            "--occlusion/--no-occlusion",
            help="Keep hands before a face in front of it (docs/occlusion.md).",
        ),
    ] = True,
    detect_every: Annotated[
        int | None,
        typer.Option(
            "--detect-every",
            metavar="N",
            show_default=False,
            help="Look for new faces at every Nth frame (and at cuts) and track them between. "
            "1 looks at every frame: slower, and no steadier. [6]",
        ),
    ] = None,
    objects: Annotated[
        bool,
        typer.Option(
            "--objects/--no-objects",
            help="Keep coloured things before a face in front of it (docs/occlusion.md).",
        ),
    ] = True,
    no_smooth: Annotated[
        bool,
        typer.Option(
            "--no-smooth",
            help="Take faces where each frame shows them: no smoothing over neighbouring frames.",
        ),
    ] = False,
    stabilize: Annotated[
        str | None,
        typer.Option(
            "--stabilize",
            metavar="FILTERS",
            show_default=False,
            help="Which filters keep the swapped face steady, of colour, flow, guard, snap, seam. "
            "[flow,guard,seam]",
        ),
    ] = None,
    no_stabilize: Annotated[
        bool, typer.Option("--no-stabilize", help="None of them: each frame for itself.")
    ] = False,
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder",
            metavar="CODEC",
            show_default=False,
            help="libx264, libx265, libsvtav1 or ffv1 (lossless). [libx264]",
            rich_help_panel=HOW,
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            metavar="WORD",
            show_default=False,
            help="The codec's own word for speed, as in `veryfast` or `8`.",
            rich_help_panel=HOW,
        ),
    ] = None,
    quality: Annotated[
        int | None,
        typer.Option(
            "--quality",
            "-q",
            metavar="CRF",
            show_default=False,
            help="Constant rate factor on the codec's scale; lower is better. [libx264: 18]",
            rich_help_panel=HOW,
        ),
    ] = None,
    pix_fmt: Annotated[
        str,
        typer.Option(
            "--pix-fmt",
            metavar="NAME",
            show_default=False,
            help="Pixel format of the result, as in yuv420p10le. [the film's own]",
            rich_help_panel=HOW,
        ),
    ] = "",
    chunk_seconds: Annotated[
        float | None,
        typer.Option(
            "--chunk-seconds",
            min=0.1,
            metavar="S",
            show_default=False,
            help="Length of a chunk, the unit of retry. Without filters it never changes a frame; "
            "with them, near borders away from cuts, by 1/255 at most (99.9 % of face pixels). [8]",
            rich_help_panel=WHERE,
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="HOST:PORT",
            show_default=False,
            help="Join this Ray cluster. [RAY_ADDRESS, else a private Ray on this machine]",
            rich_help_panel=WHERE,
        ),
    ] = None,
    no_ray: Annotated[
        bool,
        typer.Option(
            "--no-ray", help="One process, no Ray: for a look inside.", rich_help_panel=WHERE
        ),
    ] = False,
    lanes: Annotated[
        int | None,
        typer.Option(
            "--lanes",
            min=1,
            metavar="N",
            show_default=False,
            help="Chunks worked on at once. Never changes a frame. [by cores]",
            rich_help_panel=WHERE,
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes",
            min=1,
            max=5,
            metavar="N",
            show_default=False,
            help="Processes that a lane's five stages share. Never changes a frame. [by cores]",
            rich_help_panel=WHERE,
        ),
    ] = None,
    work_dir: Annotated[
        Path | None,
        typer.Option(
            "--work-dir",
            metavar="DIR",
            show_default=False,
            help="Where segments wait to be joined; every node must reach it. [state folder]",
            rich_help_panel=WHERE,
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
    keep: Annotated[
        bool,
        typer.Option(
            "--keep", help="Keep the job's folder when it is done.", rich_help_panel=PROOFS
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
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON event a line on stdout (docs/events.md).")
    ] = False,
) -> None:
    """Put a face on the faces of a film and wait for the result.

    Every face of the film gets the face of --source, unless you say which. Every frame keeps its
    time, every other stream (sound, subtitles, chapters) is copied as it is, and OUT appears only
    when it is whole. Ctrl-C cancels and leaves nothing behind.

    - `farm submit film.mp4 --source face.jpg`
    - `farm submit film.mkv -s front.jpg -s side.jpg -o out.mkv --encoder libx265`
    - `farm submit film.mp4 --swap A=alice.jpg --swap B=bob.jpg` (letters: `farm faces film.mp4`)
    - `farm submit film.mp4 -s face.jpg --json | jq .event`
    """
    # Ray, OpenCV and the runtimes load for half a second: not for `farm --help` and completion.
    from farm.contact_sheet import check_sheet_path, write_contact_sheet
    from farm.plan import plan_facts, plan_lines
    from farm.runner import FarmOptions, lanes_of, rate_book, run_job, survey_job

    settings: Settings = context.obj
    job = build_job(
        settings,
        video=video,
        sources=source or (),
        swaps=swap or (),
        faces=face_choice(
            faces=faces,
            order=face_order,
            references=reference or (),
            distance=reference_distance,
        ),
        output=output,
        encoder=encoder_settings(
            settings, codec=encoder, preset=preset, quality=quality, pix_fmt=pix_fmt
        ),
        stabilize=stabilize_settings(stabilize, off=no_stabilize),
        swapper=swapper,
        source_face=source_face,
        crop_size=crop_size,
        occlusion=occlusion,
        detect_every=detect_every,
        objects=objects,
        chunk_seconds=chunk_seconds,
        smooth=not no_smooth,
        overwrite=overwrite,
        work_dir=work_dir,
        masks=record_masks,
        hashes=frame_hashes,
    )
    if contact_sheet:
        check_sheet_path(contact_sheet)
        check_folder(contact_sheet.absolute())
    options = FarmOptions(
        address=address,
        ray=not no_ray,
        lanes=lanes or settings.lanes,
        processes=processes or settings.lane.processes,
        keep=keep,
    )
    display = open_display(as_json, sys.stdout, sys.stderr, job.job_id)
    try:
        with cancelling():
            for name in sweep(Path(job.folder).parent):
                display.event("swept", f"removed what job {name} left when it was killed")
            if plan:
                survey = survey_job(job, settings, options, display)
                facts = plan_facts(job, survey, rate_book(settings), lanes_of(options))
                display.event("plan", **facts)
                if not as_json:
                    print("\n".join(plan_lines(facts)))
                return
            display.event("submitted", video=job.media, output=job.output)
            summary = run_job(job, settings, options, display)
            if contact_sheet:
                write_contact_sheet(Path(job.media), Path(job.output), contact_sheet.absolute())
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
        lines.append("  no face was found: this is the film as it was, encoded anew")
    if job.report and summary.faces:
        lines.append(f"  how good is it? farm report {summary.output}")
    lines.append(f"  marked as altered: swapper {job.swap.model}, encoder {job.encoder.codec}")
    return lines
