"""``farm job``: drafts, runs in the foreground, jobs given to a farm; killed and retried."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import cluster.farm
import cluster.farm_place
import farm.job_homes
import farm.runner
from actors.prober import probe
from actors.toolbox import LaneKit
from cluster.farm_disk import FarmDisk
from farm.cli import main
from farm.commands.job import add_step, insert_step, remix_step, retry, run
from farm.commands.submit import submit
from farm.drafts import DraftBook
from scheduler.errors import SettingInvalid
from tests.unit.actors.films import make_film
from tests.unit.cluster.blind_lane import BlindLane
from tests.unit.cluster.test_farm import TestFarm, open_desk
from tests.unit.farm.test_jobs_commands import Client

FRAMES = 20


class Desk:
    """A command line in a home of its own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.state = folder / "state" / "swapfarm"
        self.film = make_film(folder / "film.mp4", frames=FRAMES)
        self._capsys = capsys

    def __call__(self, *words: str, code: int = 0) -> str:
        assert main(["job", *words]) == code, self._capsys.readouterr()
        return self._capsys.readouterr().out

    def json(self, *words: str, code: int = 0) -> Any:
        """The last line, as JSON."""
        return json.loads(self(*words, "--json", code=code).splitlines()[-1])

    def seen(self, *words: str) -> Any:
        """The last line that one of the verbs on a job says, as JSON."""
        assert main([*words]) == 0, self._capsys.readouterr()
        return json.loads(self._capsys.readouterr().out.splitlines()[-1])

    def out(self, name: str) -> str:
        return str(self.folder / name)

    def step(self, output: str, *more: str) -> list[str]:
        """What every step here has: a lane that sees nothing passes the film's frames."""
        common = ["-s", str(self.film), "-o", self.out(output), "--encoder", "ffv1"]
        return [*common, "--chunk-seconds", "0.4", "--on-error", "passthrough", *more]

    def two_steps(self, name: str, output: str = "two.mp4") -> None:
        self("create", name)
        self("add-step", name, str(self.film), *self.step(f"{name}-one.mp4"))
        self("remix-step", name, "-1", *self.step(output))


@pytest.fixture
def desk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Desk:
    monkeypatch.setattr(cluster.farm, "open_desk", open_desk)
    for variable in ("STATE", "CONFIG", "CACHE"):
        monkeypatch.setenv(f"XDG_{variable}_HOME", str(tmp_path / variable.lower()))
    monkeypatch.setattr(
        farm.runner.Lanes, "open", lambda *_: BlindLane(LaneKit(cache_dir=tmp_path / "none"))
    )
    return Desk(tmp_path, capsys)


@pytest.fixture
def service(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestFarm]:
    """A farm that is up."""
    service = TestFarm(desk.folder)
    desk.state.mkdir(parents=True, exist_ok=True)
    (desk.state / "farm").symlink_to(desk.folder / "farm")

    @contextmanager
    def farm_of(folder: Path) -> Iterator[Client]:
        yield Client(service)

    monkeypatch.setattr(cluster.farm_place, "farm_of", farm_of)
    monkeypatch.setattr(farm.job_homes, "find_place", lambda _: object())
    yield service
    service.farm.close()


def outputs(row: dict[str, Any]) -> list[str]:
    return [Path(step["output"]).name for step in row["steps"]]


def test_steps_are_added_inserted_remixed_and_removed(desk: Desk) -> None:
    for _ in range(2):
        assert desk.json("create", "monday")["state"] == "drafted"
    desk("add-step", "monday", str(desk.film), *desk.step("one.mp4"))
    desk("add-step", "monday", "-t", str(desk.film), *desk.step("two.mp4"))
    desk("remix-step", "monday", "0", *desk.step("three.mp4"))
    desk("insert-step", "monday", "-1", str(desk.film), *desk.step("four.mp4"))
    row = desk.json("insert-step", "monday", "0", str(desk.film), *desk.step("five.mp4"))
    names = ["five.mp4", "one.mp4", "two.mp4", "four.mp4", "three.mp4"]
    assert outputs(row) == names
    assert row["steps"][-1]["video"] == desk.out("one.mp4")
    assert outputs(desk.json("remove-step", "monday", "-2")) == [*names[:3], names[4]]
    assert outputs(desk.json("remove-step", "monday", "0")) == ["one.mp4", "two.mp4", "three.mp4"]
    assert "one.mp4" in desk("remove-step", "monday", "1")
    for wrong in ("2", "-3"):
        desk("remove-step", "monday", wrong, code=2)
        desk("remix-step", "monday", wrong, *desk.step("x.mp4"), code=2)
    desk("remove-step", "monday", "first", code=2)
    desk("insert-step", "monday", "3", str(desk.film), *desk.step("x.mp4"), code=2)
    desk("add-step", "monday", str(desk.film), *desk.step("one.mp4"), code=3)
    desk("remix-step", "monday", "0", *desk.step("one.mp4"), code=3)
    desk("add-step", "nobody", str(desk.film), *desk.step("x.mp4"), code=3)
    desk("create", "../monday", code=2)
    assert outputs(desk.json("list")[0]) == ["one.mp4", "three.mp4"]
    assert desk.json("list", "failed") == []
    desk("list", "strange", code=2)


