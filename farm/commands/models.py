"""``farm models``: what there is, what is here, and bringing the rest."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Final

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

from actors.fetcher import PROVIDERS, Fetcher
from actors.models import ModelStore
from actors.registry import ModelSpec
from farm.config import Settings
from scheduler.errors import ModelCorrupt, ModelInexact, ModelUnknown, SettingInvalid

app = typer.Typer(help="Models: list, fetch, add, check and quantise them.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")]
Wanted = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME]...", help="Models or samples. [those every job needs]"),
]
Here = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME]...", help="Models or samples. [all that are here]"),
]
Samples = Annotated[bool, typer.Option("--samples", help="Also the sample media.")]


CHECKED: Final = {
    "sha256": "taken: it has the registry's SHA-256",
    "crc32": "taken: it has the CRC-32 in the .hash file beside it",
    "run": "taken: nothing vouches for it, but it does what the registry says",
}


def _state(store: ModelStore, spec: ModelSpec) -> str:
    if not store.present(spec.name):
        return "not fetched"
    return "here" if store.usable(spec.name) else "damaged"


def _allows(spec: ModelSpec) -> str:
    """The licence, and what it allows where its name does not say so."""
    plain = spec.use == "commercial" or spec.use == spec.licence.lower()
    return spec.licence if plain else f"{spec.licence}: {spec.use}"


def _needed(names: Sequence[str] | None) -> list[str]:
    from actors.toolbox import EMBEDDED  # loads the runtimes: not for `farm --help`

    return list(names or EMBEDDED)


@app.command("list")
def list_models(context: typer.Context, samples: Samples = False, as_json: Json = False) -> None:
    """Show every model: kind, size, licence, what it allows, and whether it is here and intact."""
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
                "use": spec.use,
                "credit": spec.credit,
                "source": spec.source,
                "sha256": spec.sha256,
                "standin": spec.standin,
                "state": _state(store, spec),
            }
            print(json.dumps(facts))
        return
    table = Table(box=None, pad_edge=False)
    # Names are there to be typed: only the licence may break its line. Credits are in --json.
    table.add_column("name", no_wrap=True, min_width=max(len(spec.name) for spec in specs))
    table.add_column("kind", no_wrap=True, min_width=10)
    table.add_column("MB", no_wrap=True, min_width=5, justify="right")
    table.add_column("licence", min_width=10, overflow="fold")
    table.add_column("state", no_wrap=True, min_width=11)
    for spec in specs:
        size = f"{spec.bytes / 1e6:.1f}" if spec.bytes else "?"
        state = _state(store, spec)
        table.add_row(spec.name, spec.kind, size, _allows(spec), state)
    Console().print(table)


def _show(progress: Progress, task: TaskID, done: int, whole: int) -> None:
    progress.update(task, completed=done, total=whole or None)


@app.command("pull")
def pull(
    context: typer.Context,
    names: Wanted = None,
    provider: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            show_default=False,
            help=f"Mirror to fetch FaceFusion's models from ({', '.join(PROVIDERS)}); again for a "
            "second one, in the order given.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Fetch models (all that every job needs, or those named) and check their hashes."""
    settings: Settings = context.obj
    store = ModelStore(settings.cache_dir, fetcher=Fetcher(providers=provider or ()))
    wanted = [store.registry[name] for name in _needed(names)]
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    console = Console(file=sys.stderr)
    with Progress(*columns, TransferSpeedColumn(), console=console, disable=as_json) as progress:
        for spec in wanted:
            task = progress.add_task(spec.name, total=spec.bytes or None)
            path = store.path(spec.name, partial(_show, progress, task))
            size = path.stat().st_size
            progress.update(task, completed=size, total=size)
            if as_json:
                print(json.dumps({"name": spec.name, "path": str(path), "state": "here"}))


