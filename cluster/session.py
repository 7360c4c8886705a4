"""Starts a Ray of our own on this machine, or joins one that is there.

A Ray of our own listens on the loopback interface only, asks every caller for a token that lives
in this process and its children alone (no file in the user's home), and keeps its logs and sockets
in a private folder that goes with it. After SIGKILL of this process its servers die at once
and its lanes within two seconds. Ray's two agents stay for a minute, at most until the next session
starts, which also removes the folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import psutil
import ray
from ray._private import ray_constants
from ray._private import worker as ray_worker
from ray._private.node import Node
from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

import cluster
from actors.gpu import no_gpu
from cluster.gpus import chosen, machine_gpus
from cluster.layout import NodeRoom
from scheduler.errors import ClusterUnreachable

LOCAL: Final = "local"
_PREFIX: Final = "swapfarm-ray-"
_LONGEST: Final = 40
"""Characters that a session folder's path may have: unix sockets lie deep in it and have 107."""
_STORE: Final = 80 << 20
"""Bytes of Ray's object store (its minimum is 75 MiB): no frame ever goes there."""
_SERVERS: Final = frozenset({"raylet", "gcs_server"})
"""Of Ray's processes those without which nothing goes on."""
RAY_SETTINGS: Final = {
    # For machines that do much else. After Ray's own 60 seconds a process of its that has not
    # loaded Ray is killed and started again, so that none may ever come up; and where it was one
    # of those that Ray starts ahead, whoever starts Ray waits for it for ever.
    "worker_register_timeout_seconds": 180,
    "prestart_worker_first_driver": False,
    # Nobody asks for the history of calls, and when its keeper is dead it is waited for at the end.
    "task_events_report_interval_ms": 0,
}
"""How Ray's servers that we start are set up."""
_ONLOOKERS: Final = ("start_api_server", "start_monitor", "start_log_monitor")
_NEAR: Final = ("127.0.0.1", "localhost", "[::1]")
_TOKEN: Final = "RAY_AUTH_TOKEN"
_TOKEN_MODE: Final = "RAY_AUTH_MODE"
_NOTES: Final = "RAY_TMPDIR"
_VISIBLE: Final = "CUDA_VISIBLE_DEVICES"
_LOOPBACK: Final = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Off, Ray binds to the loopback interface alone, on every system. It is read by each process of
Ray from its environment, by this one at the import of Ray: hence the constant below, too."""


class Session:
    """A connection of this process to a Ray cluster. One at a time; use as a context manager."""

    def __init__(
        self,
        *,
        local: bool,
        folder: Path | None = None,
        lock: int = -1,
        cpus: int = 0,
        gpus: tuple[str, ...] = (),
    ) -> None:
        self.local = local
        """True: a Ray of our own, which ends with this session."""
        self._folder = folder
        self._lock = lock
        self._own_cpus = cpus
        self._own_gpus = gpus

    @classmethod
    def open(
        cls,
        address: str | None = None,
        *,
        cpus: int | None = None,
        gpus: tuple[str, ...] = (),
        token: str = "",
    ) -> Self:
        """Joins the cluster at ``address`` or RAY_ADDRESS; without either starts one of our own.

        Args:
            address: HOST:PORT of a cluster's head; "local" starts one whatever RAY_ADDRESS says.
            cpus: that a Ray of our own shares out; None: the cores this process may run on.
            gpus: that it shares out, as CUDA_VISIBLE_DEVICES names them (`own_gpus`).
            token: of the cluster; empty: RAY_AUTH_TOKEN, if it wants one.

        Raises:
            ClusterUnreachable: nobody answers at the address, or Ray does not start here.
        """
        address = cls.address(address)
        if token:
            use_token(token)
        if address == LOCAL:
            return cls._start(cpus or len(os.sched_getaffinity(0)), gpus)
        return cls._join(address)

    @property
    def token(self) -> str:
        """What callers of a Ray of our own must have."""
        return os.environ.get(_TOKEN, "")

    @property
    def head(self) -> str:
        """HOST:PORT at which others join."""
        return str(ray.get_runtime_context().gcs_address)

    @staticmethod
    def address(given: str | None = None) -> str:
        """Where `open` would join; ``LOCAL``: nowhere, it would start a Ray of our own."""
        return given or os.environ.get("RAY_ADDRESS") or LOCAL

    @classmethod
    def inside(cls) -> Self:
        """The cluster that this process is a part of. Not to be closed."""
        return cls(local=False, folder=None, lock=-1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def cpus(self) -> float:
        """CPUs that the cluster has for lanes, all nodes together."""
        return sum(node.cpus for node in self.nodes())

    def nodes(self) -> tuple[NodeRoom, ...]:
        """The nodes that live, in an order that depends on nothing else."""
        return tuple(
            NodeRoom(
                name=node["NodeID"],
                host=node["NodeManagerHostname"] or node["NodeManagerAddress"],
                cpus=node["Resources"].get("CPU", 0.0),
                gpus=node["Resources"].get("GPU", 0.0),
            )
            for node in sorted(ray.nodes(), key=lambda node: str(node["NodeID"]))  # type: ignore[no-untyped-call]
            if node["Alive"]
        )

    @property
    def alive(self) -> bool:
        """False once a server of a Ray of our own has died: nothing of it can be used any more.

        Asks the system, not Ray, which would wait a minute and then end this process.
        """
        node = _node()
        if not self.local or node is None:
            return True
        return _SERVERS.isdisjoint(kind for kind, _ in node.dead_processes())

    def restart(self) -> None:
        """Puts a new Ray in the place of one of our own whose servers have died or do not answer.

        Raises:
            ClusterUnreachable: it does not start. It may be asked to once more.
        """
        self._end(gently=False)
        fresh = self._start(self._own_cpus, self._own_gpus)
        self._folder, self._lock = fresh._folder, fresh._lock

    def close(self) -> None:
        """Leaves the cluster; one of our own ends, and its folder is removed."""
        self._end(gently=self.alive)

    def _end(self, *, gently: bool) -> None:
        node = _node()
        if gently or node is None:
            family = psutil.Process().children(recursive=True) if self.local else []
        else:
            # Ray would ask the dead to end the living, and orphans are nobody's children.
            node.kill_all_processes(check_alive=False, allow_graceful=False)
            family = list(psutil.process_iter())
        ray.shutdown()
        if self._folder is not None:
            end_writers(self._folder, family)  # one may hang, and write when it wakes
            remove_folder(self._folder, self._lock)
            self._folder = None

    @classmethod
    def _start(cls, cpus: int, gpus: tuple[str, ...]) -> Self:
        try:
            return cls._try_start(cpus, gpus)
        except ClusterUnreachable:
            # Ray gives its servers half a minute, which a busy machine may need for other things.
            return cls._try_start(cpus, gpus)

    @classmethod
    def _try_start(cls, cpus: int, gpus: tuple[str, ...]) -> Self:
        sweep_sessions()
        folder, lock = make_folder()
        # Ray turns its token check on by itself; with a token at hand it writes none to ~/.ray.
        own_token()
        try:
            with _ray_starts(), _on_loopback(), _no_onlookers(), gpus_shown(gpus):
                ray.init(
                    address="local",
                    num_cpus=cpus,
                    num_gpus=len(gpus),
                    include_dashboard=False,
                    object_store_memory=_STORE,
                    log_to_driver=False,
                    logging_level=logging.CRITICAL,
                    _temp_dir=str(folder),
                    _system_config=dict(RAY_SETTINGS),  # Ray writes into it
                )
        except BaseException as error:
            ray.shutdown()
            # Of servers that came too late Ray knows nothing.
            end_writers(folder, psutil.Process().children(recursive=True))
            remove_folder(folder, lock)
            if not isinstance(error, Exception):
                raise  # a signal that waited
            # Ray raises bare Exceptions of many kinds.
            raise ClusterUnreachable(
                f"Ray does not start on this machine ({error})",
                "a local Ray",
                "try again; `farm doctor` checks this machine, and --no-ray works without Ray",
            ) from error
        return cls(local=True, folder=folder, lock=lock, cpus=cpus, gpus=gpus)

    @classmethod
    def _join(cls, address: str) -> Self:
        host, _, port = address.rpartition(":")
        try:
            # Ray itself would try for a minute, then end in a riddle.
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
            # Ray would look for the loopback's address on the network.
            near = _on_loopback() if host in _NEAR else contextlib.nullcontext()
            with _ray_starts(), near, _one_try():
                ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
        except Exception as error:  # as above
            raise ClusterUnreachable(
                f"no Ray cluster can be joined at {address!r} ({error})",
                "HOST:PORT of a Ray head of the same Ray and Python version, and its token in "
                "RAY_AUTH_TOKEN if it wants one",
                "check --address and RAY_ADDRESS; without both a Ray on this machine is used",
            ) from error
        return cls(local=False)


def _node() -> Any:
    """Ray's own view of the servers that this process started; None without any."""
    return ray_worker._global_node