def test_a_step_takes_the_options_of_submit() -> None:
    def options(command: Any) -> set[str]:
        return set(inspect.signature(command).parameters)

    not_of_a_film = {"plan", "contact_sheet", "detach", "key", "priority"}
    of_a_run = {"device_ids", "lanes", "lane__processes", "address", "ray", "license_policy"}
    wanted = options(submit) - not_of_a_film - of_a_run - {"keep"}
    for command in (run, retry):
        assert options(command) == of_a_run | {"context", "job", "as_json"}
    assert options(add_step) == wanted | {"job"}
    assert options(insert_step) == wanted | {"job", "index"}
    assert options(remix_step) == wanted - {"video", "target"} | {"job", "index"}


def test_a_draft_is_whole_whatever_dies(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk("create", "monday")
    before = desk.json("list")

    def dies(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", dies)
        with pytest.raises(SystemExit):
            main(["job", "add-step", "monday", str(desk.film), *desk.step("one.mp4")])
    assert desk.json("list") == before
    path = desk.state / "drafts" / "monday.json"
    path.write_text(path.read_text()[:-9])
    desk("list", code=5)
    desk("delete", "monday", code=5)


def test_run_needs_no_farm_and_a_second_run_changes_nothing(desk: Desk) -> None:
    desk.two_steps("monday")
    events = [json.loads(line) for line in desk("run", "monday", "--json").splitlines()]
    assert [event["event"] for event in events if event["event"] != "progress"] == [
        *("submitted", "job"),
    ]
    assert {"step 0 of 2", "step 1 of 2"} <= {event.get("message") for event in events}
    assert events[-1]["state"] == "completed"
    assert probe(desk.out("two.mp4")).frames == FRAMES
    made = Path(desk.out("two.mp4")).stat().st_mtime_ns
    assert desk.out("two.mp4") in desk("run", "monday")
    assert desk.json("retry", "monday")["state"] == "completed"
    assert Path(desk.out("two.mp4")).stat().st_mtime_ns == made
    assert not any((desk.state / "jobs").iterdir())
    assert desk.json("list", "completed")[0]["where"] == "here"
    facts = desk.seen("show", "monday", "--json")
    assert facts["state"] == "completed"
    assert [step["state"] for step in facts["each_step"]] == ["completed", "completed"]
    assert desk.seen("watch", "monday", "--json") == facts
    assert desk.seen("logs", "monday", "--chunk", "0", "--json")["event"] == "done"
    desk("add-step", "monday", str(desk.film), *desk.step("x.mp4"), code=3)
    desk("create", "monday", code=3)
    with FarmDisk(desk.state / "runs" / "monday").held():
        desk("delete", "monday", code=3)  # another process is at work on it
    for _ in range(2):
        assert desk.json("delete", "monday") == {"job": "monday", "gone": True}
    assert desk.json("list") == []
    assert Path(desk.out("two.mp4")).exists()


def test_a_retry_does_nothing_finished_again(desk: Desk, tmp_path: Path) -> None:
    late = tmp_path / "late"
    late.mkdir()
    desk.two_steps("monday", "late/two.mp4")
    late.rename(tmp_path / "moved")
    desk("retry", "monday", code=3)
    desk("run", "monday", code=5)
    (row,) = desk.json("list", "failed")
    assert (row["step"], row["error"]) == (1, "storage.unwritable")
    made = Path(desk.out("monday-one.mp4")).stat().st_mtime_ns
    ledger = FarmDisk(desk.state / "runs" / "monday").ledger()
    before = [task.tries for task in ledger.state.jobs["monday"].steps[0].tasks["render"]]
    desk("run", "monday", code=3)
    desk("retry", "monday", code=5)
    late.mkdir()
    assert desk.json("retry", "monday")["state"] == "completed"
    assert Path(desk.out("monday-one.mp4")).stat().st_mtime_ns == made
    ledger = FarmDisk(desk.state / "runs" / "monday").ledger()
    assert [t.tries for t in ledger.state.jobs["monday"].steps[0].tasks["render"]] == before


def test_a_run_that_is_interrupted_is_cancelled_and_goes_on(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.two_steps("monday")
    looks = 0
    snapshot = farm.foreground.snapshot

    def interrupt(*given: Any) -> Any:
        nonlocal looks
        looks += 1
        if looks == 8:
            raise KeyboardInterrupt
        return snapshot(*given)

    monkeypatch.setattr(farm.foreground, "snapshot", interrupt)
    desk("run", "monday", code=130)
    assert desk.json("list")[0]["state"] == "cancelled"
    assert desk.json("retry", "monday")["state"] == "completed"
    assert probe(desk.out("two.mp4")).frames == FRAMES


def test_a_run_that_was_killed_is_queued_and_a_run_goes_on(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.two_steps("monday")
    before = (desk.state / "drafts" / "monday.json").read_bytes()
    calls = 0

    def dies(*_: object) -> Any:
        nonlocal calls
        calls += 1
        if calls == 8:
            raise SystemExit  # nothing is told to anyone, as by SIGKILL
        return kept(*_)

    kept = farm.foreground.snapshot
    with monkeypatch.context() as patch:
        patch.setattr(farm.foreground, "snapshot", dies)
        with pytest.raises(SystemExit):
            main(["job", "run", "monday"])
    (desk.state / "drafts" / "monday.json").write_bytes(before)  # it died before this went
    facts = desk.seen("show", "monday", "--json")
    assert (facts["state"], facts["waits"]) == ("queued", "nobody works on it now")
    assert {chunk["lane"] for chunk in facts["chunks"]} == {None}
    (row,) = desk.json("list")
    assert (row["state"], row["where"]) == ("queued", "here")
    assert desk.json("run-all")["done"] == ["monday"]
    assert probe(desk.out("two.mp4")).frames == FRAMES
    assert not (desk.state / "drafts" / "monday.json").exists()


def test_what_cannot_be_run_is_refused_before_it_begins(desk: Desk) -> None:
    desk("create", "empty")
    desk("run", "empty", code=2)
    desk.two_steps("monday")
    desk("remove-step", "monday", "0")
    desk("run", "monday", code=3)  # its film was the result of that step
    desk("create", "late")
    desk("add-step", "late", str(desk.film), *desk.step("late.mp4"))
    Path(desk.out("late.mp4")).write_text("somebody's")
    desk("run", "late", code=3)
    assert {row["state"] for row in desk.json("list")} == {"drafted"}
    assert Path(desk.out("late.mp4")).read_text() == "somebody's"


def test_all_and_halt_on_error(desk: Desk) -> None:
    for name in ("a", "b"):
        desk("create", name)
        desk("add-step", name, str(desk.film), *desk.step(f"{name}.mp4"))
    Path(desk.out("a.mp4")).write_text("in the way")
    found = desk.json("run-all", "--halt-on-error", code=9)
    assert "a" in found["found"]
    assert {row["state"] for row in desk.json("list")} == {"drafted"}
    desk.json("run-all", code=9)
    assert [row["state"] for row in desk.json("list")] == ["drafted", "completed"]
    Path(desk.out("a.mp4")).unlink()
    assert desk.json("run-all")["done"] == ["a"]
    assert desk.json("retry-all")["done"] == []
    assert desk.json("delete-all")["done"] == ["a", "b"]
    assert desk.json("list") == []


def test_the_farm_takes_a_job_of_steps(desk: Desk, service: TestFarm) -> None:
    desk.two_steps("monday")
    for _ in range(2):
        row = desk.json("submit", "monday", "--priority", "70")
        assert (row["where"], outputs(row)) == ("farm", ["monday-one.mp4", "two.mp4"])
    assert not (desk.state / "drafts" / "monday.json").exists()
    assert service.ask("jobs")[0]["priority"] == 70
    desk("run", "monday", code=3)
    desk("delete", "monday", code=3)
    service.until("completed", "monday")
    assert probe(desk.out("two.mp4")).frames == FRAMES
    assert main(["show", "monday"]) == 0
    assert desk.json("delete", "monday")["gone"] is True
    assert desk.json("list") == []


def test_the_farm_retries_what_failed_there(desk: Desk, service: TestFarm, tmp_path: Path) -> None:
    late = tmp_path / "late"
    late.mkdir()
    desk.two_steps("monday", "late/two.mp4")
    desk("create", "empty")
    late.rmdir()
    assert desk.json("submit-all")["done"] == ["monday"]
    service.until("failed", "monday")
    assert [row["state"] for row in desk.json("list")] == ["drafted", "failed"]
    late.mkdir()
    assert desk.json("retry-all")["done"] == ["monday"]
    service.until("completed", "monday")
    assert desk.json("delete-all")["done"] == ["empty", "monday"]


def test_a_death_between_submission_and_its_note_gives_one_job(
    desk: Desk, service: TestFarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.two_steps("monday")
    with monkeypatch.context() as patch:
        patch.setattr(DraftBook, "remove", lambda *_: False)
        desk("submit", "monday")
    assert (desk.state / "drafts" / "monday.json").exists()
    desk("submit", "monday")
    assert not (desk.state / "drafts" / "monday.json").exists()
    assert len(service.ask("jobs")) == 1


def test_without_a_farm_submit_says_how_to_start_one(desk: Desk) -> None:
    desk.two_steps("monday")
    desk("submit", "monday", code=8)
    assert desk.json("list")[0]["state"] == "drafted"


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "x" * 65, "a b"])
def test_names_are_names_of_files(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingInvalid):
        DraftBook(tmp_path).get(name)
