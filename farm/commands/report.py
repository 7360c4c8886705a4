"""``farm report``: how good a finished job is, in numbers and as a page."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from farm.cancelling import cancelling
from farm.config import Settings
from farm.progress import Display, open_display
from farm.submission import absolute, check_folder
from scheduler.errors import ReportMissing, SettingInvalid
from scheduler.progress import JobSnapshot


def report(
    context: typer.Context,
    output: Annotated[
        Path | None,
        typer.Argument(
            metavar="OUT", help="The result of a job. [that of the last job]", show_default=False
        ),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            "--page",
            "-o",
            metavar="HTML",
            show_default=False,
            help="Where the page goes. [OUT.report.html beside OUT]",
        ),
    ] = None,
    no_page: Annotated[bool, typer.Option("--no-page", help="Numbers only.")] = False,
    film: Annotated[
        Path | None,
        typer.Option(
            "--film",
            metavar="FILM",
            show_default=False,
            help="Where the film is now, if it was moved since.",
        ),
    ] = None,
    identity_frames: Annotated[
        int,
        typer.Option(
            "--identity-frames",
            min=0,
            max=1000,
            metavar="N",
            show_default=False,
            help="Frames of each track in which likeness is measured, at most (0.2 s each); 0: in "
            "none, and the network that tells faces apart is not needed. [6]",
        ),
    ] = 6,
    frames: Annotated[
        int,
        typer.Option(
            "--frames",
            min=0,
            metavar="N",
            show_default=False,
            help="About how many frames are compared with the one before, evenly spread and at "
            "every chunk border; 0: all. [3000]",
        ),
    ] = 3000,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object on stdout; progress goes to stderr.")
    ] = False,
) -> None:
    """Look into the result of a job: how steady, how like the new face, what was left and why.

    Compares OUT with its film frame by frame and writes a page to look at in a browser (one file,
    nothing is fetched, nothing leaves this machine). Every job leaves behind what this needs, so
    it can be asked for at any time while the film and the result are there. What the numbers mean:
    docs/report.md.

    - `farm report film.swapped.mp4`: writes film.swapped.report.html beside it
    - `farm report`: the same for the last job
    - `farm report out.mp4 --no-page --json | jq .total.flicker.ratio`
    - `farm report out.mp4 --identity-frames 0 --frames 500`: a quick look
    """
    # OpenCV and the runtimes load for half a second: not for `farm --help` and completion.
    from farm.report import ReportOptions, make_report
    from farm.report_page import write_page
    from farm.runner import record_book

    settings: Settings = context.obj
    if page and no_page:
        raise SettingInvalid("--page with --no-page", "one of them", "leave one of them out")
    book = record_book(settings)
    if output is None:
        kept = next(book.jobs(), None)
        if kept is None:
            raise ReportMissing(
                "no finished job is known",
                "the result of one of this user's last jobs on this machine",
                "submit a film first: farm submit film.mp4 --source face.jpg",
            )
        result = Path(kept.record.output.path)
        kept = book.find(result)
    else:
        result = absolute(output)
        kept = book.find(result)
    target = absolute(page) if page else result.with_suffix(".report.html")
    if not no_page:
        _check_page(target)
    options = ReportOptions(
        identity_frames=identity_frames, frames=frames, film=absolute(film) if film else None
    )
    display = open_display(False, sys.stdout, sys.stderr, kept.record.job_id)
    try:
        with cancelling():
            made = make_report(
                kept,
                settings,
                options,
                output=result,
                note=lambda sentence: display.event("note", sentence),
                watch=_Watch(display, kept.record.job_id),
            )
            if not no_page:
                write_page(made, target)
                made.facts["page"] = str(target)
    finally:
        display.close()
    if as_json:
        print(json.dumps(made.facts))
    else:
        _show(made.facts)


class _Watch:
    """Tells a display how far the comparison is, a few times a second."""

    def __init__(self, display: Display, job_id: str) -> None:
        self._display = display
        self._job_id = job_id
        self._next = 0.0

    def __call__(self, done: int, frames: int, fps: float) -> None:
        now = time.monotonic()
        if now < self._next and done < frames:
            return
        self._next = now + 0.2
        self._display.update(
            JobSnapshot(
                job_id=self._job_id,
                phase="report",
                frames_done=done,
                frames_total=frames,
                fps=fps,
                eta_seconds=(frames - done) / max(fps, 1e-6),
            )
        )


def _check_page(page: Path) -> None:
    if page.suffix.lower() not in (".html", ".htm"):
        raise SettingInvalid(
            f"the page {str(page)!r}", "a file name that ends in .html", "rename it"
        )
    check_folder(page)


def _show(facts: dict[str, Any]) -> None:
    total = facts["total"]
    if facts["tracks"]:
        _table(facts, total)
        print(f"{total['identity_switches']} identity switches")
    else:
        print("No face was found: there is nothing to measure.")
    for place in facts["look_at"]:
        print(f"look at {place['time']}  track {place['track']}: {place['why']}")
    if "page" in facts:
        print(facts["page"])


def _table(facts: dict[str, Any], total: dict[str, Any]) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("track", "who", "frames", "swapped", "like", "jitter", "warp", "flicker", "seam"):
        table.add_column(name, justify="left" if name == "who" else "right")
    for row in [*facts["tracks"][:20], {"track": "all", "identity": "", "frames": total["wanted"]}]:
        of = total if row["track"] == "all" else row
        table.add_row(
            str(row["track"]),
            row["identity"],
            str(row["frames"]),
            str(of["swapped"]),
            _number(of["similarity"] and of["similarity"]["mean"]),
            _number(of["jitter"]["pct"], " %"),
            _number(of["warp"]["ratio"]),
            _number(of["flicker"]["ratio"]),
            _number(of["seam"]),
        )
    Console().print(table)
    if len(facts["tracks"]) > 20:
        print(f"... and {len(facts['tracks']) - 20} more tracks")


def _number(value: float | None, unit: str = "") -> str:
    return "-" if value is None else f"{value:.2f}{unit}"
