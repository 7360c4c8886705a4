"""What a command that orders a film takes beside the settings, and the job that follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from farm.config import Settings, load_settings
from farm.options.catalogue import by_name
from farm.options.faces import FaceSelector
from farm.options.settings import PROOFS
from farm.submission import build_job
from scheduler.errors import SettingInvalid
from scheduler.jobs import JobSpec
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


class OnError(StrEnum):
    """What becomes of a chunk that cannot be worked on."""

    FAIL = "fail"
    PASSTHROUGH = "passthrough"


Film = Annotated[
    Path | None,
    typer.Argument(
        metavar="TARGET",
        help="The film, or a picture: a path, or s3://BUCKET/KEY (docs/storage.md).",
        show_default=False,
    ),
]
Sources = Annotated[
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
]
Target = Annotated[
    Path | None,
    typer.Option(
        "--target",
        "-t",
        "--target-path",
        metavar="TARGET",
        show_default=False,
        help="Another way to name the film.",
    ),
]
Output = Annotated[
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
]
SourceFace = Annotated[
    int | None,
    typer.Option(
        "--source-face",
        min=1,
        metavar="N",
        show_default=False,
        help="Which face of a source picture with several, counted from the left.",
    ),
]
Swaps = Annotated[
    list[str] | None,
    typer.Option(
        "--swap",
        metavar="A=FACE",
        show_default=False,
        help="Instead of --source: whose face person A of `farm faces VIDEO` gets. Repeat it "
        "for other people; those without one keep their face.",
        rich_help_panel=FaceSelector.panel,
    ),
]
References = Annotated[
    list[Path] | None,
    typer.Option(
        "--reference",
        metavar="FACE",
        show_default=False,
        help="Picture of the person in the film whose face is swapped; others keep theirs.",
        rich_help_panel=FaceSelector.panel,
    ),
]
Masks = Annotated[
    Path | None,
    typer.Option(
        "--record-masks",
        metavar="PARQUET",
        show_default=False,
        help="Write which pixels of each frame were touched.",
        rich_help_panel=PROOFS,
    ),
]
Hashes = Annotated[
    Path | None,
    typer.Option(
        "--frame-hashes",
        metavar="TSV",
        show_default=False,
        help="Write a hash of each frame as it was handed to the encoder.",
        rich_help_panel=PROOFS,
    ),
]
WhenItFails = Annotated[
    OnError,
    typer.Option(
        "--on-error",
        help="What becomes of a chunk that cannot be worked on after all attempts: the job "
        "fails, or the film's own frames stay there and the summary says which.",
    ),
]


def settings_of(context: typer.Context, profile: str | None, flags: Mapping[str, Any]) -> Settings:
    """The settings in force for a command that takes a job's options.

    Raises:
        SettingInvalid: see ``farm.config``.
    """
    config: Path | None = context.find_root().params.get("config")
    return load_settings(config, profile=profile, flags=flags)


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


def ordered(
    settings: Settings,
    flags: Mapping[str, Any],
    *,
    film: Path,
    sources: Sequence[Path],
    swaps: Sequence[str],
    references: Sequence[Path],
    output: Path | None,
    source_face: int | None,
    masks: Path | None,
    hashes: Path | None,
    on_error: OnError,
) -> JobSpec:
    """The job of one film; what is in an object store is fetched.

    Raises:
        SwapfarmError: what is wrong with it.
    """
    from farm.remote import Remote, bound_for  # loads the store's client: not for `farm --help`

    remote = Remote(settings)
    result, destination = remote.result(output)
    job = build_job(
        settings,
        video=remote.here(film),
        sources=[remote.here(picture) for picture in sources],
        swaps=[remote.role_here(role) for role in swaps],
        references=[remote.here(picture) for picture in references],
        output=result,
        source_face=source_face,
        masks=masks,
        hashes=hashes,
        on_error=on_error.value,
    )
    job = bound_for(job, destination)
    check_flags(flags, job)
    return job
