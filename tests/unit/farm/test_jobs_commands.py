"""The verbs on the command line: what they ask of the farm, and what they print."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import cluster.farm
import cluster.farm_place
from actors.prober import probe
from cluster.farm_actor import FarmPlan
from cluster.farm_place import FarmPlace
from cluster.farm_verbs import FarmVerbs
from farm.cli import main
from scheduler.errors import AttemptsExhausted
from scheduler.jobs import EncoderSettings, JobSpec, SwapSettings
from tests.unit.actors.films import make_film
from tests.unit.cluster.test_farm import TestFarm, entry, open_desk


class Client:
    """As the client of a farm elsewhere; the farm turns each time that it is asked."""

    def __init__(self, farm: TestFarm) -> None:
        self.farm = farm

    def ask(self, verb: str, *, timeout: float = 60.0, **facts: Any) -> Any:
        self.farm.turn(2)
        return json.loads(json.dumps(FarmVerbs(self.farm.farm).ask(verb, **facts)))


@pytest.fixture
def farm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestFarm]:
    monkeypatch.setattr(cluster.farm, "open_desk", open_desk)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    farm = TestFarm(tmp_path)

    @contextmanager
    def farm_of(folder: Path) -> Iterator[Client]:
        yield Client(farm)

    monkeypatch.setattr(cluster.farm_place, "farm_of", farm_of)
    yield farm
    farm.farm.close()


@pytest.fixture
def spec(tmp_path: Path) -> JobSpec:
    film = make_film(tmp_path / "film.mp4", frames=40)
    return JobSpec(
        job_id="20260101-a1b2",
        media=str(film),
        output=str(tmp_path / "out.mkv"),
        folder=str(tmp_path / "work"),
        swap=SwapSettings(sources=("/nobody.jpg",)),
        encoder=EncoderSettings(codec="ffv1"),
        chunk_seconds=0.4,
        attempts=1,
        on_error="passthrough",
    )


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main(arguments) == code
    return capsys.readouterr().out


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    return json.loads(run(capsys, *arguments, "--json", code=code))


def test_jobs_show_logs_and_watch(
    farm: TestFarm, spec: JobSpec, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "no job yet" in run(capsys, "jobs")
    farm.ask("submit", entry=entry(spec))
    assert "a1b2" in run(capsys, "jobs")
    assert as_json(capsys, "jobs")[0]["job"] == spec.job_id
    assert main(["watch", "a1b2", "--every", "0.2"]) == 0
    watched = capsys.readouterr().out
    assert "analyse  ####" in watched
    assert "completed" in watched
    shown = run(capsys, "show", "a1b2")
    assert "render   ####" in shown
    assert "core-seconds" in shown
    assert "analyse of chunk 0 (frames 0 to 10) failed" not in shown
    assert as_json(capsys, "show", "a1b2")["state"] == "completed"
    assert "started" in run(capsys, "logs", "a1b2", "--chunk", "2")
    lines = run(capsys, "logs", "a1b2", "--json").splitlines()
    assert json.loads(lines[-1])["message"] == "completed"


@pytest.mark.parametrize(
    ("verb", "state"), [("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")]
)
def test_orders_may_be_given_twice(
    farm: TestFarm, spec: JobSpec, capsys: pytest.CaptureFixture[str], verb: str, state: str
) -> None:
    farm.ask("submit", entry=entry(spec))
    for _ in range(2):
        assert as_json(capsys, verb, "a1b2")["state"] == state
    assert state in run(capsys, verb, "a1b2")


def test_retry_priority_requeue_and_rm(
    farm: TestFarm, spec: JobSpec, capsys: pytest.CaptureFixture[str]
) -> None:
    farm.ask("submit", entry=entry(replace(spec, on_error="fail")))
    farm.until("failed", spec.job_id)
    assert f"error[{AttemptsExhausted.code}]" in run(capsys, "show", "a1b2")
    assert main(["watch", "a1b2"]) == 9
    capsys.readouterr()
    assert as_json(capsys, "retry", "a1b2")["state"] == "running"
    assert as_json(capsys, "priority", "a1b2", "70")["priority"] == 70
    farm.ask("submit", entry=entry(replace(spec, job_id="busy")))
    assert as_json(capsys, "rm", "busy", code=9)["gone"] is False
    farm.until("completed", "busy")
    assert as_json(capsys, "requeue", "a1b2", "--chunk", "1", "--analyse")["state"] == "running"
    assert as_json(capsys, "requeue", "a1b2", "--frames", "0-5", "--analyse")["state"] == "running"
    for wrong in (["--chunk", "99"], ["--frames", "5"], ["--frames", "9-3"], []):
        assert main(["requeue", "a1b2", *wrong]) == 2
    main(["cancel", "a1b2"])
    farm.turn(5)
    capsys.readouterr()
    for _ in range(2):
        assert as_json(capsys, "rm", "a1b2")["gone"] is True
    assert main(["show", "a1b2"]) == 3


def test_nodes(farm: TestFarm, capsys: pytest.CaptureFixture[str]) -> None:
    farm.turn(2)
    (node,) = as_json(capsys, "nodes")
    assert node["state"] == "up"
    for verb, state in (("drain", "drained"), ("undrain", "up"), ("forgive", "up")):
        for _ in range(2):
            assert as_json(capsys, "nodes", verb, node["node"])[0]["state"] == state
    assert "up" in run(capsys, "nodes")


def test_submit_gives_a_job_away(
    farm: TestFarm, spec: JobSpec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["submit", spec.media, "-s", spec.media, "-o", str(tmp_path / "new.mkv")]
    first = as_json(capsys, *given, "--detach", "--key", "monday", "--priority", "60")
    again = as_json(capsys, *given, "--detach", "--key", "monday")
    assert (first["new"], again["new"]) == (True, False)
    (row,) = as_json(capsys, "jobs")
    assert (row["job"], row["priority"]) == (first["job"], 60)
    assert again["job"] == first["job"]


def test_without_a_farm_verbs_say_how_to_start_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for words in (["jobs"], ["show", "x"], ["pause", "x"], ["nodes"], ["journal", "check"]):
        assert main(words) == 8
        assert "farm up" in capsys.readouterr().err
    assert main(["down"]) == 0
    assert "no farm was up" in capsys.readouterr().out


def test_journal_check(
    farm: TestFarm, spec: JobSpec, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    farm.ask("submit", entry=entry(spec))
    farm.turn(5)
    (tmp_path / "state" / "swapfarm").mkdir(parents=True)
    (tmp_path / "state" / "swapfarm" / "farm").symlink_to(tmp_path / "farm")
    assert as_json(capsys, "journal", "check") == {"ok": True, "found": []}
    assert "whole" in run(capsys, "journal", "check")
    journal = farm.farm._journal
    journal._base.execute("UPDATE events SET asked = asked + 1 WHERE seq = 3")
    found = as_json(capsys, "journal", "check", code=5)
    assert "event 3" in found["found"][0]


def test_preview(
    farm: TestFarm, spec: JobSpec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["preview", "a1b2"]) == 3
    assert "farm job list" in capsys.readouterr().err
    (tmp_path / "state" / "swapfarm").mkdir(parents=True)
    (tmp_path / "state" / "swapfarm" / "farm").symlink_to(tmp_path / "farm")
    farm.ask("submit", entry=entry(spec))
    assert main(["preview", "a1b2"]) == 3
    assert "error[job.nothing-yet]" in capsys.readouterr().err
    chunks: list[dict[str, Any]] = []
    while not any(c["kind"] == "render" and c["state"] == "done" for c in chunks):
        farm.turn()
        chunks = farm.ask("show", job=spec.job_id)["chunks"]
    found = as_json(capsys, "preview", "a1b2")
    assert (found["job"], found["step"], found["complete"]) == (spec.job_id, 0, False)
    assert 0 < found["frames"] < found["frames_total"] == 40
    assert found["seconds"] == pytest.approx(found["frames"] / 25)
    assert probe(found["output"]).frames == found["frames"]
    other = tmp_path / "watch.mp4"
    assert "watch.mp4" in run(capsys, "preview", "a1b2", "-o", str(other))
    assert main(["preview", "a1b2", "-o", str(other)]) == 3
    assert main(["preview", "a1b2", "-o", str(other), "--overwrite"]) == 0
    assert main(["preview", "a1b2", "-o", str(tmp_path / "watch.txt")]) == 3
    farm.until("completed", spec.job_id)
    capsys.readouterr()
    assert "the result itself" in run(capsys, "preview", "a1b2")


def test_a_batch_is_a_group(
    farm: TestFarm, spec: JobSpec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "films").mkdir()
    for name in ("a", "b"):
        make_film(tmp_path / "films" / f"{name}.mp4", frames=5)
    (tmp_path / "out").mkdir()
    farm.ask("submit", entry=entry(spec))
    given = ["batch", "-s", spec.media, "-t", str(tmp_path / "films" / "*.mp4")]
    given += ["-o", str(tmp_path / "out" / "{target_name}.mp4"), "--detach", "--json"]
    for _ in range(2):
        lines = run(capsys, *given, "--group", "monday", "--priority", "30").splitlines()
        events = [json.loads(line) for line in lines]
        assert [event["event"] for event in events] == ["submitted", "submitted", "batch"]
        assert (events[-1]["done"], events[-1]["failed"]) == (2, 0)
    rows = as_json(capsys, "jobs")
    assert [(row["group"], row["priority"]) for row in rows] == [
        *(("", 50), ("monday", 30), ("monday", 30)),
    ]
    assert "monday" in run(capsys, "jobs")
    assert [row["state"] for row in as_json(capsys, "pause", "monday")] == ["paused"] * 2
    assert run(capsys, "cancel", "monday").count("cancelled") == 2
    assert as_json(capsys, "jobs")[0]["state"] != "cancelled"
    farm.turn(5)
    for _ in range(2):
        assert as_json(capsys, "rm", "monday")["gone"] is True
    (tmp_path / "out" / "a.mp4").write_text("somebody's")
    lines = run(capsys, *given, code=9).splitlines()
    assert [json.loads(line)["event"] for line in lines] == [
        *("failed", "submitted", "batch", "error"),
    ]
    run(capsys, *given, "--group", "no/name", code=2)


def test_a_farm_gets_the_secret_of_webhooks_and_how_long_jobs_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plans: list[FarmPlan] = []

    def bring_up(plan: FarmPlan, address: str | None) -> tuple[FarmPlace, bool]:
        plans.append(plan)
        return FarmPlace(address="127.0.0.1:1", token="", pid=1, started=0.0), False

    monkeypatch.setattr(cluster.farm_place, "bring_up", bring_up)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("SWAPFARM_WEBHOOKS_SECRET", "s3cret")
    monkeypatch.setenv("SWAPFARM_KEEP_DAYS", "2")
    assert "s3cret" not in run(capsys, "up", "--json")
    (plan,) = plans
    assert (plan.webhook_secret, plan.keep_seconds) == ("s3cret", 2 * 86400)
    assert "s3cret" not in repr(plan)
