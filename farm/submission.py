"""From what a person typed to a job: paths made absolute, defaults filled in, nonsense refused."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Final

from actors.muxer import FORMATS
from farm.config import Settings
from scheduler.errors import OutputInvalid, SettingInvalid, StorageUnwritable
from scheduler.jobs import (
    MAX_INTERVAL,
    AnalyseSettings,
    EncoderSettings,
    FaceChoice,
    JobSpec,
    Role,
    StabilizeSettings,
    SwapSettings,
)
from scheduler.selection import MODES, ORDERS

CODECS: Final = {
    "libx264": ("veryfast", 18),
    "libx265": ("fast", 20),
    "libsvtav1": ("8", 26),
    "ffv1": ("", 0),
}
"""Preset and CRF of each codec unless the user says otherwise: visually near lossless."""

CONTAINERS: Final = tuple(FORMATS)
SWAPPERS: Final = ("mesh",)


def new_job_id() -> str:
    """A name that sorts by time and meets no other."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"


def encoder_settings(
    settings: Settings, *, codec: str | None, preset: str | None, quality: int | None, pix_fmt: str
) -> EncoderSettings:
    """The encoder of a job: the command line over the settings file over the codec's defaults.

    Raises:
        SettingInvalid: no such codec, or a quality beyond its scale.
    """
    section = settings.encoder
    chosen = codec or section.codec
    if chosen not in CODECS:
        raise SettingInvalid(
            f"encoder {chosen!r}", "one of " + ", ".join(CODECS), "choose one with --encoder"
        )
    # A preset or quality from the settings file is meant for the codec that stands beside it.
    of_section = section if chosen == section.codec else None
    default_preset, default_quality = CODECS[chosen]
    wanted = quality if quality is not None else of_section.quality if of_section else None
    best = 63 if chosen == "libsvtav1" else 51
    if wanted is not None and not 0 <= wanted <= best:
        raise SettingInvalid(
            f"quality {wanted} for {chosen}", f"a CRF of 0 (best) to {best}", "correct --quality"
        )
    return EncoderSettings(
        codec=chosen,
        preset=preset or (of_section.preset if of_section else "") or default_preset,
        quality=default_quality if wanted is None else wanted,
        pix_fmt=pix_fmt,
        threads=section.threads,
    )


def stabilize_settings(filters: str | None, *, off: bool = False) -> StabilizeSettings:
    """The temporal filters of a job.

    Args:
        filters: names with commas between them; None: the default ones.
        off: none at all.

    Raises:
        SettingInvalid: a name that is no filter, or filters named and switched off.
    """
    names = [field.name for field in fields(StabilizeSettings)]
    if filters is None:
        return StabilizeSettings(**dict.fromkeys(names, False)) if off else StabilizeSettings()
    if off:
        raise SettingInvalid(
            f"--stabilize {filters} with --no-stabilize", "one of them", "leave one of them out"
        )
    wanted = {name.strip() for name in filters.split(",")}
    for name in sorted(wanted - set(names)):
        raise SettingInvalid(
            f"the filter {name!r}",
            "some of " + ", ".join(names),
            "write them as in --stabilize flow,seam; none at all: --no-stabilize",
        )
    return StabilizeSettings(**{name: name in wanted for name in names})


def default_output(video: Path, codec: str) -> Path:
    """``film.mp4`` -> ``film.swapped.mp4`` beside it, in a container that holds the codec."""
    suffix = video.suffix.lower() if video.suffix.lower() in CONTAINERS else ".mp4"
    if codec == "ffv1" and suffix not in (".mp4", ".mkv"):
        suffix = ".mp4"  # of those that hold it, the one that keeps times exactly
    return video.with_name(f"{video.stem}.swapped{suffix}")


