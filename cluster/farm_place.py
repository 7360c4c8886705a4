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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final, Protocol

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
_UP: Final = 300.0
"""Seconds in which a farm must come up, ..."""
_DOWN: Final = 90.0
"""... and in which its keeper must end: it may just be starting a Ray."""
_GLANCE: Final = 1.0
"""Seconds between two looks of the keeper at its Ray's servers, which it starts anew when they have
died, ..."""
_LOOK: Final = 10.0
"""... between two questions to the farm, and for an answer."""
_MISSES: Final = 12
"""After so many questions without an answer the keeper starts a new Ray, too."""
_FALLS: Final = 6
"""After so many that did not come up in a row it ends: the next ``farm up`` begins anew."""
_RENEWAL: Final = 90.0
"""Seconds in which those who ask a farm wait for the new Ray of its keeper."""
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


class OwnRay(Protocol):
    """What a keeper needs of its Ray: a `Session`."""

    @property
    def alive(self) -> bool: ...
    def restart(self) -> None: ...


class Answers(Protocol):
    """What a keeper needs of its farm: a `FarmClient`."""

    def ask(self, verb: str, *, timeout: float, unless: Callable[[], bool]) -> Any: ...


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
    with _join(folder):
        yield FarmClient.find()


def _join(folder: Path) -> Session:
    """A session with the farm's Ray. Where its keeper is starting a new one, that is waited for."""
    until = time.monotonic() + _RENEWAL
    while True:
        place = find_place(folder)
        if place is None:
            raise NoFarm(
                "no farm is up here",
                "a farm that takes jobs",
                "start it with `farm up`; `farm submit` without --detach needs none",
            )
        try:
            return Session.open(place.address, token=place.token)
        except ClusterUnreachable:
            if not place.pid or time.monotonic() >= until:
                raise
            time.sleep(_GLANCE)


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

    Raises:
        ClusterUnreachable: the cluster of others on which it lives cannot be joined.
        NoFarm: it does not answer there.
    """
    place = find_place(folder)
    if place is None:
        (folder / _NOTE).unlink(missing_ok=True)
        return False
    try:
        with Session.open(place.address, token=place.token):
            client = FarmClient.find()
            client.ask("drain", seconds=seconds, timeout=seconds + 60.0)
            client.end()
    except (ClusterUnreachable, NoFarm):
        if not place.pid:
            raise
        # Its Ray has died: nothing runs that could be finished, and its keeper starts it no more.
    (folder / _NOTE).unlink(missing_ok=True)
    if place.pid:
        with suppress(psutil.NoSuchProcess):
            _end_keeper(psutil.Process(place.pid))
    return True


def _end_keeper(keeper: psutil.Process) -> None:
    keeper.terminate()
    try:
        keeper.wait(_DOWN)
    except psutil.TimeoutExpired:
        keeper.kill()


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
        client = _begin(plan, session, ended)
        _let_go()
        watch(session, client, lambda: _begin(plan, session, ended), ended)
    note = find_place(plan.folder)
    if note is not None and note.pid == os.getpid():
        (plan.folder / _NOTE).unlink(missing_ok=True)


def watch(
    session: OwnRay, client: Answers, begin: Callable[[], Answers], ended: threading.Event
) -> None:
    """Start a new Ray with the farm in it whenever the Ray or the farm has died, until `ended`.

    Args:
        client: of the farm that is up.
        begin: starts the farm on a new Ray.

    Raises:
        ClusterUnreachable: none has started for so many times in a row.
        NoFarm: nor has the farm.
    """

    def over() -> bool:
        return ended.is_set() or not session.alive

    misses, falls, ask_at = 0, 0, 0.0
    while not ended.wait(_GLANCE * 2**falls):
        if falls or misses >= _MISSES or not session.alive:
            try:
                # Before anybody asks for anything: Ray's death would end this process, too.
                session.restart()
                client, falls, misses = begin(), 0, 0
            except (ClusterUnreachable, NoFarm) as error:
                falls += 1
                print(f"{error.code}: {error}", file=sys.stderr, flush=True)
                if falls >= _FALLS and not ended.is_set():
                    raise
        elif time.monotonic() >= ask_at:
            try:
                client.ask("ping", timeout=_LOOK, unless=over)
                misses = 0
            except NoFarm:  # Ray starts it again, unless Ray itself is broken
                misses += 1
            ask_at = time.monotonic() + _LOOK


def _begin(plan: FarmPlan, session: Session, ended: threading.Event) -> FarmClient:
    """Start the farm on the keeper's Ray, and note where that is."""
    client = FarmClient.start(plan)
    client.ask("ping", timeout=_UP, unless=lambda: ended.is_set() or not session.alive)
    place = FarmPlace(
        address=session.head,
        token=session.token,
        pid=os.getpid(),
        started=psutil.Process().create_time(),
    )
    _write_note(plan.folder, place)
    return client


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
