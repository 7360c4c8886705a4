"""``farm config``: what is set, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from actors.whole_file import whole_file
from farm.commands.order import Profile
from farm.config import config_file, merged, origins, read_layers
from farm.facefusion import import_ini
from farm.options.catalogue import catalogue, shown
from farm.toml import commented, written
from scheduler.errors import SettingInvalid, storage_error

app = typer.Typer(help="Settings: what is in force and why.", no_args_is_help=True)


@app.command("show")
def show(
    context: typer.Context,
    profile: Profile = None,
    changed: Annotated[bool, typer.Option("--changed", help="Only what is not built in.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show every setting, its value, and where the value comes from.

    The command line wins over SWAPFARM_* variables, these over the profile, this over the settings
    file.
    """
    layers = read_layers(context.find_root().params.get("config"), profile=profile)
    values = merged(layers).model_dump(mode="json")
    found = origins(layers)
    table = Table(box=None, pad_edge=False)
    for column in ("setting", "value", "from"):
        table.add_column(column, overflow="fold")
    for option in catalogue():
        origin = found[option.name]
        if changed and origin == "built-in":
            continue
        value = values
        for part in option.path:
            value = value[part]
        if as_json:
            facts = {
                "name": option.name,
                "value": value,
                "from": origin,
                "variable": option.variable,
                "flags": list(option.flag.names) if option.flag else [],
            }
            print(json.dumps(facts))
        else:
            table.add_row(option.name, shown(value), origin)
    if not as_json:
        Console().print(table)


@app.command("init")
def init(
    context: typer.Context,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file when it is there already.")
    ] = False,
) -> None:
    """Write a settings file with every option in it as a comment."""
    named: Path | None = context.find_root().params.get("config")
    path = named or config_file()
    _write(path, commented(), overwrite)
    print(path)


@app.command("import")
def import_facefusion(
    file: Annotated[
        Path,
        typer.Argument(metavar="INI", help="FaceFusion's facefusion.ini.", show_default=False),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="TOML",
            show_default=False,
            help="The profile to write. [profiles/facefusion.toml beside the settings file]",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the profile when it is there already.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Make a profile of FaceFusion's settings, and say what of them we do not have.

    Then `farm submit film.mp4 -s face.jpg --profile facefusion`.
    """
    found = import_ini(file)
    path = output or config_file().parent / "profiles" / "facefusion.toml"
    _write(path, f"# From {file.name}.\n" + written(found.values), overwrite)
    if as_json:
        facts = {"profile": str(path), "mapped": dict(found.mapped), "left": dict(found.left)}
        print(json.dumps(facts))
        return
    print(path)
    for key, name in found.mapped:
        print(f"  {key} -> {name}")
    for key, why in found.left:
        print(f"  {key}: left out, {why}")


def _write(path: Path, text: str, overwrite: bool) -> None:
    """Write a file that appears whole.

    Raises:
        SettingInvalid: it is there already.
        StorageUnwritable, DiskFull: it cannot be written.
    """
    if path.exists() and not overwrite:
        raise SettingInvalid(
            f"{path} is there already", "a new file", "look at it, or add --overwrite"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, str(path)) from error
    with whole_file(path) as file:
        file.write(text.encode())
