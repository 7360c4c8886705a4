"""Lanes on Ray, kept alive: a lane that dies is built anew while the others go on."""

from __future__ import annotations

import math
import time
from typing import Any, Final

import ray

from actors.pipeline import STAGES, Processes
from actors.toolbox import LaneKit
from cluster.lanes import GROUPS, Lane
from cluster.session import Session
from scheduler.errors import ClusterUnreachable, LaneDied
from scheduler.events import ExecutorEvent, LaneLost, LaneReady, TaskFailed
from scheduler.jobs import LaneTask

_FIRST_LANE: Final = 180.0
"""Seconds in which at least one lane must come up."""
_BACK_OFF: Final = 0.5
"""Seconds before the second attempt in a row to build a lane; doubles with each further one."""
_DEAD: Final = "the Ray on this machine has died and is started again"


class RayExecutor:
    """The `Executor` for a Ray session.

    Args:
        session: open; not closed by this executor, but started anew when its servers die.
        kit: settings of the lanes' processes.
        lanes: how many; the CPUs of the cluster are shared out to them evenly, one each at most.
        processes: the stages that each process of a lane hosts.
        groups: how the names of the lanes' placement groups begin.
    """

    def __init__(
        self,
        session: Session,
        kit: LaneKit,
        lanes: int,
        processes: Processes,
        groups: str = GROUPS,
    ) -> None:
        if sum(processes, ()) != STAGES:
            raise ValueError(f"a lane has each of {STAGES} once, in this order, not {processes}")
        self._session = session
        self._kit = kit
        self._processes = processes
        self._groups = groups
        self._cpus = min(1.0, math.floor(session.cpus / lanes * 10_000) / 10_000)
        self._lanes = [self._build(number) for number in range(lanes)]
        self._builds = [1] * lanes
        """How often in a row each lane was built without coming up."""
        self._build_at = [math.inf] * lanes
        self._refused: list[ExecutorEvent] = []
        """For the next poll: tasks that met no lane, and the ends of lanes that were killed."""
        self._first_by = time.monotonic() + _FIRST_LANE

    @property
    def lanes(self) -> int:
        return len(self._lanes)

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
        for number, due in enumerate(self._build_at):
            if now >= due:
                self._build_at[number] = math.inf
                self._builds[number] += 1
                self._lanes[number] = self._build(number)
        alive = [lane for lane in self._lanes if lane.lost is None]
        events, self._refused = self._refused, []
        events += [event for lane in alive for event in lane.tick(now)]
        events += self._settle({ref: lane for lane in alive for ref in lane.refs}, timeout, events)
        for event in events:
            if isinstance(event, LaneReady):
                self._builds[event.lane] = 0
                self._first_by = math.inf
            elif isinstance(event, LaneLost):
                failures = self._builds[event.lane]
                self._build_at[event.lane] = now + (_BACK_OFF * 2**failures if failures else 0.0)
        if time.monotonic() > self._first_by:
            raise ClusterUnreachable(
                f"no lane came up within {_FIRST_LANE:.0f} s",
                f"a node with {self._cpus} free CPUs for at least one lane",
                "free the cluster's CPUs or lower --lanes",
            )
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
        self._lanes = [self._build(lane.number) for lane in self._lanes]
        self._builds = [1] * self.lanes
        self._build_at = [math.inf] * self.lanes
        self._first_by = time.monotonic() + _FIRST_LANE
        return events

    def _build(self, number: int) -> Lane:
        return Lane(number, self._kit, self._processes, self._cpus, self._groups)

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
