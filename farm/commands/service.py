"""``farm up``, ``farm down`` and ``farm journal``: the farm as a service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from farm.config import Settings
from scheduler.devices import DEVICES
from scheduler.errors import SettingInvalid

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]

journal = typer.Typer(help="The farm's journal of all jobs.", no_args_is_help=True)


def farm_folder(settings: Settings) -> Path:
    """Where this user's farm keeps its journal."""
    return settings.state_dir / "farm"


def up(
    context: typer.Context,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="HOST:PORT",
            show_default=False,
            help="Start it on this Ray cluster. [on this machine, with a Ray of its own]",
        ),
    ] = None,
    lanes: Annotated[
        int,
        typer.Option(
            "--lanes",
            min=0,
            metavar="N",
            help="Chunks worked on at once, on all nodes; 0: one for each core, or for each GPU "
            "with --device cuda.",
        ),
    ] = 0,
    device: Annotated[
        str,
        typer.Option(
            "--device",
            metavar="DEVICE",
            show_default=False,
            help="What its lanes have: cpu, cuda or tensorrt. Jobs that were submitted for a GPU "
            "need lanes with one. [that of the settings, cpu]",
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """Start a farm that takes jobs and works them off, whether or not you stay logged in.

    It keeps a journal: after a crash, a reboot or `farm down` the next `farm up` goes on where it
    ended. A farm that is up stays as it is.

    - `farm up`, then `farm submit film.mp4 -s face.jpg --detach` and `farm jobs`
    - `farm up --address 10.0.0.1:6379`
    """
    from cluster.farm_actor import FarmPlan
    from cluster.farm_place import bring_up
    from farm.runner import premises
    from farm.tidying import DAY

    settings: Settings = context.obj
    plan = FarmPlan(
        folder=farm_folder(settings).absolute(),
        premises=premises(settings),
        lanes=lanes or settings.lanes,
        processes=settings.lane.processes,
        device=_checked(device) if device else settings.device,
        gpus=settings.device_ids,
        nvtx=settings.lane.nvtx,
        decoder=settings.lane.decoder,
        local=address is None,
        keep_seconds=settings.keep_days * DAY,
        webhook_secret=settings.webhooks.secret.get_secret_value(),
    )
    place, before = bring_up(plan, address)
    facts: dict[str, Any] = {
        "up": True,
        "before": before,
        "address": place.address,
        "pid": place.pid or None,
        "folder": str(plan.folder),
    }
    if as_json:
        print(json.dumps(facts))
        return
    print(f"the farm {'was up already' if before else 'is up'} at {place.address}")
    print("  next: farm submit FILM -s FACE --detach; farm jobs; farm down")


def _checked(device: str) -> str:
    if device not in DEVICES:
        raise SettingInvalid(
            f"--device {device}", "one of " + ", ".join(DEVICES), "correct --device"
        )
    return device


def down(
    context: typer.Context,
    within: Annotated[
        float,
        typer.Option(
            "--within",
            min=0.0,
            metavar="SECONDS",
            help="How long chunks that are under way may take; what is not done then is done "
            "again at the next `farm up`.",
        ),
    ] = 60.0,
    as_json: Json = False,
) -> None:
    """End the farm: nothing more begins, chunks under way finish, jobs wait for the next `farm up`.

    - `farm down`
    - `farm down --within 0`: at once; the chunks under way are done again
    """
    from cluster.farm_place import take_down

    settings: Settings = context.obj
    was = take_down(farm_folder(settings), seconds=within)
    if as_json:
        print(json.dumps({"up": False, "before": was}))
    else:
        print("the farm is down" if was else "no farm was up")


@journal.command("check")
def check(context: typer.Context, as_json: Json = False) -> None:
    """Look through the whole journal: can it be read, and does all hold that must?

    Tells every event to a new ledger again and compares what follows with what followed then. May
    be run while a farm is up.

    Exits with 5 when something is wrong.
    """
    from cluster.farm_actor import check_journal

    settings: Settings = context.obj
    found = check_journal(farm_folder(settings))
    if as_json:
        print(json.dumps({"ok": not found, "found": found}))
    else:
        print("\n".join(found) if found else "the journal is whole")
    if found:
        raise typer.Exit(5)
