"""From what a person typed to a job: paths made absolute, defaults filled in, nonsense refused."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from actors.muxer import FORMATS
from farm.config import Settings
from farm.specs import (
    analyse_settings,
    cut_settings,
    encoder_settings,
    face_choice,
    image_settings,
    is_still,
    recognizer,
    sound_settings,
    stabilize_settings,
    swap_settings,
)
from scheduler.errors import ConsentMissing, OutputInvalid, SettingInvalid, StorageUnwritable
from scheduler.jobs import EncoderSettings, JobSpec, Role
from scheduler.output import STILLS, CutSettings

CONTAINERS: Final = tuple(FORMATS)
HOLDS: Final = {
    "ffv1": (".mp4", ".mkv"),
    "libvpx-vp9": (".mp4", ".mkv", ".webm"),
}
"""Containers of codecs that not all of them hold; the first, where it can, keeps times exactly."""


def new_job_id() -> str:
    """A name that sorts by time and meets no other."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"


def job_root(settings: Settings) -> Path:
    """Where the folders of jobs are."""
    return absolute(settings.work_dir) if settings.work_dir else settings.state_dir / "jobs"


def default_output(video: Path, codec: str) -> Path:
    """``film.mp4`` -> ``film.swapped.mp4`` beside it, in a container that holds the codec."""
    suffix = video.suffix.lower()
    if suffix not in STILLS:
        holds = HOLDS.get(codec, CONTAINERS)
        suffix = suffix if suffix in holds else holds[0]
    return video.with_name(f"{video.stem}.swapped{suffix}")


def check_output(
    output: Path, inputs: Sequence[Path], kinds: Sequence[str], *, overwrite: bool
) -> None:
    """Refuse an output that could not be written or would destroy something.

    Args:
        kinds: endings that it may have.

    Raises:
        OutputInvalid: it is an input, a folder, there already, or no known container.
        StorageUnwritable: its folder does not exist or may not be written to.
    """
    shown = repr(str(output))
    if output.suffix.lower() not in kinds:
        raise OutputInvalid(
            f"the output {shown} ends in {output.suffix or 'nothing'!r}",
            ("a picture: " if ".png" in kinds else "a film: ") + ", ".join(kinds),
            "give -o a name with one of these endings",
        )
    if output.is_dir():
        raise OutputInvalid(f"{shown} is a folder", "the name of a file", "add a file name to -o")
    for path in inputs:
        if output.exists() and path.exists() and output.samefile(path):
            raise OutputInvalid(
                f"the output is the input {str(path)!r}", "another file", "choose another -o"
            )
    if output.exists() and not overwrite:
        raise OutputInvalid(
            f"{shown} is there already", "a new file", "choose another -o, or add --overwrite"
        )
    check_folder(output)


