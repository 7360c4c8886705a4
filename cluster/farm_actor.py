"""The farm as a named, detached Ray actor: it is found by name, and restarted when it dies.

It is crash-only: whatever goes wrong in its loop ends the process, and the next one goes on from
the journal, as after SIGKILL.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import ray
from ray import PlacementGroupID
from ray.util import placement_group_table, remove_placement_group
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.pipeline import lane_processes
from actors.toolbox import LaneKit
from cluster.farm import Farm
from cluster.farm_verbs import FarmVerbs
from cluster.job_shelf import Entry
from cluster.journal import Journal
from cluster.preparation import Premises
from cluster.ray_executor import RayExecutor
from cluster.session import Session
from cluster.webhook import Webhook
from scheduler.devices import CPU
from scheduler.errors import NoFarm, SwapfarmError

NAME: Final = "farm"
_GROUPS: Final = "swapfarm-farm-lane-"
NAMESPACE: Final = "swapfarm"
_BREATH: Final = 2.0
"""Seconds between a loop that broke and the next life."""
_GLANCE: Final = 1.0
"""Seconds between two looks at whether an answer can still come."""
_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FarmPlan:
    """What a farm is to be, in each of its lives."""

    folder: Path
    """Of the journal: on the machine where the farm is started."""
    premises: Premises
    lanes: int = 0
    """On all nodes; 0: one for each core, or for each GPU where they are to have some."""
    processes: int = 0
    """Of each lane; 0: one."""
    device: str = CPU
    """That lanes have. Lanes for GPUs can work on jobs for processors, too, but not the other way
    round."""
    gpus: tuple[str, ...] = ()
    """Numbers or UUIDs of this machine's GPUs that lanes may have; none: all."""
    nvtx: bool = False
    """Name the parts of the work in the time line of NVIDIA's profilers."""
    decoder: str = "ffmpeg"
    """What decodes where frames stay on a GPU."""
    local: bool = True
    """The lanes are on this machine."""
    keep_seconds: float = 0.0
    """Jobs that ended so long ago are forgotten; 0: none is."""
    webhook_secret: str = field(default="", repr=False)
    """Signs what is told of jobs; empty: nothing is signed."""


class FarmHost:
    """Hosts a `Farm` in its process. Its methods may be called by several threads at once."""

    def __init__(self, plan: FarmPlan) -> None:
        _log.addHandler(logging.FileHandler(plan.folder / "farm.log", encoding="utf-8"))
        _remove_old_lanes()
        self._plan = plan
        self._kit = LaneKit(cache_dir=plan.premises.cache_dir, nvtx=plan.nvtx, decoder=plan.decoder)
        self._farm = Farm(
            folder=plan.folder,
            premises=plan.premises,
            kit=self._kit,
            open_executor=self._open_executor,
            local=plan.local,
            keep_seconds=plan.keep_seconds,
            webhook=Webhook(
                plan.premises.state_dir / "webhooks", plan.webhook_secret, note=_log.warning
            ),
        )
        self._verbs = FarmVerbs(self._farm)
        threading.Thread(target=self._loop, name="farm", daemon=True).start()

    def _open_executor(self) -> RayExecutor:
        processes = lane_processes(self._plan.processes or 1)
        return RayExecutor(
            Session.inside(),
            self._kit,
            self._plan.lanes,
            processes,
            _GROUPS,
            device=self._plan.device,
        )

    def _loop(self) -> None:
        while True:
            try:
                self._farm.turn()
            except Exception:  # noqa: BLE001  (whatever it is, the next life is the answer)
                _log.exception("the farm's loop broke; the next life goes on from the journal")
                time.sleep(_BREATH)
                os._exit(1)

    def ask(self, verb: str, **facts: Any) -> Any:
        """See `FarmVerbs.ask`."""
        return self._verbs.ask(verb, **facts)


def _remove_old_lanes() -> None:
    """Free the places of lanes of an earlier life: Ray keeps those of an actor that restarts."""
    table: dict[str, dict[str, Any]] = placement_group_table()
    for number, facts in table.items():
        if facts["name"].startswith(_GROUPS) and facts["state"] != "REMOVED":
            remove_placement_group(PlacementGroup(PlacementGroupID.from_hex(number)))


class FarmClient:
    """Talks to a farm through Ray. The session stays the caller's."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    @classmethod
    def find(cls) -> FarmClient:
        """The farm of the cluster that this process has joined.

        Raises:
            NoFarm: there is none.
        """
        try:
            return cls(ray.get_actor(NAME, NAMESPACE))
        except ValueError as error:
            raise NoFarm(
                "no farm is up on this cluster", "a farm", "start it with `farm up`"
            ) from error

    @classmethod
    def start(cls, plan: FarmPlan) -> FarmClient:
        """The farm of this cluster, started on this node if there is none.

        Raises:
            NoFarm: the cluster does not start it.
        """
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        options: dict[str, Any] = {
            "name": NAME,
            "namespace": NAMESPACE,
            "lifetime": "detached",
            "get_if_exists": True,
            "max_restarts": -1,
            "max_task_retries": 5,
            "max_concurrency": 8,
            "num_cpus": 0,
            "scheduling_strategy": here,
        }
        host: Any = ray.remote(FarmHost)
        try:
            return cls(host.options(**options).remote(plan))
        except ray.exceptions.RayError as error:
            raise NoFarm(
                f"the farm does not start ({' '.join(str(error).split())[:200]})",
                "a cluster that starts actors",
                "try again in a moment",
            ) from error

    def ask(
        self,
        verb: str,
        *,
        timeout: float = 60.0,
        unless: Callable[[], bool] = lambda: False,
        **facts: Any,
    ) -> Any:
        """See `FarmVerbs.ask`.

        Args:
            unless: looked at every second; once it is true no answer is waited for.

        Raises:
            SwapfarmError: as there.
            NoFarm: it does not answer.
        """
        until = time.monotonic() + timeout
        call = self._actor.ask.remote(verb, **facts)
        try:
            while not unless() and (left := until - time.monotonic()) > 0:
                if ray.wait([call], timeout=min(left, _GLANCE))[0]:
                    break
            return ray.get(call, timeout=0)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, SwapfarmError):
                raise error.cause from None
            raise
        except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError) as error:
            raise NoFarm(
                f"the farm does not answer ({' '.join(str(error).split())[:200]})",
                "a farm that is up",
                "try again in a moment, or start it again with `farm up`",
            ) from error

    def end(self) -> None:
        """End it for good, whatever it does."""
        ray.kill(self._actor, no_restart=True)


def check_journal(folder: Path) -> list[str]:
    """What is wrong with a farm's journal, in words; nothing when all is well.

    Raises:
        NoFarm: there is no journal.
        StorageError: it cannot be read.
    """
    path = folder / "journal.db"
    if not path.exists():
        raise NoFarm(f"there is no journal {str(path)!r}", "one", "a farm writes it: `farm up`")
    journal = Journal(path)
    try:
        return journal.check()
    finally:
        journal.close()


__all__ = ["Entry", "FarmClient", "FarmHost", "FarmPlan", "check_journal"]