def check_output(output: Path, inputs: Sequence[Path], *, overwrite: bool) -> None:
    """Refuse an output that could not be written or would destroy something.

    Raises:
        OutputInvalid: it is an input, a folder, there already, or no known container.
        StorageUnwritable: its folder does not exist or may not be written to.
    """
    shown = repr(str(output))
    if output.suffix.lower() not in CONTAINERS:
        raise OutputInvalid(
            f"the output {shown} ends in {output.suffix or 'nothing'!r}",
            "a film: " + ", ".join(CONTAINERS),
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


def face_choice(
    *, faces: str | None, order: str | None, references: Sequence[Path], distance: float | None
) -> FaceChoice:
    """The choice that --faces, --face-order, --reference and --reference-distance describe.

    Raises:
        SettingInvalid: an unknown word, or options that do not go together.
    """
    mode = faces or ("reference" if references else "many")
    if mode not in MODES:
        raise SettingInvalid(f"--faces {mode}", "one of " + ", ".join(MODES), "choose one of these")
    if (mode == "reference") != bool(references):
        raise SettingInvalid(
            f"--faces {mode} {'with' if references else 'without'} --reference",
            "--faces reference together with --reference FACE",
            "leave --faces out: --reference alone is enough",
        )
    if order is not None and mode != "one":
        raise SettingInvalid(
            f"--face-order with --faces {mode}",
            "--faces one: of many, the order decides nothing",
            "add --faces one, or leave the order out",
        )
    if order is not None and order not in ORDERS:
        raise SettingInvalid(
            f"--face-order {order}", "one of " + ", ".join(ORDERS), "choose one of these"
        )
    if distance is not None and not references:
        raise SettingInvalid(
            "--reference-distance without --reference", "a picture to compare with", "add one"
        )
    default = FaceChoice()
    return FaceChoice(
        mode=mode,
        order=order or default.order,
        references=tuple(str(absolute(path)) for path in references),
        distance=default.distance if distance is None else distance,
    )


def survey_job_spec(
    settings: Settings, *, video: Path, chunk_seconds: float | None = None, identities: bool = True
) -> JobSpec:
    """A job that is only surveyed (``farm faces``): it has nothing to put on and no output."""
    job_id = new_job_id()
    folder = settings.state_dir / "jobs" / job_id
    return JobSpec(
        job_id=job_id,
        media=str(absolute(video)),
        output=str(folder / "survey.mp4"),
        folder=str(folder),
        swap=SwapSettings(),
        identities=identities,
        analysis=AnalyseSettings(interval=settings.detect_every),
        chunk_seconds=settings.chunk_seconds if chunk_seconds is None else chunk_seconds,
    )


def build_job(
    settings: Settings,
    *,
    video: Path,
    sources: Sequence[Path] = (),
    swaps: Sequence[str] = (),
    faces: FaceChoice | None = None,
    output: Path | None,
    encoder: EncoderSettings,
    stabilize: StabilizeSettings | None = None,
    swapper: str = "mesh",
    source_face: int | None = None,
    crop_size: int = 0,
    occlusion: bool = True,
    detect_every: int | None = None,
    objects: bool = True,
    chunk_seconds: float | None = None,
    smooth: bool = True,
    attempts: int = 3,
    overwrite: bool = False,
    work_dir: Path | None = None,
    masks: Path | None = None,
    hashes: Path | None = None,
) -> JobSpec:
    """The job that these choices describe. Reads nothing but folders; the film comes later.

    Raises:
        SettingInvalid, OutputInvalid, StorageUnwritable: what is wrong and how to mend it.
    """
    if swapper not in SWAPPERS:
        raise SettingInvalid(
            f"swapper {swapper!r}", "one of " + ", ".join(SWAPPERS), "choose one with --swapper"
        )
    interval = settings.detect_every if detect_every is None else detect_every
    if not 1 <= interval <= MAX_INTERVAL:
        raise SettingInvalid(
            f"--detect-every {interval}",
            f"1 (every frame) to {MAX_INTERVAL}",
            "leave it out for every 6th frame",
        )
    cast = parse_swaps(swaps)
    choice = faces or FaceChoice()
    if not sources and not cast:
        raise SettingInvalid(
            "neither --source nor --swap",
            "a picture of the face to put on",
            "add --source FACE, or --swap A=FACE to name who gets it",
        )
    if cast and (sources or choice != FaceChoice()):
        raise SettingInvalid(
            f"--swap beside {'--source' if sources else '--faces or --reference'}",
            "one way to say whose faces are swapped",
            "leave one of them out",
        )
    video = absolute(video)
    pictures = [absolute(source) for source in sources]
    given = [*pictures, *(Path(p) for role in cast for p in role.sources)]
    given += [Path(p) for p in choice.references]
    result = absolute(output) if output else default_output(video, encoder.codec)
    check_output(result, [video, *given], overwrite=overwrite)
    for extra in (masks, hashes):
        if extra:
            check_folder(absolute(extra))
    job_id = new_job_id()
    root = absolute(work_dir) if work_dir else settings.state_dir / "jobs"
    return JobSpec(
        job_id=job_id,
        media=str(video),
        output=str(result),
        folder=str(root / job_id),
        swap=SwapSettings(
            model=swapper,
            sources=tuple(map(str, pictures)),
            cast=cast,
            source_face=source_face,
            crop_size=crop_size,
        ),
        faces=choice,
        identities=bool(cast) or choice.mode == "reference",
        encoder=encoder,
        stabilize=stabilize or StabilizeSettings(),
        analysis=AnalyseSettings(interval=interval, occlusion=occlusion, objects=objects),
        chunk_seconds=settings.chunk_seconds if chunk_seconds is None else chunk_seconds,
        smooth=smooth,
        attempts=attempts,
        masks_output=str(absolute(masks)) if masks else "",
        hashes_output=str(absolute(hashes)) if hashes else "",
        report=settings.report_gb > 0,
    )
