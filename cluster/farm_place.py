"""Where the farm of this user is: a private note in its folder, and the process that keeps it up.

On this machine a keeper process holds a Ray of our own; it ends with `farm down`, or with its
machine. On a cluster of others the farm lives there, and the note says only where that is.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Final

import psutil
from pydantic import TypeAdapter

import cluster
from cluster.farm_actor import FarmClient, FarmPlan
from cluster.session import Session, own_gpus
from scheduler.devices import on_gpu
from scheduler.errors import ClusterUnreachable, NoFarm, SwapfarmError
from scheduler.failure import Failure

_NOTE: Final = "farm.json"
_LOCK: Final = "farm.lock"
_KEEPER_LOG: Final = "keeper.log"
_UP: Final = 120.0
"""Seconds in which a farm must come up."""
_DOWN: Final = 30.0
_GLANCE: Final = 1.0
"""Seconds between two looks of the keeper at its Ray's servers, which it starts anew when they have
died, ..."""
_LOOK: Final = 10.0
"""... between two questions to the farm, and for an answer."""
_MISSES: Final = 6
"""After so many questions without an answer the keeper ends: the next ``farm up`` begins anew."""
_PLAN: Final = TypeAdapter(FarmPlan)
_FAILURE: Final = TypeAdapter(Failure)


@dataclass(frozen=True, slots=True, kw_only=True)
class FarmPlace:
    """Where a farm is."""

    address: str
    token: str
    pid: int
    """Of the keeper; 0: it lives on a cluster of others."""
    started: float
    """Of the keeper, in Unix seconds: a pid alone may be given to another process."""

    @property
    def up(self) -> bool:
        """Its keeper lives; of a cluster of others only asking tells."""
        if not self.pid:
            return True
        try:
            keeper = psutil.Process(self.pid)
            same = bool(abs(keeper.create_time() - self.started) < 1.0)
            return same and keeper.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


def find_place(folder: Path) -> FarmPlace | None:
    """The farm of a folder; None: none is up."""
    try:
        place = FarmPlace(**json.loads((folder / _NOTE).read_text()))
    except FileNotFoundError:
        return None
    return place if place.up else None


@contextmanager
def farm_of(folder: Path) -> Iterator[FarmClient]:
    """Talk to the farm of a folder.

    Raises:
        NoFarm: none is up.
        ClusterUnreachable: its cluster cannot be joined.
    """
    place = find_place(folder)
    if place is None:
        raise NoFarm(
            "no farm is up here",
            "a farm that takes jobs",
            "start it with `farm up`; `farm submit` without --detach needs none",
        )
    with Session.open(place.address, token=place.token):
        yield FarmClient.find()


def bring_up(plan: FarmPlan, address: str | None) -> tuple[FarmPlace, bool]:
    """Start a farm, if it is not up.

    Args:
        address: of a cluster to start it on; None: a Ray of our own on this machine.

    Returns: where it is; whether it was up before.

    Raises:
        ClusterUnreachable: Ray does not start, or cannot be joined.
        StorageError: the journal cannot be used.
    """
    plan.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    known = find_place(plan.folder)
    if known is not None:
        return known, True
    if address is not None:
        with Session.open(address) as session:
            FarmClient.start(plan).ask("ping", timeout=_UP)
            place = FarmPlace(address=address, token=session.token, pid=0, started=0.0)
            _write_note(plan.folder, place)
            return place, False
    with (plan.folder / _KEEPER_LOG).open("ab") as log:
        # Its answer ends when the keeper, whose parent has gone by then, lets go of the pipe.
        keeper = subprocess.run(
            [sys.executable, "-m", "cluster.farm_keeper"],
            input=_PLAN.dump_json(plan),
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=Path(cluster.__file__).parents[1],
            check=False,
        )
    if keeper.stdout.strip():
        raise _FAILURE.validate_json(keeper.stdout).error()
    found = find_place(plan.folder)
    if found is None:
        raise ClusterUnreachable(
            "the farm did not come up", "a farm", f"see {plan.folder / _KEEPER_LOG}"
        )
    return found, False


def take_down(folder: Path, *, seconds: float) -> bool:
    """End the farm: nothing more begins, and what runs may finish.

    Args:
        seconds: how long running chunks may take; what is not done then is done again another time.

    Returns: False: none was up.
    """
    place = find_place(folder)
    if place is None:
        (folder / _NOTE).unlink(missing_ok=True)
        return False
    with Session.open(place.address, token=place.token):
        client = FarmClient.find()
        client.ask("drain", seconds=seconds, timeout=seconds + 60.0)
        client.end()
    (folder / _NOTE).unlink(missing_ok=True)
    if place.pid:
        keeper = psutil.Process(place.pid)
        keeper.terminate()
        try:
            keeper.wait(_DOWN)
        except psutil.TimeoutExpired:
            keeper.kill()
    return True


def keep(plan: FarmPlan) -> None:
    """Hold a farm up on this machine until SIGTERM. The keeper's work.

    Raises:
        ClusterUnreachable: another keeper holds the folder, or Ray does not start.
        GpuUnavailable: lanes are to have GPUs, and there is none.
    """
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        ended.set()

    lock = os.open(plan.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ClusterUnreachable(
            f"another farm is up in {str(plan.folder)!r}, or comes up now",
            "one farm for each folder",
            "ask it with `farm jobs`, or end it with `farm down`",
        ) from error
    gpus = own_gpus(plan.gpus) if on_gpu(plan.device) else ()
    with Session.open("local", cpus=plan.lanes or None, gpus=gpus) as session:
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, end)
        place, client = _begin(plan, session)
        _let_go()
        misses, ask_at = 0, 0.0
        while misses < _MISSES and not ended.wait(_GLANCE):
            if not session.alive:  # before anybody asks: Ray would end this process, too
                session.restart()
                place, client = _begin(plan, session)
                misses = 0
            elif time.monotonic() >= ask_at:
                try:
                    client.ask("ping", timeout=_LOOK)
                    misses = 0
                except NoFarm:  # Ray starts it again, unless Ray itself is broken
                    misses += 1
                ask_at = time.monotonic() + _LOOK
    note = find_place(plan.folder)
    if note == place:
        (plan.folder / _NOTE).unlink(missing_ok=True)


def _begin(plan: FarmPlan, session: Session) -> tuple[FarmPlace, FarmClient]:
    """Start the farm on the keeper's Ray, and note where that is."""
    client = FarmClient.start(plan)
    client.ask("ping", timeout=_UP)
    place = FarmPlace(
        address=session.head,
        token=session.token,
        pid=os.getpid(),
        started=psutil.Process().create_time(),
    )
    _write_note(plan.folder, place)
    return place, client


def _let_go() -> None:
    """Close the pipe on which whoever started the keeper waits."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def _write_note(folder: Path, place: FarmPlace) -> None:
    temporary = folder / f".{_NOTE}.{os.getpid()}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(json.dumps(asdict(place)))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / _NOTE)


def main() -> int:
    """The keeper process: a plan on stdin; on stdout an error, or nothing once it is up."""
    plan = _PLAN.validate_json(sys.stdin.buffer.read())
    try:
        keep(plan)
    except SwapfarmError as error:
        sys.stdout.buffer.write(_FAILURE.dump_json(Failure.of(error)))
        sys.stdout.flush()
        print(f"{error.code}: {error}", file=sys.stderr)  # once it was up nobody reads stdout
        return error.exit_code
    return 0
