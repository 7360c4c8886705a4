"""``farm batch``: every face of a pattern on every film of a pattern."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from glob import glob
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cluster.folders import sweep
from farm.cancelling import cancelling
from farm.commands.giving import DETACHED, Priority, giving
from farm.commands.order import Profile, check_flags, settings_of
from farm.config import Settings
from farm.options.flags import given, with_options
from farm.progress import JsonDisplay, duration, open_display, printable
from farm.submission import absolute, build_job
from scheduler.errors import (
    BatchFailed,
    Cancelled,
    NoFarm,
    OutputInvalid,
    SettingInvalid,
    SwapfarmError,
)

NAMES: Final = ("index", "source_name", "target_name", "target_extension")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One job of a batch, before anything is known of its files."""

    index: int
    source: Path
    target: Path
    output: Path


@with_options
def batch(
    context: typer.Context,
    source: Annotated[
        list[str],
        typer.Option(
            "--source",
            "-s",
            "--source-pattern",
            metavar="PATTERN",
            show_default=False,
            help="Faces to put on, as in 'faces/*.jpg': each is a person of its own. May be "
            "repeated.",
        ),
    ],
    target: Annotated[
        list[str],
        typer.Option(
            "--target",
            "-t",
            "--target-pattern",
            metavar="PATTERN",
            show_default=False,
            help="Films and pictures, as in 'films/**/*.mp4'. May be repeated.",
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            "--output-pattern",
            metavar="PATTERN",
            show_default=False,
            help="Names of the results, with {index} (from 0), {source_name}, {target_name} and "
            "{target_extension} (with its dot).",
        ),
    ],
    profile: Profile = None,
    halt_on_error: Annotated[
        bool,
        typer.Option("--halt-on-error", help="Stop at the first job that fails. [go on]"),
    ] = False,
    detach: Annotated[
        bool,
        typer.Option(
            "--detach",
            help="Give the jobs to the farm that is up (`farm up`) as a group, and do not wait.",
            rich_help_panel=DETACHED,
        ),
    ] = False,
    group: Annotated[
        str,
        typer.Option(
            "--group",
            metavar="NAME",
            show_default=False,
            help="With --detach: name of the group, for `farm pause NAME` and others. The same "
            "group and output are the same job, however often they are submitted. [a new name]",
            rich_help_panel=DETACHED,
        ),
    ] = "",
    priority: Priority = 50,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON event a line on stdout (docs/events.md).")
    ] = False,
    **options: Any,
) -> None:
    """Put every face of a pattern on every film of a pattern, one job after the other.

    A job that fails does not stop the others;
    at the end a summary says what became of each. Takes all options of `farm submit`.

    - `farm batch -s alice.jpg -t 'films/*.mp4' -o 'out/{target_name}{target_extension}'`
    - `farm batch -s 'faces/*.png' -t 'photos/*.jpg' -o 'out/{index}-{source_name}.png'`
    - `farm batch -s a.jpg -t 'films/*' -o 'out/{target_name}.mp4' --detach --group monday`
    """
    from farm.runner import Lanes, farm_options, run_job

    flags = given(options)
    settings = settings_of(context, profile, flags)
    entries = plan_batch(source, target, output)
    if detach:
        _give_away(context, settings, flags, entries, group, priority, halt_on_error, as_json)
        return
    farm = farm_options(settings)
    failed: list[tuple[Entry, SwapfarmError]] = []
    done = 0
    began = time.monotonic()
    with Lanes(settings, farm) as lanes:
        for entry in entries:
            if not as_json:
                _say(f"[{entry.index + 1}/{len(entries)}] {entry.target} + {entry.source}")
            try:
                job = build_job(
                    settings, video=entry.target, sources=[entry.source], output=entry.output
                )
                check_flags(flags, job)
                display = open_display(as_json, sys.stdout, sys.stderr, job.job_id)
                try:
                    with cancelling():
                        sweep(Path(job.folder).parent)
                        display.event("submitted", video=job.media, output=job.output)
                        summary = run_job(job, settings, farm, display, lanes)
                        display.event("done", **asdict(summary), fps=summary.fps)
                finally:
                    display.close()
            except Cancelled:
                raise
            except SwapfarmError as error:
                failed.append((entry, error))
                _report(entry, error, as_json)
                if halt_on_error:
                    break
            else:
                done += 1
                if not as_json:
                    print(entry.output)
    _finish(len(entries), done, failed, time.monotonic() - began, as_json)


