"""``farm models``: what there is, what is here, and bringing the rest."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import partial
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from actors.models import ModelStore
from actors.registry import ModelSpec
from farm.config import Settings
from scheduler.errors import ModelCorrupt

app = typer.Typer(help="Models: list them, fetch them, check them.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")]
Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME]...", help="Models or samples. [those every job needs]"),
]
Samples = Annotated[bool, typer.Option("--samples", help="Also the sample media.")]


def _state(store: ModelStore, spec: ModelSpec) -> str:
    if not store.present(spec.name):
        return "not fetched"
    return "here" if store.verify(spec.name) else "damaged"


def _needed(names: Sequence[str] | None) -> list[str]:
    from actors.toolbox import EMBEDDED  # loads the runtimes: not for `farm --help`

    return list(names or EMBEDDED)


@app.command("list")
def list_models(context: typer.Context, samples: Samples = False, as_json: Json = False) -> None:
    """Show every model: kind, size, licence, and whether its file is here and intact."""
    settings: Settings = context.obj
    store = ModelStore(settings.cache_dir)
    specs = [spec for spec in store.registry.values() if samples or spec.kind != "sample"]
    if as_json:
        for spec in specs:
            facts = {
                "name": spec.name,
                "kind": spec.kind,
                "bytes": spec.bytes,
                "licence": spec.licence,
                "credit": spec.credit,
                "source": spec.source,
                "sha256": spec.sha256,
                "state": _state(store, spec),
            }
            print(json.dumps(facts))
        return
    table = Table(box=None, pad_edge=False)
    # Names are there to be typed: only the licence may break its line. Credits are in --json.
    table.add_column("name", no_wrap=True, min_width=max(len(spec.name) for spec in specs))
    table.add_column("kind", no_wrap=True, min_width=10)
    table.add_column("MB", no_wrap=True, min_width=4)
    table.add_column("licence", min_width=10, overflow="fold")
    table.add_column("state", no_wrap=True, min_width=11)
    for spec in specs:
        size = f"{spec.bytes / 1e6:.1f}"
        table.add_row(spec.name, spec.kind, size, spec.licence, _state(store, spec))
    Console().print(table)


def _show(progress: Progress, task: TaskID, done: int, whole: int) -> None:
    progress.update(task, completed=done, total=whole or None)


@app.command("pull")
def pull(context: typer.Context, names: Names = None, as_json: Json = False) -> None:
    """Fetch models (all that every job needs, or those named) and check their SHA-256."""
    settings: Settings = context.obj
    store = ModelStore(settings.cache_dir)
    wanted = [store.registry[name] for name in _needed(names)]
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    console = Console(file=sys.stderr)
    with Progress(*columns, TransferSpeedColumn(), console=console, disable=as_json) as progress:
        for spec in wanted:
            task = progress.add_task(spec.name, total=spec.bytes)
            path = store.path(spec.name, partial(_show, progress, task))
            progress.update(task, completed=spec.bytes, total=spec.bytes)
            if as_json:
                print(json.dumps({"name": spec.name, "path": str(path), "state": "here"}))


@app.command("verify")
def verify(context: typer.Context, names: Names = None, as_json: Json = False) -> None:
    """Hash the files that are here. Exit code 4 when one is damaged."""
    settings: Settings = context.obj
    store = ModelStore(settings.cache_dir)
    damaged = []
    for name in names or [name for name in store.registry if store.present(name)]:
        state = _state(store, store.registry[name])
        damaged += [name] if state == "damaged" else []
        print(json.dumps({"name": name, "state": state}) if as_json else f"{state:12} {name}")
    if damaged:
        raise ModelCorrupt(
            f"damaged: {', '.join(damaged)}",
            "files with the SHA-256 of the registry",
            f"`farm models pull {' '.join(damaged)}` fetches them anew",
        )
