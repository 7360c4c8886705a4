"""``farm nodes``: the machines of a farm that is up."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from farm.commands.jobs import Json, ask

app = typer.Typer(help="Nodes of the farm: list them, drain them.", invoke_without_command=True)

Node = Annotated[str, typer.Argument(metavar="NODE", help="How its name begins.")]


def _print(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows))
        return
    if not rows:
        print("no lane is up yet")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("node", "host", "state", "lanes", "at work", "failed jobs"):
        table.add_column(name)
    memory = [max((lane["gpu_memory"] or 0 for lane in row["lanes"]), default=0) for row in rows]
    if any(memory):
        table.add_column("GPU memory")
    for row, most in zip(rows, memory, strict=True):
        busy = sum(lane["state"] == "busy" for lane in row["lanes"])
        table.add_row(
            row["node"][:12],
            row["host"],
            row["state"],
            str(len(row["lanes"])),
            str(busy),
            str(len(row["failed_jobs"])),
            *([f"{most / 2**30:.1f} GiB" if most else ""] if any(memory) else []),
        )
    Console().print(table)


@app.callback()
def nodes(context: typer.Context, as_json: Json = False) -> None:
    """List the farm's nodes with their lanes: up, drained, blocked (too much failed there) or down.

    - `farm nodes`
    - `farm nodes drain 4f2a`: chunks there finish, none begins
    """
    if context.invoked_subcommand is None:
        _print(ask(context, "nodes"), as_json)


@app.command()
def drain(context: typer.Context, node: Node, as_json: Json = False) -> None:
    """Begin nothing more on a node; what runs there finishes."""
    _print(ask(context, "node", node=node, what="drain"), as_json)


@app.command()
def undrain(context: typer.Context, node: Node, as_json: Json = False) -> None:
    """Let a node that was drained take part again."""
    _print(ask(context, "node", node=node, what="forgive"), as_json)


@app.command()
def forgive(context: typer.Context, node: Node, as_json: Json = False) -> None:
    """Let a node on which too much failed take part again now, not in ten minutes."""
    _print(ask(context, "node", node=node, what="forgive"), as_json)
