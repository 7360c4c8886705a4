"""A farm of real processes whose service, or whose whole cluster, is killed: it goes on, and the
film is the same."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray

from actors.models import ModelStore
from actors.toolbox import LaneKit
from cluster.farm_actor import FarmPlan, check_journal
from cluster.farm_disk import FarmDisk
from cluster.farm_place import bring_up, farm_of, find_place, take_down
from cluster.inline import InlineExecutor
from cluster.job_shelf import Entry, utc_now
from cluster.preparation import Premises
from cluster.service import JobService
from cluster.session import Session
from scheduler.jobs import EncoderSettings, JobSpec, SwapSettings
from tests.integration.films import trim
from tests.support.hooks import Heard, genuine, server

pytestmark = pytest.mark.ray

FRAMES = 96
CHUNKS = 4
LANES = 1


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, samples: dict[str, Path]) -> Path:
    folder = tmp_path_factory.mktemp("film")
    return trim(samples["wolfgang_langer"], folder / "film.mp4", FRAMES)


def job(name: str, film: Path, face: Path, folder: Path) -> JobSpec:
    folder.mkdir(parents=True, exist_ok=True)
    return JobSpec(
        job_id=name,
        media=str(film),
        output=str(folder / f"{name}.mp4"),
        folder=str(folder / "work" / name),
        swap=SwapSettings(sources=(str(face),)),
        encoder=EncoderSettings(codec="ffv1"),
        chunk_seconds=1.0,
        hashes_output=str(folder / f"{name}.tsv"),
    )


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory,
    film: Path,
    samples: dict[str, Path],
    models: ModelStore,
) -> str:
    """The hashes of the frames of a run in one process."""
    spec = job("calm", film, samples["astronaut"], tmp_path_factory.mktemp("calm"))
    service = JobService(
        open_executor=lambda: InlineExecutor(LaneKit(cache_dir=models.cache)),
        check_sources=lambda _: None,
        watch=lambda _: None,
        note=lambda _: None,
        marking={},
    )
    assert service.run(spec).chunks == CHUNKS
    return Path(spec.hashes_output).read_text()


@pytest.fixture
def plan(tmp_path: Path, models: ModelStore) -> Iterator[FarmPlan]:
    premises = Premises(cache_dir=models.cache, state_dir=tmp_path / "state")
    plan = FarmPlan(folder=tmp_path / "farm", premises=premises, lanes=LANES)
    try:
        yield plan
    finally:
        take_down(plan.folder, seconds=0.0)


def submit(plan: FarmPlan, spec: JobSpec, key: str = "") -> str:
    entry = Entry(spec=spec, user="ann", priority=50, key=key, submitted=utc_now())
    with farm_of(plan.folder) as farm:
        name: str = farm.ask("submit", entry=entry)
        return name


def until(
    plan: FarmPlan, name: str, reached: Callable[[dict[str, Any]], bool], seconds: float = 120.0
) -> dict[str, Any]:
    """The job as it is when it has come so far; a farm that restarts is asked again."""
    end = time.monotonic() + seconds
    with farm_of(plan.folder) as farm:
        while True:
            facts: dict[str, Any] = farm.ask("show", job=name, timeout=90.0)
            if reached(facts):
                return facts
            log = farm.ask("logs", job=name, chunk=None)
            assert facts["state"] not in ("failed", "cancelled"), (facts["failure"], log)
            assert time.monotonic() < end, (facts, log)
            time.sleep(0.05)


def done(kind: str, chunks: int) -> Callable[[dict[str, Any]], bool]:
    """So many chunks of a kind are done and one more is under way."""

    def reached(facts: dict[str, Any]) -> bool:
        states = [chunk["state"] for chunk in facts["chunks"] if chunk["kind"] == kind]
        assert facts["state"] != "completed", "it was too fast to be disturbed"
        return states.count("done") >= chunks and "running" in states

    return reached


def completed(facts: dict[str, Any]) -> bool:
    return bool(facts["state"] == "completed")


def lines(plan: FarmPlan, name: str) -> list[dict[str, Any]]:
    with farm_of(plan.folder) as farm:
        found: list[dict[str, Any]] = farm.ask("logs", job=name, chunk=None)
        return found


def seconds(line: dict[str, Any]) -> float:
    from datetime import datetime

    return datetime.fromisoformat(line["time"]).timestamp()


def check_end(plan: FarmPlan, spec: JobSpec, before: dict[str, Any], undisturbed: str) -> None:
    """The film is the undisturbed one, and no more was done again than was under way."""
    facts = until(plan, spec.job_id, completed)
    assert Path(spec.hashes_output).read_text() == undisturbed
    assert not Path(spec.folder).exists()
    assert not Path(spec.partial).exists()
    finished = {(c["kind"], c["chunk"]) for c in before["chunks"] if c["state"] == "done"}
    assert finished
    again = sum(chunk["attempts"] - 1 for chunk in facts["chunks"])
    assert again <= LANES, "only what was under way is done again"
    for chunk in facts["chunks"]:
        if (chunk["kind"], chunk["chunk"]) in finished:
            assert chunk["attempts"] == 1, "what was done stays done"
    assert facts["core_seconds"] > 0
    assert check_journal(plan.folder) == []


@pytest.mark.parametrize("kind", ["analyse", "render"])
def test_the_service_is_killed_and_goes_on(
    kind: str,
    plan: FarmPlan,
    film: Path,
    samples: dict[str, Path],
    undisturbed: str,
    tmp_path: Path,
) -> None:
    bring_up(plan, None)
    spec = job("killed", film, samples["astronaut"], tmp_path / "out")
    assert submit(plan, spec, key="k") == "killed"
    before = until(plan, "killed", done(kind, 1))
    with farm_of(plan.folder) as farm:
        pid = farm.ask("ping")["pid"]
        os.kill(pid, signal.SIGKILL)
        killed = time.time()
        assert farm.ask("ping", timeout=90.0)["pid"] != pid
    check_end(plan, spec, before, undisturbed)
    again = [line for line in lines(plan, "killed") if seconds(line) > killed]
    assert any(line["event"] == "restarted" for line in again)
    first = next(line for line in again if line["event"] == "started")
    print(f"first new chunk {seconds(first) - killed:.1f} s after the service was killed")
    assert seconds(first) - killed < 60
    twin = job("twin", film, samples["astronaut"], tmp_path / "out")
    assert submit(plan, twin, key="k") == "killed", "the same key is the same job"


def test_the_whole_cluster_is_killed_and_goes_on(
    plan: FarmPlan,
    film: Path,
    samples: dict[str, Path],
    undisturbed: str,
    tmp_path: Path,
) -> None:
    bring_up(plan, None)
    spec = job("killed", film, samples["astronaut"], tmp_path / "out")
    submit(plan, spec)
    before = until(plan, "killed", done("render", 1))
    place = find_place(plan.folder)
    assert place is not None
    keeper = psutil.Process(place.pid)
    family = [keeper, *keeper.children(recursive=True)]
    for process in family:
        process.kill()
    psutil.wait_procs(family, timeout=20)
    assert find_place(plan.folder) is None
    began = time.time()
    bring_up(plan, None)
    up = time.time()
    check_end(plan, spec, before, undisturbed)
    first = next(
        line
        for line in lines(plan, "killed")
        if seconds(line) > began and line["event"] == "started"
    )
    print(f"up after {up - began:.1f} s, first new chunk after {seconds(first) - began:.1f} s")
    assert seconds(first) - began < 90


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("server", "frozen"), [("gcs_server", 0.0), ("raylet", 0.0), ("gcs_server", 8.0)]
)
def test_a_server_of_ray_is_killed_and_the_farm_goes_on(
    server: str,
    frozen: float,
    plan: FarmPlan,
    film: Path,
    samples: dict[str, Path],
    undisturbed: str,
    tmp_path: Path,
) -> None:
    """The keeper starts a new Ray, and the farm in it; nobody has to ask for it.

    A server that is frozen before leaves questions of the keeper's and of lanes without an answer.
    """
    place, _ = bring_up(plan, None)
    spec = job("killed", film, samples["astronaut"], tmp_path / "out")
    submit(plan, spec)
    before = until(plan, "killed", done("render", 1), 400)
    family = psutil.Process(place.pid).children(recursive=True)
    (victim,) = [process for process in family if process.name() == server]
    victim.suspend()
    time.sleep(frozen)
    victim.kill()
    killed = time.time()
    disk = FarmDisk(plan.folder)
    while disk.rows(works=True)[0]["state"] != "completed":
        assert time.time() < killed + 500, disk.rows(works=True)
        time.sleep(0.2)
    check_end(plan, spec, before, undisturbed)
    now = find_place(plan.folder)
    assert now is not None
    assert now.pid == place.pid
    assert now.address != place.address
    first = next(
        line
        for line in lines(plan, "killed")
        if seconds(line) > killed and "started" in line["event"]
    )
    print(f"first new chunk {seconds(first) - killed:.1f} s after {server} was killed")


def test_a_farm_that_is_taken_down_finishes_what_runs_and_goes_on_later(
    plan: FarmPlan,
    film: Path,
    samples: dict[str, Path],
    undisturbed: str,
    tmp_path: Path,
) -> None:
    assert bring_up(plan, None)[1] is False
    assert bring_up(plan, None)[1] is True, "a farm that is up stays as it is"
    spec = job("slow", film, samples["astronaut"], tmp_path / "out")
    submit(plan, spec)
    before = until(plan, "slow", done("analyse", 1))
    assert take_down(plan.folder, seconds=60.0)
    assert not take_down(plan.folder, seconds=0.0)
    assert check_journal(plan.folder) == []
    bring_up(plan, None)
    check_end(plan, spec, before, undisturbed)


def test_what_no_webhook_heard_is_told_after_the_farm_was_killed(
    plan: FarmPlan, tmp_path: Path
) -> None:
    """The service dies while nobody listens; the next one says all of it, signed, in order."""
    plan = replace(plan, webhook_secret="s3cret")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    spec = job("lost", tmp_path / "no-such-film.mp4", tmp_path / "face.jpg", tmp_path / "out")
    spec = replace(spec, webhooks=(f"http://127.0.0.1:{port}/hook",))
    bring_up(plan, None)
    submit(plan, spec)
    with farm_of(plan.folder) as farm:
        end = time.monotonic() + 120
        while farm.ask("show", job="lost")["state"] != "failed":
            assert time.monotonic() < end
            time.sleep(0.1)
        pid = farm.ask("ping")["pid"]
        os.kill(pid, signal.SIGKILL)
        heard = Heard([], wanted=3)
        with server(heard, port):
            assert farm.ask("ping", timeout=90.0)["pid"] != pid
            assert heard.enough.wait(120)
    # An answer that comes too late has a word told again, under its id.
    words = list({word["id"]: word for word in (json.loads(b) for _, b in heard.calls)}.values())
    assert [word["state"] for word in words] == ["queued", "running", "failed"]
    assert words[-1]["error"]["code"] == "media.missing"
    assert all(genuine(headers, body, b"s3cret") for headers, body in heard.calls)


def test_a_farm_on_a_cluster_of_others(tmp_path: Path, models: ModelStore) -> None:
    """The command line starts it there, finds it, and leaves nothing of it when it ends."""

    def farm(*words: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "farm.cli", *words, "--json"],
            env=os.environ
            | {
                "XDG_STATE_HOME": str(tmp_path),
                "XDG_CACHE_HOME": str(models.cache.parent),
                "RAY_AUTH_TOKEN": session.token,
                "RAY_AUTH_MODE": "token",
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    with Session.open("local", cpus=2) as session:
        up = farm("up", "--address", session.head, "--lanes", "1")
        assert (up["before"], up["address"]) == (False, session.head)
        assert farm("up", "--address", session.head)["before"] is True
        assert farm("jobs") == []
        end = time.monotonic() + 60
        while not (nodes := farm("nodes")):
            assert time.monotonic() < end
        assert [lane["state"] for lane in nodes[0]["lanes"]] == ["idle"]
        assert farm("journal", "check") == {"ok": True, "found": []}
        assert farm("down") == {"up": False, "before": True}
        end = time.monotonic() + 60
        while ray.available_resources().get("CPU") != 2.0:
            assert time.monotonic() < end, "its lanes keep their place"
            time.sleep(0.2)