def check_folder(output: Path) -> None:
    """Refuse a file whose folder is not there or may not be written to.

    Raises:
        StorageUnwritable: says which of the two.
    """
    folder = output.parent
    if not folder.is_dir():
        raise StorageUnwritable(
            f"there is no folder {str(folder)!r}",
            "a folder for the result",
            "make it, or choose another -o",
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StorageUnwritable(
            f"this user may not write in {str(folder)!r}",
            "a folder this user may write to",
            "change its permissions, or choose another -o",
        )


def absolute(path: Path) -> Path:
    """Absolute, symbolic links kept: the user's name for a file is the one that errors show."""
    return Path(os.path.abspath(path.expanduser()))


def parse_swaps(swaps: Sequence[str]) -> tuple[Role, ...]:
    """``A=alice.jpg`` of --swap; a letter that comes again has several pictures of one person.

    Raises:
        SettingInvalid: no letter, no picture, or no ``=`` between them.
    """
    roles: dict[str, list[str]] = {}
    for swap in swaps:
        letter, equals, picture = swap.partition("=")
        if not (equals and picture and letter.isascii() and letter.isalpha()):
            raise SettingInvalid(
                f"--swap {swap!r}",
                "a letter of `farm faces` and a picture, as in A=alice.jpg",
                "see who is who with `farm faces VIDEO`",
            )
        roles.setdefault(letter.upper(), []).append(str(absolute(Path(picture))))
    return tuple(Role(identity=name, sources=tuple(roles[name])) for name in sorted(roles))


def survey_job_spec(settings: Settings, *, video: Path, identities: bool = True) -> JobSpec:
    """A job that is only surveyed (``farm faces``): it has nothing to put on and no output."""
    job_id = new_job_id()
    folder = settings.state_dir / "jobs" / job_id
    return JobSpec(
        job_id=job_id,
        media=str(absolute(video)),
        output=str(folder / "survey.mp4"),
        folder=str(folder),
        swap=swap_settings(settings),
        device=settings.device,
        identities=identities,
        recognizer=recognizer(settings),
        analysis=analyse_settings(settings),
        chunk_seconds=settings.chunk_seconds,
    )


def build_job(
    settings: Settings,
    *,
    video: Path,
    sources: Sequence[Path] = (),
    swaps: Sequence[str] = (),
    references: Sequence[Path] = (),
    output: Path | None = None,
    source_face: int | None = None,
    attempts: int = 3,
    masks: Path | None = None,
    hashes: Path | None = None,
    on_error: Literal["fail", "passthrough"] = "fail",
) -> JobSpec:
    """The job that these choices describe. Reads nothing but folders; the film comes later.

    Raises:
        SettingInvalid, OutputInvalid, StorageUnwritable: what is wrong and how to mend it.
    """
    cast = parse_swaps(swaps)
    people = [str(absolute(path)) for path in references]
    choice = face_choice(settings, people)
    if not sources and not cast:
        raise SettingInvalid(
            "neither --source nor --swap",
            "a picture of the face to put on",
            "add --source FACE, or --swap A=FACE to name who gets it",
        )
    if cast and (sources or choice.mode != "many"):
        raise SettingInvalid(
            f"--swap beside {'--source' if sources else '--faces or --reference'}",
            "one way to say whose faces are swapped",
            "leave one of them out",
        )
    video = absolute(video)
    pictures = [str(absolute(source)) for source in sources]
    given = [*pictures, *(picture for role in cast for picture in role.sources), *people]
    still = is_still(video)
    # A picture passes the lanes without loss; its own options count when it is written.
    encoder = EncoderSettings(codec="ffv1") if still else encoder_settings(settings)
    result = absolute(output) if output else default_output(video, encoder.codec)
    kinds = STILLS if still else CONTAINERS
    check_output(result, [video, *map(Path, given)], kinds, overwrite=settings.overwrite)
    for extra in (masks, hashes):
        if extra:
            check_folder(absolute(extra))
    if settings.consent.required and not settings.consent.statement.strip():
        raise ConsentMissing(
            "nothing is said of who agreed to this use of their face",
            "a statement: the settings ask for one ([consent] required)",
            'say it with --consent "WHO, WHEN, WHERE IT IS WRITTEN DOWN"',
        )
    job_id = new_job_id()
    return JobSpec(
        job_id=job_id,
        media=str(video),
        output=str(result),
        folder=str(job_root(settings) / job_id),
        swap=swap_settings(settings, sources=pictures, cast=cast, source_face=source_face),
        device=settings.device,
        faces=choice,
        identities=bool(cast) or choice.mode == "reference",
        recognizer=recognizer(settings),
        encoder=encoder,
        stabilize=stabilize_settings(settings),
        analysis=analyse_settings(settings),
        cut=CutSettings() if still else cut_settings(settings),
        sound=sound_settings(settings),
        image=image_settings(settings),
        chunk_seconds=settings.chunk_seconds,
        smooth=settings.smooth,
        attempts=attempts,
        on_error=on_error,
        masks_output=str(absolute(masks)) if masks else "",
        hashes_output=str(absolute(hashes)) if hashes else "",
        consent=settings.consent.statement.strip(),
        webhooks=settings.webhooks.urls,
        report=settings.report_gb > 0,
    )
