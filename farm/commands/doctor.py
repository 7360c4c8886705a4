"""``farm doctor``: what this machine has, and what to do about what it lacks."""

from __future__ import annotations

import json
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.text import Text

from actors.models import ModelStore
from farm.config import Settings
from farm.doctor import examine
from farm.finding import Finding, Verdict
from farm.progress import printable

STYLES: Final = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red"}


def show(finding: Finding, console: Console) -> None:
    """Print one finding, and below it what to do unless all is well."""
    console.print(
        Text.assemble(
            (f"{finding.verdict.value:<5}", STYLES[finding.verdict]),
            f"{finding.check:<34} ",
            printable(finding.found),
        ),
        soft_wrap=True,
    )
    if finding.next_step:
        console.print(Text(f"{'':40}next: {printable(finding.next_step)}"), soft_wrap=True)


def _models(settings: Settings) -> dict[str, str | None]:
    """What is wrong with each model that a first film needs; None where nothing is."""
    from actors.toolbox import EMBEDDED  # loads the runtimes: not for `farm --help`

    store = ModelStore(settings.cache_dir)
    troubles: dict[str, str | None] = {}
    for name in EMBEDDED:
        if not store.present(name):
            troubles[name] = "not fetched yet"
        else:
            troubles[name] = None if store.verify(name) else "damaged: its checksum is wrong"
    return troubles


def _credentials(settings: Settings) -> Finding:
    """Whether results can be signed."""
    from cluster.preparation import Premises
    from farm.credential_check import check_credentials  # loads C2PA's library: as above

    return check_credentials(
        Premises(
            cache_dir=settings.cache_dir,
            state_dir=settings.state_dir,
            certificates=settings.credentials.certificates,
            key=settings.credentials.key,
        )
    )


def doctor(
    context: typer.Context,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line instead of text.")
    ] = False,
) -> None:
    """Check that this machine can render: packages, encoders, models, memory, disk, keys, GPU.

    Every line says ok, warn or fail, and what to do next. The exit code is 1 if any check failed.
    """
    settings: Settings = context.obj
    console = Console()
    failed = False
    for finding in examine(settings, _models(settings), _credentials(settings)):
        failed |= finding.verdict is Verdict.FAIL
        if as_json:
            print(
                json.dumps(
                    {
                        "event": "check",
                        "check": finding.check,
                        "verdict": finding.verdict.value,
                        "found": finding.found,
                        "next": finding.next_step,
                    }
                ),
                flush=True,
            )
        else:
            show(finding, console)
    if failed:
        raise typer.Exit(1)
