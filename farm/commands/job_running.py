"""How ``farm job`` has jobs worked on: here, or by the farm, one or all."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import typer

from farm.commands.giving import give, prepared
from farm.commands.jobs import ENDED, ask
from farm.config import Settings
from farm.progress import open_display, printable
from scheduler.devices import CPU, on_gpu
from scheduler.errors import BatchFailed, Cancelled, JobBusy, SwapfarmError

if TYPE_CHECKING:
    from cluster.job_shelf import Entry
    from farm.job_homes import JobHomes


def ended(row: dict[str, Any]) -> bool:
    """Nobody works on a job any more."""
    return row["state"] in ENDED


def submit_one(context: typer.Context, known: JobHomes, name: str, priority: int) -> None:
    """Give a draft to the farm; what the farm has already stays there as it is.

    Raises:
        NoFarm: none is up.
        SwapfarmError: what is wrong with the job.
    """
    settings: Settings = context.obj
    if known.where(name) == "farm":
        known.drafts.remove(name)  # a death came between its submission and this
        return
    with known.drafts.editing():
        draft = known.editable(name)
        draft.check()
        give(context, settings, draft.specs, name=name, priority=priority)
        known.drafts.remove(name)


def run_one(
    context: typer.Context,
    settings: Settings,
    known: JobHomes,
    name: str,
    as_json: bool,
    *,
    retry: bool,
) -> None:
    """Run a job here, or have the farm go on with it.

    Args:
        retry: go on with what failed or was cancelled.

    Raises:
        SwapfarmError: why it failed, or cannot be run.
    """
    where = known.where(name)
    row = known.row(name)
    if where == "farm":
        if not retry:
            raise JobBusy(
                f"job {name!r} is with the farm",
                "a draft, or a job that was begun here",
                f"watch it: farm watch {name}",
            )
        ask(context, "order", job=name, what="retry")
        _say(known, name, as_json)
        return
    state = row["state"] if row is not None else ""
    if where == "here" and state in ("failed", "cancelled") and not retry:
        raise JobBusy(
            f"job {name!r} " + ("has failed" if state == "failed" else "was cancelled"),
            "a job that has not ended",
            f"go on with it: farm job retry {name}",
        )
    if where == "draft" and retry:
        raise JobBusy(
            f"job {name!r} was never run", "a job that failed", f"run it: farm job run {name}"
        )
    entry = _begin(known, name, settings)
    if state != "completed":
        _work(known, entry, settings, as_json, retry=retry)
    _say(known, name, as_json)


def _begin(known: JobHomes, name: str, settings: Settings) -> Entry:
    """The job to run: as it was begun, or of a draft."""
    import getpass

    from cluster.job_shelf import entry_of

    disk = known.runs.get(name)
    if disk is not None:
        known.drafts.remove(name)
        return disk.shelf.entry(name)
    draft = known.editable(name)
    draft.check()
    steps = [prepared(step, settings) for step in draft.specs]
    return entry_of(steps, user=getpass.getuser(), name=name)


def _work(known: JobHomes, entry: Entry, settings: Settings, as_json: bool, *, retry: bool) -> None:
    from farm.foreground import work_off
    from farm.runner import Lanes, farm_options

    # The steps say what they are worked on with, whoever runs them.
    gpu = [step.device for step in entry.steps if on_gpu(step.device)]
    options = replace(farm_options(settings), device=gpu[0] if gpu else CPU)
    display = open_display(as_json, sys.stdout, sys.stderr, entry.job)
    try:
        with Lanes(settings, options) as lanes:
            display.event("submitted", video=entry.spec.media, output=entry.steps[-1].goal)
            work_off(
                known.runs.place(entry.job),
                entry,
                settings,
                options,
                display,
                lanes,
                retry=retry,
                begun=lambda: known.drafts.remove(entry.job),
            )
    finally:
        display.close()


def _say(known: JobHomes, name: str, as_json: bool) -> None:
    row = known.row(name)
    assert row is not None, name
    if as_json:
        print(json.dumps({"event": "job", **row}), flush=True)
        return
    for step in row["steps"]:
        print(printable(step["output"]))


def run_all(
    known: JobHomes,
    names: Sequence[str],
    one: Callable[[str], object],
    *,
    halt: bool,
    as_json: bool,
) -> None:
    """Do the same with several jobs.

    Args:
        one: does it with one.
        halt: stop at the first that fails.

    Raises:
        BatchFailed: not all went well.
    """
    done: list[str] = []
    failed: dict[str, str] = {}
    for name in names:
        try:
            one(name)
        except Cancelled:
            raise
        except SwapfarmError as error:
            failed[name] = error.code
            if not as_json:
                print(f"{name}: error[{error.code}]: {printable(error.found)}", file=sys.stderr)
            if halt:
                break
        else:
            done.append(name)
    left = [name for name in names if name not in done and name not in failed]
    if as_json:
        print(json.dumps({"event": "jobs", "done": done, "failed": failed, "not_started": left}))
    else:
        print(f"{len(done)} of {len(names)} jobs: " + (", ".join(done) or "none"))
    if failed:
        raise BatchFailed(
            f"{len(failed)} of {len(names)} jobs failed ({', '.join(failed)})"
            + (f", {len(left)} were not started" if left else ""),
            "all of them done",
            "mend what is wrong with them, then `farm job retry-all`",
        )
