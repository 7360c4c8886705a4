"""A Ray of our own whose servers are killed is replaced, with all its lanes."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Collection
from pathlib import Path

import psutil
import pytest
import ray
from ray._private import worker

from actors.pipeline import lane_processes
from actors.toolbox import LaneKit
from cluster import ray_executor
from cluster.ray_executor import RayExecutor
from cluster.session import RAY_SETTINGS, Session
from scheduler.errors import ClusterUnreachable
from scheduler.events import LaneLost, LaneReady

pytestmark = pytest.mark.ray


def until(
    executor: RayExecutor, wanted: type[LaneLost] | type[LaneReady], seconds: float
) -> LaneLost | LaneReady:
    """The first event of a kind."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for event in executor.poll(0.2):
            if isinstance(event, wanted):
                return event
    raise AssertionError(f"no {wanted.__name__} within {seconds} s")


def family(strangers: Collection[psutil.Process] = ()) -> list[psutil.Process]:
    """What this process has started, but for what other tests still need."""
    return [each for each in psutil.Process().children(recursive=True) if each not in strangers]


@pytest.mark.parametrize("server", ["raylet", "gcs_server"])
def test_lanes_come_up_again_after_the_death_of(server: str, tmp_path: Path) -> None:
    strangers = family()
    with Session.open("local", cpus=1) as session:
        assert session.alive
        executor = RayExecutor(session, LaneKit(cache_dir=tmp_path), 1, lane_processes(1))
        until(executor, LaneReady, 120)
        before = family(strangers)
        (victim,) = [process for process in before if process.name() == server]
        victim.kill()
        psutil.wait_procs([victim], timeout=10)
        assert not session.alive
        lost = until(executor, LaneLost, 120)
        assert "has died" in lost.error.found
        until(executor, LaneReady, 120)
        assert session.alive
        _, alive = psutil.wait_procs(before, timeout=30)
        assert alive == [], "nothing of the old Ray is left"
        executor.close()
    _, alive = psutil.wait_procs(family(strangers), timeout=30)
    assert alive == []


def test_a_lane_that_has_a_place_may_take_its_time_and_one_without_may_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A machine that is busy with other things is not a cluster without room."""
    kit, processes = LaneKit(cache_dir=tmp_path), lane_processes(1)
    with Session.open("local", cpus=1) as session:
        words = [
            word for each in family() if each.name() == "gcs_server" for word in each.cmdline()
        ]
        (told,) = [word for word in words if word.startswith("--config_list=")]
        said = json.loads(base64.b64decode(told.removeprefix("--config_list=")))
        assert said.items() >= RAY_SETTINGS.items(), "Ray waits for processes that load slowly, too"
        first = RayExecutor(session, kit, 1, processes)
        until(first, LaneReady, 120)
        monkeypatch.setattr(ray_executor, "_FIRST_LANE", 0.5)
        second = RayExecutor(session, kit, 1, processes)
        with pytest.raises(ClusterUnreachable, match="found a place"):
            until(second, LaneReady, 120)
        second.close()
        first.close()
        monkeypatch.setattr(ray_executor, "_FIRST_LANE", 0.0)
        late = RayExecutor(session, kit, 1, processes)
        ray.get(late._lanes[0]._group.ready(), timeout=60)
        until(late, LaneReady, 120)
        late.close()
        monkeypatch.setattr(ray_executor, "_SLOW_LANE", 0.0)
        never = RayExecutor(session, kit, 1, processes)
        with pytest.raises(ClusterUnreachable, match="came up within"):
            until(never, LaneReady, 120)
        never.close()


def test_no_start_of_ray_waits_for_a_process_that_died_while_it_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With Ray's own settings this start never ends."""
    monkeypatch.setitem(RAY_SETTINGS, "worker_register_timeout_seconds", 0)  # none is quick enough
    with Session.open("local", cpus=1) as session:
        assert len(session.nodes()) == 1


def test_a_ray_that_comes_up_too_late_leaves_nothing_and_is_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    init, late, nodes, strangers = ray.init, list[psutil.Process](), [], family()

    def slow(**settings: object) -> object:
        """As on a machine that is too busy: the servers start, but Ray has stopped waiting."""
        started = init(**settings)
        if not late:
            late.extend(family(strangers))
            nodes.append(worker._global_node)
            worker._global_node = None
            raise Exception("The current node timed out during startup.")
        return started

    monkeypatch.setattr(ray, "init", slow)
    with Session.open("local", cpus=1) as session:
        assert session.alive
        assert len(late) > 3
        _, alive = psutil.wait_procs(late, timeout=20)
        assert [each for each in alive if each.status() != psutil.STATUS_ZOMBIE] == []
    for started in [each for kind in nodes[0].all_processes.values() for each in kind]:
        started.process.wait(10)
    assert [each for each in family(strangers) if each.status() != psutil.STATUS_ZOMBIE] == []