def _give_away(
    context: typer.Context,
    settings: Settings,
    flags: Mapping[str, Any],
    entries: Sequence[Entry],
    group: str,
    priority: int,
    halt_on_error: bool,
    as_json: bool,
) -> None:
    """Have a farm work the jobs off; each is a job of its own, and fails for itself."""
    from farm.drafts import checked
    from farm.submission import new_job_id

    name = checked(group or f"batch-{new_job_id()}")
    failed: list[tuple[Entry, SwapfarmError]] = []
    began = time.monotonic()
    done = 0
    with giving(context, settings) as give:
        for entry in entries:
            try:
                job = build_job(
                    settings, video=entry.target, sources=[entry.source], output=entry.output
                )
                check_flags(flags, job)
                given = give((job,), key=f"{name} {job.output}", group=name, priority=priority)
            except NoFarm:
                raise
            except SwapfarmError as error:
                failed.append((entry, error))
                _report(entry, error, as_json)
                if halt_on_error:
                    break
                continue
            done += 1
            if as_json:
                facts = {"group": name, "video": job.media, "output": job.output}
                JsonDisplay(sys.stdout, given).event("submitted", **facts)
    if not as_json:
        print(f"{name}\n  next: farm jobs; farm pause, cancel, retry or rm {name}")
    _finish(len(entries), done, failed, time.monotonic() - began, as_json, "given to the farm")


def plan_batch(sources: Sequence[str], targets: Sequence[str], output: str) -> tuple[Entry, ...]:
    """The jobs of a batch: all targets for the first source, then for the next.

    Raises:
        SettingInvalid: a pattern that finds nothing, or an unknown name in the output's.
        OutputInvalid: two jobs would write the same file.
    """
    pairs = list(product(_found("--source", sources), _found("--target", targets)))
    entries = []
    for index, (face, film) in enumerate(pairs):
        names = (index, face.stem, film.stem, film.suffix.lower())
        try:
            name = output.format(**dict(zip(NAMES, names, strict=True)))
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            raise SettingInvalid(
                f"--output {output!r} ({error})",
                "only " + ", ".join(f"{{{name}}}" for name in NAMES) + " in braces",
                "correct the pattern",
            ) from error
        entries.append(Entry(index=index, source=face, target=film, output=absolute(Path(name))))
    by_output: dict[Path, Entry] = {}
    for entry in entries:
        other = by_output.setdefault(entry.output, entry)
        if other is not entry:
            raise OutputInvalid(
                f"two jobs would write {str(entry.output)!r}: {other.target} with {other.source}, "
                f"and {entry.target} with {entry.source}",
                "a name of its own for each",
                "put {index}, or {source_name} and {target_name}, into --output",
            )
    return tuple(entries)


def _found(flag: str, patterns: Sequence[str]) -> Sequence[Path]:
    files: dict[Path, None] = {}
    for pattern in patterns:
        # A name with brackets in it is the file of that name, before it is a pattern.
        names = [pattern] if Path(pattern).is_file() else sorted(glob(pattern, recursive=True))
        found = [Path(name) for name in names if Path(name).is_file()]
        if not found:
            raise SettingInvalid(
                f"{flag} {pattern!r} finds no file", "a pattern such as 'films/*.mp4'", "correct it"
            )
        files |= dict.fromkeys(found)
    return tuple(files)


def _say(line: str) -> None:
    print(printable(line), file=sys.stderr, flush=True)


def _report(entry: Entry, error: SwapfarmError, as_json: bool) -> None:
    if not as_json:
        _say(f"  error[{error.code}]: {error.found}")
        return
    JsonDisplay(sys.stdout).event(
        "failed",
        index=entry.index,
        video=str(entry.target),
        source=str(entry.source),
        code=error.code,
        found=error.found,
        wanted=error.wanted,
        next=error.next_step,
    )


def _finish(
    total: int,
    done: int,
    failed: Sequence[tuple[Entry, SwapfarmError]],
    seconds: float,
    as_json: bool,
    what: str = "done",
) -> None:
    """Tell what became of the jobs.

    Raises:
        BatchFailed: not all are done.
    """
    left = total - done - len(failed)
    if as_json:
        JsonDisplay(sys.stdout).event(
            "batch",
            total=total,
            done=done,
            failed=len(failed),
            not_started=left,
            seconds=round(seconds, 3),
        )
    else:
        _say(f"{done} of {total} jobs {what} in {duration(seconds)}")
        for entry, error in failed:
            _say(f"  failed: {entry.target} with {entry.source}: error[{error.code}] {error.found}")
        if left:
            _say(f"  not started: {left}")
    if failed:
        raise BatchFailed(
            f"{len(failed)} of {total} jobs failed"
            + (f", {left} were not started" if left else ""),
            "all of them done",
            "mend what the summary names, then run the batch again with what is left",
        )
