"""Lanes on Ray, kept alive: a lane that dies is built anew while the others go on.

Each node has its lanes. Those of a node that dies are not built again; a node that joins later gets
some, too.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection
from dataclasses import replace
from typing import Any, Final

import ray
from ray.exceptions import RayError

from actors.pipeline import STAGES, Processes
from actors.toolbox import LaneKit
from cluster.lanes import GROUPS, Lane
from cluster.layout import NodeRoom, Share, deal
from cluster.session import Session
from scheduler.devices import CPU, on_gpu
from scheduler.errors import ClusterUnreachable, LaneDied
from scheduler.events import ExecutorEvent, LaneLost, LaneReady, TaskFailed
from scheduler.jobs import LaneTask

_FIRST_LANE: Final = 180.0
"""Seconds in which a node must have room for at least one lane, ..."""
_SLOW_LANE: Final = 600.0
"""... and in which one must be up: loading it may take a while on a machine that does much else."""
_BACK_OFF: Final = 0.5
"""Seconds before the second attempt in a row to build a lane; doubles with each further one."""
_LOOK: Final = 2.0
"""Seconds between two looks at the nodes of a cluster of others."""
_DEAD: Final = "the Ray on this machine has died and is started again"


class RayExecutor:
    """The `Executor` for a Ray session.

    Args:
        session: open; not closed by this executor, but started anew when its servers die.
        kit: settings of the lanes' processes.
        lanes: how many at most, shared out to the nodes evenly (`cluster.layout.deal`); 0: as many
            as the nodes bear.
        processes: the stages that each process of a lane hosts.
        groups: how the names of the lanes' placement groups begin.
        among: ids of the nodes that may have lanes; none: all, also those that join.
        device: of the jobs (``scheduler.devices``): lanes for a GPU have one each, or a part of
            one; others take none, however many there are.
    """

    def __init__(
        self,
        session: Session,
        kit: LaneKit,
        lanes: int,
        processes: Processes,
        groups: str = GROUPS,
        among: Collection[str] = (),
        device: str = CPU,
    ) -> None:
        if sum(processes, ()) != STAGES:
            raise ValueError(f"a lane has each of {STAGES} once, in this order, not {processes}")
        self._session = session
        self._kit = kit
        self._processes = processes
        self._groups = groups
        self._among = among
        self._device = device
        self._wanted = lanes
        self._lanes: list[Lane] = []
        self._builds: list[int] = []
        """How often in a row each lane was built without coming up."""
        self._build_at: list[float] = []
        self._retired: set[int] = set()
        """Lanes whose node is dead; a node that joins later takes their numbers first."""
        self._look_at = 0.0
        self._first_by = self._last_by = 0.0
        self._refused: list[ExecutorEvent] = []
        """For the next poll: tasks that met no lane, and the ends of lanes that were killed."""
        self._begin()

    @property
    def lanes(self) -> int:
        """Numbers that lanes have or had; more when a node joins."""
        return len(self._lanes)

    @property
    def nodes(self) -> int:
        """How many nodes have lanes."""
        live = (lane for lane in self._lanes if lane.number not in self._retired)
        return len({lane.share.node for lane in live})

    def start(self, task: LaneTask, lane: int) -> None:
        if self._lanes[lane].idle:
            self._lanes[lane].start(task, time.monotonic())
        else:  # it died while the caller still took it for idle
            error = LaneDied(
                f"lane {lane} is gone", "a lane that is up", "nothing: the chunk is tried again"
            )
            self._refused.append(
                TaskFailed(key=task.key, attempt=task.attempt, lane=lane, error=error)
            )

    def stop(self, lane: int, attempt: int) -> None:
        if self._lanes[lane].lost is None:
            self._lanes[lane].stop(attempt)

    def kill(self, lane: int, why: str) -> None:
        if self._lanes[lane].lost is None:
            self._refused += self._lanes[lane].end(why)

    def poll(self, timeout: float) -> list[ExecutorEvent]:
        """See `Executor`.

        Raises:
            ClusterUnreachable: the cluster has had no place for any lane for minutes, or a Ray of
                our own has died and does not start again.
        """
        if not self._session.alive:
            return self._revive()
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK
            self._look(now)
        for number, due in enumerate(self._build_at):
            if now >= due:
                self._build_at[number] = math.inf
                self._builds[number] += 1
                self._lanes[number] = self._build(number, self._lanes[number].share)
        alive = [lane for lane in self._lanes if lane.lost is None]
        events, self._refused = self._refused, []
        events += [event for lane in alive for event in lane.tick(now)]
        events += self._settle({ref: lane for lane in alive for ref in lane.refs}, timeout, events)
        for event in events:
            if isinstance(event, LaneReady):
                self._builds[event.lane] = 0
                self._first_by = math.inf
            elif isinstance(event, LaneLost) and event.lane not in self._retired:
                failures = self._builds[event.lane]
                self._build_at[event.lane] = now + (_BACK_OFF * 2**failures if failures else 0.0)
        if time.monotonic() > self._first_by:
            self._wait_on()
        return events

    def pids(self) -> dict[int, dict[str, int]]:
        """The process of each stage of each lane that is up: for tests and for a look inside."""
        return {
            lane.number: {
                stage: place.pid
                for process, place in sorted(lane.places.items())
                for stage in self._processes[process]
            }
            for lane in self._lanes
            if lane.lost is None
        }

    def places(self) -> dict[int, dict[str, str]]:
        """The node of each stage of each lane that is up: for tests and for a look inside."""
        return {
            lane.number: {
                stage: place.node
                for process, place in sorted(lane.places.items())
                for stage in self._processes[process]
            }
            for lane in self._lanes
            if lane.lost is None
        }

    def close(self) -> None:
        alive = self._session.alive
        for lane in self._lanes:
            if lane.lost is None:
                if alive:
                    lane.kill()
                else:
                    lane.abandon(_DEAD)

    def _revive(self) -> list[ExecutorEvent]:
        """A Ray whose servers died is gone with all its lanes; there is a new one of each."""
        events, self._refused = self._refused, []
        for lane in self._lanes:
            if lane.lost is None:
                events += lane.abandon(_DEAD)
        self._session.restart()
        self._begin()
        return events

    def _begin(self) -> None:
        """Lanes on all nodes that there are now."""
        shares = deal(self._nodes(), self._wanted, processes=len(self._processes))
        self._lanes = [self._build(number, share) for number, share in enumerate(shares)]
        self._builds = [1] * len(shares)
        self._build_at = [math.inf] * len(shares)
        self._retired = set()
        # A Ray of our own is this machine, and no other node can join it.
        self._look_at = math.inf if self._session.local else time.monotonic() + _LOOK
        self._expect_first(time.monotonic())

    def _expect_first(self, now: float) -> None:
        """No lane is up: give one time to come."""
        self._first_by, self._last_by = now + _FIRST_LANE, now + _SLOW_LANE

    def _wait_on(self) -> None:
        """No lane has come up so far: wait for one that only takes long."""
        if self._first_by >= self._last_by:
            raise ClusterUnreachable(
                f"no lane came up within {_SLOW_LANE:.0f} s",
                "a machine on which a lane loads in that time",
                "give it less to do, or lower --lanes",
            )
        if not any(lane.placed for lane in self._lanes):
            raise ClusterUnreachable(
                f"no lane found a place within {_FIRST_LANE:.0f} s",
                "a node with free cores, or a free GPU, for at least one lane",
                "free the cluster's resources or lower --lanes",
            )
        self._first_by = self._last_by

    def _look(self, now: float) -> None:
        """Give up the lanes of nodes that have died, and build some on nodes without any."""
        try:
            nodes = self._nodes()
        except RayError:
            return  # whoever knows the nodes is away; lanes tell for themselves how they are
        live = [lane for lane in self._lanes if lane.number not in self._retired]
        known = {lane.share.node for lane in live}
        for share in self._shares([node for node in nodes if node.name not in known], len(live)):
            self._add(share)
        alive = {node.name for node in nodes}
        for lane in live:
            if lane.share.node not in alive:
                self._retired.add(lane.number)
                self._build_at[lane.number] = math.inf
                if lane.lost is None:
                    self._refused += lane.end(f"its node {lane.share.node} is dead")
        if len(self._retired) == self.lanes and self._first_by == math.inf:
            self._expect_first(now)  # another node has as long to come

    def _nodes(self) -> list[NodeRoom]:
        nodes = [
            node for node in self._session.nodes() if not self._among or node.name in self._among
        ]
        if on_gpu(self._device):
            return [node for node in nodes if node.gpus > 0]
        return [replace(node, gpus=0.0) for node in nodes]

    def _shares(self, fresh: list[NodeRoom], used: int) -> tuple[Share, ...]:
        """The lanes of nodes that have none, next to those that there are."""
        if self._wanted and used >= self._wanted:
            return ()
        return deal(fresh, self._wanted and self._wanted - used, processes=len(self._processes))

    def _add(self, share: Share) -> None:
        if self._retired:
            number = min(self._retired)
            self._retired.remove(number)
            self._lanes[number] = self._build(number, share)
            self._builds[number] = 1
        else:
            self._lanes.append(self._build(self.lanes, share))
            self._builds.append(1)
            self._build_at.append(math.inf)

    def _build(self, number: int, share: Share) -> Lane:
        return Lane(number, self._kit, self._processes, share, self._groups)

    def _settle(
        self, calls: dict[Any, Lane], timeout: float, so_far: list[ExecutorEvent]
    ) -> list[ExecutorEvent]:
        """Waits for the first of the calls and hands all that are done to their lanes."""
        if not calls:
            time.sleep(timeout)  # every lane is gone and waits to be built anew
            return []
        done, waiting = ray.wait(list(calls), num_returns=1, timeout=0 if so_far else timeout)
        if done and waiting:
            done += ray.wait(waiting, num_returns=len(waiting), timeout=0)[0]
        return [
            event
            for ref in done
            if calls[ref].lost is None
            for event in calls[ref].settle(ref, time.monotonic())
        ]
