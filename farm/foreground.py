"""Jobs of several steps that are worked on here and now: each is a farm of its own for one job.

So a death costs no more than the chunks under way, and what is done stays done in a retry.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from actors.toolbox import LaneKit
from cluster.farm import Farm
from cluster.farm_disk import FarmDisk
from cluster.farm_verbs import FarmVerbs
from cluster.farm_view import snapshot
from cluster.folders import discard, release
from cluster.job_shelf import Entry
from cluster.lane_reports import FALLS
from cluster.publish import partials_of
from cluster.session import LOCAL, Session
from cluster.webhook import Webhook
from farm.cancelling import cancelling
from farm.config import Settings
from farm.progress import Display
from farm.runner import FarmOptions, Lanes, premises
from scheduler.errors import Cancelled, JobBusy
from scheduler.history import CancelAsked, Retried
from scheduler.progress import JobSnapshot

_TOLD: Final = ("model", "note")
"""Events of a job's log that people see while they wait."""


class Runs:
    """Jobs that were begun in the foreground.

    Args:
        folder: each has a folder of its own in it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def all(self) -> Iterator[FarmDisk]:
        """Those that were begun, by name."""
        for path in sorted(self._folder.glob("[!.]*")):
            disk = FarmDisk(path)
            if disk.there and disk.shelf.jobs():
                yield disk

    def folders(self) -> frozenset[str]:
        """Names of the folders in which their steps keep tables and segments."""
        return frozenset[str]().union(*(disk.shelf.folders() for disk in self.all()))

    def get(self, name: str) -> FarmDisk | None:
        """A job that was begun here."""
        return next((disk for disk in self.all() if disk.folder.name == name), None)

    def place(self, name: str) -> FarmDisk:
        """Where a job is worked on, whether or not it was begun."""
        return FarmDisk(self._folder / name)

    def remove(self, name: str) -> bool:
        """Forget a job with all that is left of it but its results. False: it is worked on."""
        disk = self.place(name)
        if not disk.there:
            return True
        try:
            with disk.held():
                for job in disk.shelf.jobs():
                    for step in disk.shelf.entry(job).steps:
                        release(Path(step.folder), partials_of(step))
                discard(disk.folder)
        except JobBusy:
            return False
        return True


def work_off(
    disk: FarmDisk,
    entry: Entry,
    settings: Settings,
    options: FarmOptions,
    display: Display,
    lanes: Lanes,
    *,
    retry: bool,
    begun: Callable[[], object],
) -> dict[str, Any]:
    """Work on a job until it ends; what is known of it then.

    Args:
        entry: the job, if it was not begun yet.
        retry: go on with it where it failed or was cancelled.
        begun: called once the job is known here, whatever happens then.

    Raises:
        SwapfarmError: why it failed.
        Cancelled: Ctrl-C or SIGTERM; what is done stays done.
        JobBusy: another process works on it.
        StorageError: the journal cannot be written.
    """
    name = entry.job
    with disk.held(), cancelling():
        farm = Farm(
            folder=disk.folder,
            premises=premises(settings),
            kit=LaneKit(cache_dir=settings.cache_dir),
            open_executor=lambda: lanes.open(display),
            local=not options.ray or Session.address(options.address) == LOCAL,
            webhook=Webhook(
                settings.state_dir / "webhooks",
                settings.webhooks.secret.get_secret_value(),
                note=lambda sentence: display.event("note", sentence),
            ),
            falls=FALLS,
            overhear=lambda event, words, /, **facts: (
                display.event(event, words, **facts) if event in _TOLD else None
            ),
        )
        try:
            farm.submit(entry)
            begun()
            if retry:
                farm.tell(Retried(job=name))
            _turn(farm, name, display)
            failure = farm.job(name).failure
            if failure is not None:
                raise failure.error()
            facts: dict[str, Any] = FarmVerbs(farm).show(name)
            return facts
        except KeyboardInterrupt as interrupt:
            farm.tell(CancelAsked(job=name))
            farm.turn(0.0)
            raise Cancelled(
                f"job {name!r} was cancelled",
                "time to finish",
                f"what is done is kept: go on with farm job retry {name}",
            ) from interrupt
        finally:
            farm.close()


def _turn(farm: Farm, name: str, display: Display) -> None:
    speed = _Speed()
    while True:
        with farm.lock:
            now, state = snapshot(farm, name), farm.job(name).state
        display.update(speed.added(now, time.monotonic()))
        if state.ended:
            farm.turn(0.0)  # what follows from the end is done, too
            return
        farm.turn()


class _Speed:
    """Frames a second of the phase that a job is in, since it was first seen in it."""

    def __init__(self) -> None:
        self._phase = ""
        self._began = 0.0
        self._frames = 0

    def added(self, seen: JobSnapshot, now: float) -> JobSnapshot:
        phase = f"{seen.phase} {seen.message}"
        if phase != self._phase:
            self._phase, self._began, self._frames = phase, now, seen.frames_done
        seconds, done = now - self._began, seen.frames_done - self._frames
        if seconds <= 0 or done <= 0:
            return seen
        fps = done / seconds
        return replace(seen, fps=fps, eta_seconds=(seen.frames_total - seen.frames_done) / fps)
