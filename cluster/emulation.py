"""Several nodes of a Ray on this machine: for tests, and for `farm bench scaling`.

Each has its own id, its own servers, and a GPU that is only a name. They share this machine's
cores, its memory and its files, so speed is measured on them with a swapper that waits.
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Final, Self

import psutil
from ray.cluster_utils import Cluster

from cluster.session import (
    RAY_SETTINGS,
    Session,
    end_writers,
    gpus_shown,
    make_folder,
    own_token,
    remove_folder,
    servers_start,
    use_token,
)
from scheduler.errors import ClusterUnreachable

_STORE: Final = 80 << 20
"""Bytes of each node's object store (its minimum is 75 MiB)."""
_PATIENCE: Final = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 60_000,
    **RAY_SETTINGS,
}
"""A node that was killed is missed after seconds, not after a quarter of a minute: its machine says
at once that nobody listens. One that only shares its cores with many others has time to answer."""


class EmulatedCluster:
    """A cluster of this process, on the loopback only and behind a token. Use as a context manager.

    Args:
        nodes: to begin with.
        cpus: of each.
        gpus: of each, parts too.

    Raises:
        ClusterUnreachable: Ray does not start here.
    """

    def __init__(self, nodes: int, *, cpus: int = 1, gpus: float = 1.0) -> None:
        self._node: dict[str, Any] = {
            "num_cpus": cpus,
            "num_gpus": gpus,
            "object_store_memory": _STORE,
        }
        self._named = 0
        try:
            self._start(nodes)
        except ClusterUnreachable:
            # Ray gives each server half a minute, which a busy machine may need for other things.
            self._start(nodes)

    def _start(self, nodes: int) -> None:
        self._stack = ExitStack()
        self._servers: dict[str, Any] = {}
        try:
            self._folder, lock = make_folder()
            self._stack.callback(remove_folder, self._folder, lock)
            self._stack.callback(self._sweep)  # of servers that came too late Ray knows nothing
            use_token(own_token())
            with servers_start(self._folder), gpus_shown(self._gpu_names()):
                self._cluster = Cluster(
                    initialize_head=True,
                    head_node_args={
                        **self._node,
                        "temp_dir": str(self._folder),
                        "include_dashboard": False,
                        "_system_config": dict(_PATIENCE),  # Ray writes into it
                    },
                )
            self._stack.callback(self._end)
            self.session = self._stack.enter_context(Session.open(self._cluster.address))
            """Of this process with the cluster."""
            self._note(self._cluster.head_node)
            for _ in range(nodes - 1):
                self.add()
        except BaseException as error:
            self._stack.close()
            if not isinstance(error, Exception):
                raise
            # Ray raises bare Exceptions of many kinds.
            raise ClusterUnreachable(
                f"{nodes} emulated nodes do not start on this machine ({error})",
                "memory and time for a Ray of so many nodes",
                "emulate fewer, or name a real cluster with --address",
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def nodes(self) -> list[str]:
        """Ray's ids of the nodes, the head's first."""
        return list(self._servers)

    def add(self) -> str:
        """Another node joins; its id."""
        with servers_start(self._folder), gpus_shown(self._gpu_names()):
            node = self._cluster.add_node(**self._node)
        return self._note(node)

    def kill(self, name: str) -> None:
        """A node dies at once, with all that runs on it. Ray takes some seconds to notice.

        Raises:
            ValueError: it is the head, with which all would die.
        """
        node = self._servers[name]
        if node is self._cluster.head_node:
            raise ValueError("the head of an emulated cluster cannot be killed alone")
        raylets = [psutil.Process(each.process.pid) for each in node.all_processes["raylet"]]
        family = [child for raylet in raylets for child in raylet.children(recursive=True)]
        for process in (*raylets, *family):
            process.kill()
        self._cluster.remove_node(node, allow_graceful=False)
        del self._servers[name]

    def _gpu_names(self) -> tuple[str, ...]:
        """Of the next node: each GPU has a name of its own, as real ones have UUIDs."""
        self._named += 1
        count = math.ceil(self._node["num_gpus"])
        return tuple(f"GPU-emulated-{self._named}-{number}" for number in range(count))

    def _note(self, node: Any) -> str:
        name = str(node.node_id)
        self._servers[name] = node
        return name

    def _sweep(self) -> None:
        end_writers(self._folder, psutil.Process().children(recursive=True))

    def _end(self) -> None:
        family = psutil.Process().children(recursive=True)
        with servers_start(self._folder):
            self._cluster.shutdown()  # type: ignore[no-untyped-call]
        end_writers(self._folder, family)