def own_gpus(wanted: Sequence[str] = ()) -> tuple[str, ...]:
    """The GPUs that a Ray of our own is to share out, as CUDA_VISIBLE_DEVICES names them: by UUID
    where that variable is not set, so that slices of GPUs (MIG) are found, too.

    Args:
        wanted: numbers or UUIDs of some; none: all.

    Raises:
        GpuUnavailable: there is none, or a wanted one is not there.
    """
    gpus = machine_gpus()
    visible = os.environ.get(_VISIBLE)
    try:
        found = chosen(gpus, visible, wanted)
    except LookupError as error:
        shown = visible if visible is not None else ", ".join(gpu.uuid for gpu in gpus)
        raise no_gpu(f"no GPU {error} among those that are visible ({shown or 'none'})") from error
    if not found:
        raise no_gpu(
            "no NVIDIA GPU is visible here"
            + (f" ({_VISIBLE} is {visible!r})" if visible is not None else "")
        )
    return found


@contextlib.contextmanager
def gpus_shown(gpus: tuple[str, ...]) -> Iterator[None]:
    """Ray gives lanes the names that it finds in this variable when it starts."""
    before = os.environ.get(_VISIBLE)
    if gpus:
        os.environ[_VISIBLE] = ",".join(gpus)
    try:
        yield
    finally:
        if gpus:
            os.environ.pop(_VISIBLE)
        if before is not None:
            os.environ[_VISIBLE] = before