@app.command("add")
def add(
    context: typer.Context,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Model files, or folders of them.")
    ],
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Which model the file is. [by the file's name]"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Take models that are on this machine already: `farm models add ~/models/2dfan4.onnx`.

    A file is checked against its hash, or the .hash file beside it; one that neither vouches for
    is run first, and taken if it does what the registry says.
    """
    settings: Settings = context.obj
    store = ModelStore(settings.cache_dir)
    for file, model in _named(store, files, name):
        spec = store.registry[model]
        if not spec.sha256 and not file.with_suffix(".hash").exists():
            _demand_fit(spec, file)
        vouched = store.add(model, file.absolute()) or "run"
        if as_json:
            facts = {"name": model, "checked": vouched, "path": str(store.path(model))}
            print(json.dumps(facts))
        else:
            print(f"{model:26} {CHECKED[vouched]}")


@app.command("verify")
def verify(context: typer.Context, names: Here = None, as_json: Json = False) -> None:
    """Hash the files that are here. Exit code 4 when one is damaged."""
    settings: Settings = context.obj
    store = ModelStore(settings.cache_dir)
    damaged = []
    for name in names or [name for name in store.registry if store.present(name)]:
        state = "not fetched"
        if store.present(name):
            state = "here" if store.verify(name) else "damaged"
        damaged += [name] if state == "damaged" else []
        print(json.dumps({"name": name, "state": state}) if as_json else f"{state:12} {name}")
    if damaged:
        raise ModelCorrupt(
            f"damaged: {', '.join(damaged)}",
            "files with the SHA-256 of the registry",
            f"`farm models pull {' '.join(damaged)}` fetches them anew",
        )


@app.command("check")
def check(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model.")],
    as_json: Json = False,
) -> None:
    """Run a model on a drawn face and say whether it does what the registry says of it.

    Exit code 4 when it does not.
    """
    from actors.model_check import check_model  # loads the runtimes: not for `farm --help`

    settings: Settings = context.obj
    store = ModelStore(settings.cache_dir)
    found = check_model(store.registry[name], store.path(name))
    if as_json:
        print(json.dumps({"name": name, **asdict(found)}))
    else:
        for what, those in (("input", found.inputs), ("output", found.outputs)):
            print("\n".join(f"{what:8} {each}" for each in those))
        if found.standin:
            print("stand-in: it only has the model's shape")
        if not found.problems:
            print(f"{name} does what the registry says")
    if found.problems:
        raise _misfit(name, found.problems)


@app.command("quantize")
def quantize(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A swapper, an enhancer or a landmarker.")
    ],
    calibrate: Annotated[
        Path, typer.Option(metavar="VIDEO", help="A film like those to be rendered, or the one.")
    ],
    faces: Annotated[
        int,
        typer.Option(
            min=8,
            max=1024,
            metavar="N",
            show_default=False,
            help="Faces of the film to calibrate with. [64]",
        ),
    ] = 64,
    to: Annotated[
        str, typer.Option(metavar="WORD", help="int8, for processors, or fp16, for GPUs.")
    ] = "int8",
    as_json: Json = False,
) -> None:
    """Make a model's INT8 file, about three times as fast, and keep it if the pictures stay.

    A fifth of the faces is held out: there the INT8 version must give what the float one gives.
    Exit code 4 when it does not. Used with `--precision int8` or `auto`. `--to fp16` makes a file
    in half floats, which only a GPU runs faster: for `--precision fp16`. It needs no calibration
    and is compared on all faces.
    """
    from farm.quantizing import quantize_model  # loads the runtimes: not for `farm --help`

    settings: Settings = context.obj
    if to == "fp16":
        from farm.halving import halve_model

        half = halve_model(ModelStore(settings.cache_dir), name, calibrate, faces)
        if as_json:
            print(json.dumps({"name": name, **asdict(half)}))
            return
        print(f"{half.fidelity} on {half.faces} faces, by its rounding on a processor")
        print(f"{half.path}: used with --precision fp16")
        return
    if to != "int8":
        raise SettingInvalid(f"--to {to}", "int8 or fp16", "choose one of these")
    done = quantize_model(ModelStore(settings.cache_dir), name, calibrate, faces)
    if as_json:
        print(json.dumps({"name": name, **asdict(done)}))
        return
    print(f"{done.fidelity} on {done.held_out} faces that it was not calibrated with")
    print(
        f"{done.fp32_ms:.0f} ms in float, {done.int8_ms:.0f} ms in INT8: "
        f"{done.fp32_ms / done.int8_ms:.1f} times as fast"
    )
    print(f"{done.path}: used with --precision int8 or auto")


def _named(
    store: ModelStore, files: Sequence[Path], name: str | None
) -> Iterator[tuple[Path, str]]:
    """Files with the models that they are by their names; in folders, those that are any."""
    for file in files:
        if file.is_dir():
            inside = [(each, each.stem) for each in sorted(file.iterdir())]
            known = [(each, stem) for each, stem in inside if _is_model(store, each, stem)]
            if not known:
                raise ModelUnknown(
                    f"no model's file in {file}",
                    "files named like models, such as 2dfan4.onnx",
                    "see `farm models list`",
                )
            yield from known
        else:
            yield file, name or store.registry[file.stem].name


def _is_model(store: ModelStore, file: Path, stem: str) -> bool:
    return stem in store.registry and file.suffix == Path(store.registry[stem].filename).suffix


def _demand_fit(spec: ModelSpec, file: Path) -> None:
    from actors.model_check import check_model  # loads the runtimes: not for `farm --help`

    problems = check_model(spec, file).problems
    if problems:
        raise _misfit(spec.name, problems)


def _misfit(name: str, problems: Sequence[str]) -> ModelInexact:
    return ModelInexact(
        f"{name}: {'; '.join(problems)}",
        "what the registry says of it",
        "check that it is the right file: `farm models pull` fetches the one that is known",
    )
