"""Lanes on several nodes of a Ray cluster, emulated on this machine: where they are, what becomes
of them when nodes come and go, and that the film is the same."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray

from actors.models import ModelStore
from actors.pipeline import lane_processes
from actors.toolbox import LaneKit
from cluster.emulation import EmulatedCluster
from cluster.executor import Executor
from cluster.farm import Farm
from cluster.farm_verbs import FarmVerbs
from cluster.inline import InlineExecutor
from cluster.job_shelf import Entry, utc_now
from cluster.preparation import Premises
from cluster.ray_executor import RayExecutor
from cluster.service import JobService
from cluster.shells import Place
from cluster.stopwatch import HeldLanes
from scheduler.events import ExecutorEvent, LaneLost, LaneReady
from scheduler.jobs import EncoderSettings, JobSpec, JobSummary, SwapSettings
from scheduler.progress import JobSnapshot
from tests.integration.films import trim

pytestmark = pytest.mark.ray

FRAMES = 36
PATIENCE = 240.0
"""Seconds for what takes a few on a machine that is not busy."""


@pytest.fixture(scope="module")
def nodes() -> Iterator[EmulatedCluster]:
    with EmulatedCluster(2) as cluster:
        yield cluster


@pytest.fixture
def two(nodes: EmulatedCluster) -> EmulatedCluster:
    """Two nodes, whatever the test before did to them, and no trace of others."""
    while len(nodes.nodes) < 2:
        nodes.add()
    end = time.monotonic() + PATIENCE
    while sorted(node.name for node in nodes.session.nodes()) != sorted(nodes.nodes):
        assert time.monotonic() < end
        time.sleep(0.2)
    return nodes


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, samples: dict[str, Path]) -> Path:
    folder = tmp_path_factory.mktemp("film")
    return trim(samples["wolfgang_langer"], folder / "film.mp4", FRAMES)


@pytest.fixture(scope="module")
def kit(models: ModelStore) -> LaneKit:
    return LaneKit(cache_dir=models.cache)


def job(film: Path, face: Path, folder: Path) -> JobSpec:
    folder.mkdir()
    return JobSpec(
        job_id="nodes",
        media=str(film),
        output=str(folder / "out.mp4"),
        folder=str(folder / "job"),
        swap=SwapSettings(sources=(str(face),)),
        encoder=EncoderSettings(codec="ffv1"),
        chunk_seconds=0.25,
        hashes_output=str(folder / "hashes.tsv"),
    )


def run(
    spec: JobSpec,
    open_executor: Callable[[], Executor],
    watch: Callable[[JobSnapshot], None] = lambda _: None,
) -> JobSummary:
    service = JobService(
        open_executor=open_executor,
        check_sources=lambda _: None,
        watch=watch,
        note=lambda _: None,
        marking={},
    )
    return service.run(spec)


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, film: Path, samples: dict[str, Path], kit: LaneKit
) -> str:
    """The hashes of the frames of a run in one process."""
    spec = job(film, samples["astronaut"], tmp_path_factory.mktemp("calm") / "run")
    run(spec, lambda: InlineExecutor(kit))
    return Path(spec.hashes_output).read_text()


def until(executor: Executor, true: Callable[[], bool]) -> list[ExecutorEvent]:
    """All events until something is true."""
    events: list[ExecutorEvent] = []
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, events
        events += executor.poll(0.2)
    return events


def homes(executor: RayExecutor) -> dict[int, str]:
    """The node of each lane of which all processes are up; it must be one."""
    found = {}
    for lane, stages in executor.places().items():
        if len(stages) == 5:
            (found[lane],) = set(stages.values())
    return found


def test_each_gpu_has_a_lane_whose_processes_are_together(
    two: EmulatedCluster, kit: LaneKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = RayExecutor(two.session, kit, 0, lane_processes(2), device="cuda")
    try:
        ready = until(executor, lambda: len(homes(executor)) == 2)
        assert sorted(homes(executor).values()) == sorted(two.nodes)
        told = {event.lane: event.node for event in ready if isinstance(event, LaneReady)}
        assert told == homes(executor)
        assert executor.nodes == 2
        pids = {pid for stages in executor.pids().values() for pid in stages.values()}
        assert len(pids) == 4
        assert not ray.available_resources().get("GPU"), "a lane has no GPU"
        gpus = [{place.gpus for place in lane.places.values()} for lane in executor._lanes]
        assert [len(names) for names in gpus] == [1, 1], "the processes of a lane share one"
        ((one,),), ((other,),) = gpus
        assert one != other
        assert one.startswith("GPU-emulated-")

        # Were Ray to put a process elsewhere, no frame would get there: the lane ends at once.
        lane = executor._build(9, executor._lanes[0].share)
        ref = next(ref for ref, (kind, _) in lane._calls.items() if kind == "place")
        with monkeypatch.context() as patch:
            patch.setattr("ray.get", lambda _: Place(pid=1, node="elsewhere", host=""))
            patch.setattr(lane, "kill", lambda: None)
            (lost,) = lane.settle(ref, 0.0)
        lane.kill()
        assert isinstance(lost, LaneLost)
        assert "is on node elsewhere" in lost.error.found
    finally:
        executor.close()


def test_a_node_that_joins_gets_a_lane_and_one_that_dies_loses_it(
    two: EmulatedCluster, kit: LaneKit
) -> None:
    executor = RayExecutor(two.session, kit, 0, lane_processes(1))
    try:
        until(executor, lambda: len(homes(executor)) == 2)
        third = two.add()
        until(executor, lambda: len(homes(executor)) == 3)
        assert homes(executor)[2] == third
        two.kill(third)
        events = until(executor, lambda: executor.nodes == 2)
        assert next(event.lane for event in events if isinstance(event, LaneLost)) == 2
        assert sorted(homes(executor)) == [0, 1]
        fourth = two.add()
        until(executor, lambda: len(homes(executor)) == 3)
        assert homes(executor)[2] == fourth, "the number of a lane that is no more is given again"
        assert executor.lanes == 3
        two.kill(fourth)
    finally:
        executor.close()


def test_a_node_killed_while_it_renders_costs_retries_and_no_frame(
    two: EmulatedCluster,
    film: Path,
    samples: dict[str, Path],
    kit: LaneKit,
    undisturbed: str,
    tmp_path: Path,
) -> None:
    spec = job(film, samples["astronaut"], tmp_path / "run")
    struck: list[str] = []
    executors: list[RayExecutor] = []

    def open_executor() -> RayExecutor:
        executors.append(RayExecutor(two.session, kit, 0, lane_processes(1)))
        return executors[-1]

    def strike(snapshot: JobSnapshot) -> None:
        if struck or snapshot.phase != "render":
            return
        victim = two.nodes[1]
        for lane in executors[0]._lanes:
            if lane.share.node == victim and lane.places and not lane.idle:
                struck.append(victim)
                two.kill(victim)

    summary = run(spec, open_executor, strike)
    assert struck, "the node was never killed"
    assert summary.retries >= 1
    assert summary.frames == FRAMES
    assert Path(spec.hashes_output).read_text() == undisturbed
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["hashes.tsv", "out.mp4", "run"]


def test_a_farm_knows_its_nodes_by_name(
    two: EmulatedCluster, film: Path, samples: dict[str, Path], kit: LaneKit, tmp_path: Path
) -> None:
    """`farm nodes` and its verbs: a drained node of the cluster gets nothing until it may again."""
    farm = Farm(
        folder=tmp_path / "farm",
        premises=Premises(cache_dir=kit.cache_dir, state_dir=tmp_path / "state"),
        kit=kit,
        open_executor=lambda: RayExecutor(two.session, kit, 0, lane_processes(1)),
        local=False,
    )
    verbs = FarmVerbs(farm)

    def turn(true: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < end
            farm.turn()

    def states() -> dict[str, str]:
        return {row["node"]: row["state"] for row in verbs.ask("nodes")}

    def work(name: str) -> set[str]:
        """The nodes of which a film's chunks came."""
        spec = replace(job(film, samples["astronaut"], tmp_path / name), job_id=name)
        verbs.ask(
            "submit", entry=Entry(spec=spec, user="ann", priority=50, key="", submitted=utc_now())
        )
        seen: set[str] = set()

        def done() -> bool:
            facts: dict[str, Any] = verbs.ask("show", job=name)
            seen.update(chunk["node"] for chunk in facts["chunks"] if chunk["node"])
            assert facts["state"] != "failed", facts["failure"]
            return bool(facts["state"] == "completed")

        turn(done)
        return seen

    try:
        turn(lambda: len(states()) == 2)
        assert sorted(states()) == sorted(two.nodes)
        assert {row["host"] for row in verbs.ask("nodes")} != {""}
        first, second = two.nodes
        verbs.ask("node", node=second, what="drain")
        assert states() == {first: "up", second: "drained"}
        assert work("one") == {first}
        verbs.ask("node", node=second, what="forgive")
        assert states() == {first: "up", second: "up"}
        assert work("two") == {first, second}
        two.kill(second)
        turn(lambda: states()[second] == "down")
        assert states()[first] == "up"
    finally:
        farm.close()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_eight_nodes_of_which_two_die(
    nodes: EmulatedCluster,
    film: Path,
    samples: dict[str, Path],
    kit: LaneKit,
    tmp_path: Path,
) -> None:
    executor = RayExecutor(nodes.session, kit, 0, lane_processes(1))
    held = HeldLanes(executor)  # the job is told of the lanes that are up before it begins
    calm, spec = (
        replace(job(film, samples["astronaut"], tmp_path / name), chunk_seconds=0.1)
        for name in ("calm", "run")
    )
    run(calm, lambda: InlineExecutor(kit))
    struck: list[str] = []

    def strike(snapshot: JobSnapshot) -> None:
        if len(struck) < 2 and snapshot.phase == ("analyse", "render")[len(struck)]:
            busy = [each.share.node for each in executor._lanes if each.places and not each.idle]
            victims = [node for node in busy if node in nodes.nodes[1:]]
            if victims:
                struck.append(victims[0])
                nodes.kill(victims[0])

    try:
        # One after the other: eight that begin together keep a small machine busy for minutes.
        until(held, lambda: len(homes(executor)) == executor.nodes)
        while len(nodes.nodes) < 8:
            nodes.add()
            until(held, lambda: len(homes(executor)) == len(nodes.nodes))
        assert sorted(homes(executor).values()) == sorted(nodes.nodes)
        held.begin()
        summary = run(spec, lambda: held, strike)
    finally:
        executor.close()
    assert len(struck) == 2
    assert summary.retries >= 2
    assert Path(spec.hashes_output).read_text() == Path(calm.hashes_output).read_text()