def own_token() -> str:
    """The token of a Ray that this process starts.

    Ray reads it once in a process, so a later session of this one must have the same.
    """
    return os.environ.setdefault(_TOKEN, secrets.token_hex(32))


def use_token(token: str) -> None:
    """Make Ray show a token from now on; it has read another one, or none, at its import."""
    os.environ[_TOKEN] = token
    os.environ[_TOKEN_MODE] = "token"
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


@contextlib.contextmanager
def _ray_starts() -> Iterator[None]:
    """What has to be around ``ray.init``, and to be as before afterwards."""
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    # Else a thread of Ray's writes on our stdout about each process that dies.
    ray_worker._worker_logs_enabled = False
    # Workers look for modules in the folder in which Ray was started, first of all: it is the one
    # that holds our packages, not one of the user's that may have a folder of the same name.
    with contextlib.chdir(Path(cluster.__file__).parents[1]), _signals_wait():
        yield


@contextlib.contextmanager
def _signals_wait() -> Iterator[None]:
    """SIGINT and SIGTERM come when the block is done: a Ray interrupted while it starts leaves
    processes behind and crashes at exit. Ray's own handler of SIGTERM is taken away."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    both = (signal.SIGINT, signal.SIGTERM)
    # Ray replaces the handler of SIGTERM, so a signal is noted until then only; it takes a while.
    before = {each: signal.signal(each, lambda number, _: came.append(number)) for each in both}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    if came:
        signal.raise_signal(came[0])


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    os.environ[_LOOPBACK] = "0"
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
        del os.environ[_LOOPBACK]


@contextlib.contextmanager
def _one_try() -> Iterator[None]:
    """A head that dies while it is joined is given up after forty seconds: Ray would try twenty
    times, a quarter of an hour."""
    before = ray_constants.NUM_REDIS_GET_RETRIES
    ray_constants.NUM_REDIS_GET_RETRIES = 1
    try:
        yield
    finally:
        ray_constants.NUM_REDIS_GET_RETRIES = before


@contextlib.contextmanager
def _no_onlookers() -> Iterator[None]:
    """Ray's dashboard, its monitor for autoscaling and the one for logs are not started: three
    Pythons that nobody here asks for anything. A start of Ray waits for the first of them."""
    before = {name: getattr(Node, name) for name in _ONLOOKERS}
    for name in _ONLOOKERS:
        setattr(Node, name, lambda _, **__: None)
    try:
        yield
    finally:
        for name, method in before.items():
            setattr(Node, name, method)


@contextlib.contextmanager
def servers_start(folder: Path) -> Iterator[None]:
    """What has to be around the start and the end of Ray's servers without ``ray.init``: they keep
    to the loopback, and note their address in ``folder`` instead of the one file that the machine
    has for it."""
    (folder / "ray").mkdir(exist_ok=True)
    before = os.environ.get(_NOTES)
    os.environ[_NOTES] = str(folder)
    try:
        with _ray_starts(), _on_loopback(), _no_onlookers():
            yield
    finally:
        os.environ.pop(_NOTES)
        if before is not None:
            os.environ[_NOTES] = before


def make_folder() -> tuple[Path, int]:
    """A private folder, and the descriptor that locks it as long as this process lives."""
    parent = tempfile.gettempdir()
    if len(parent) + len(_PREFIX) + 9 > _LONGEST:
        parent = "/tmp"
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return folder, lock
        os.close(lock)  # another session's sweep was here before the lock


def sweep_sessions() -> None:
    """Removes what sessions left whose process was killed: folders, and agents that linger."""
    for parent in {tempfile.gettempdir(), "/tmp"}:
        for folder in Path(parent).glob(f"{_PREFIX}*"):
            try:
                lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except (FileNotFoundError, PermissionError):
                continue  # swept by another start, or another user's
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
            else:
                end_writers(folder, psutil.process_iter())
                remove_folder(folder, lock)


def end_writers(folder: Path, processes: Iterable[psutil.Process]) -> None:
    """Kills those of some processes that were started for a dead session: its agents and workers.

    Those that have only joined it, as who asks a farm does, may have files of it open, too.
    """
    for process in processes:
        try:
            if process.pid != os.getpid() and _started_for(folder, process):
                process.kill()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # gone by itself, or another user's


def _started_for(folder: Path, process: psutil.Process) -> bool:
    command = process.cmdline()
    if any(f"{folder}/" in argument for argument in command):
        return True
    # Workers write their actor's name over their command.
    worker = bool(command) and command[0].startswith("ray::")
    return worker and any(file.path.startswith(f"{folder}/") for file in process.open_files())


def remove_folder(folder: Path, lock: int) -> None:
    # Ray's processes may still be writing their last words into it.
    for _ in range(3):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            break
    os.close(lock)
