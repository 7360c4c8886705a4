"""Lanes on Ray, kept alive: a lane that dies is built anew while the others go on."""

from __future__ import annotations

import math
import time
from typing import Final

import ray

from actors.pipeline import STAGES, Processes
from actors.toolbox import LaneKit
from cluster.lanes import Lane
from cluster.session import Session
from scheduler.errors import ClusterUnreachable
from scheduler.events import ExecutorEvent, LaneReady
from scheduler.jobs import LaneTask

_FIRST_LANE: Final = 180.0
"""Seconds in which at least one lane must come up."""
_BACK_OFF: Final = 0.5
"""Seconds before the second attempt in a row to build a lane; doubles with each further one."""


class RayExecutor:
    """The `Executor` for a Ray session.

    Args:
        session: open; not closed by this executor.
        kit: settings of the lanes' processes.
        lanes: how many; the CPUs of the cluster are shared out to them evenly, one each at most.
        processes: the stages that each process of a lane hosts.
    """

    def __init__(self, session: Session, kit: LaneKit, lanes: int, processes: Processes) -> None:
        if sum(processes, ()) != STAGES:
            raise ValueError(f"a lane has each of {STAGES} once, in this order, not {processes}")
        self._kit = kit
        self._processes = processes
        self._cpus = min(1.0, math.floor(session.cpus / lanes * 10_000) / 10_000)
        self._lanes = [self._build(number) for number in range(lanes)]
        self._builds = [1] * lanes
        """Attempts in a row to build each lane since it was last up."""
        self._build_at = [math.inf] * lanes
        self._first_by = time.monotonic() + _FIRST_LANE

    @property
    def lanes(self) -> int:
        return len(self._lanes)

    def start(self, task: LaneTask, lane: int) -> None:
        self._lanes[lane].start(task, time.monotonic())

    def poll(self, timeout: float) -> list[ExecutorEvent]:
        """See `Executor`.

        Raises:
            ClusterUnreachable: the cluster has had no place for any lane for minutes.
        """
        now = time.monotonic()
        events: list[ExecutorEvent] = []
        for number, lane in enumerate(self._lanes):
            if now >= self._build_at[number]:
                self._lanes[number] = self._build(number)
                self._build_at[number] = math.inf
                self._builds[number] += 1
            events += self._noted(lane, lane.tick(now))
        owner = {ref: lane for lane in self._lanes for ref in lane.refs}
        if not owner:
            time.sleep(timeout)  # every lane waits to be built anew
            return events
        done, waiting = ray.wait(list(owner), num_returns=1, timeout=0 if events else timeout)
        if done and waiting:
            done += ray.wait(waiting, num_returns=len(waiting), timeout=0)[0]
        for ref in done:
            lane = owner[ref]
            if lane.lost is None:
                events += self._noted(lane, lane.settle(ref, time.monotonic()))
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
        for lane in self._lanes:
            if lane.lost is None:
                lane.kill()

    def _build(self, number: int) -> Lane:
        return Lane(number, self._kit, self._processes, self._cpus)

    def _noted(self, lane: Lane, events: list[ExecutorEvent]) -> list[ExecutorEvent]:
        if any(isinstance(event, LaneReady) for event in events):
            self._builds[lane.number] = 0
            self._first_by = math.inf
        if lane.lost is not None:
            delay = _BACK_OFF * 2 ** (self._builds[lane.number] - 1)
            self._build_at[lane.number] = time.monotonic() + (
                delay if self._builds[lane.number] else 0.0
            )
        return events
