"""A farm in this process, told everything that people may ask, and killed at every turn."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import cluster.farm
from actors.prober import probe
from actors.toolbox import LaneKit, Toolbox
from cluster.executor import Executor
from cluster.farm import Farm
from cluster.farm_actor import check_journal
from cluster.farm_verbs import FarmVerbs
from cluster.film_work import Desk
from cluster.job_shelf import Entry, JobShelf
from cluster.preparation import Premises, Say
from cluster.webhook import Patience, Webhook
from scheduler.admission import Admission
from scheduler.errors import JobUnknown
from scheduler.events import ExecutorEvent, LaneReady
from scheduler.jobs import EncoderSettings, JobSpec, LaneTask, SwapSettings
from scheduler.provenance import ModelRecord
from tests.unit.actors.films import make_film
from tests.unit.cluster.blind_lane import BlindLane

FRAMES = 40
CHUNKS = 4
NEVER = Patience(again=1000.0)


class TestFarm:
    """A farm with one lane that needs no model, turned by hand.

    Args:
        turn_seconds: how long the lane works at each turn; 0: for one frame, so that how far it
            comes is the same on any machine.
        tools: of its lanes; None: new ones for each.
    """

    __test__ = False

    def __init__(
        self, folder: Path, turn_seconds: float = 0.02, tools: Toolbox | None = None
    ) -> None:
        self.folder = folder
        self._turn_seconds = turn_seconds
        self._tools = tools
        self.now = 0.0
        self.keep_seconds = 0.0
        self.farm = self._begin()

    def _begin(self) -> Farm:
        kit = LaneKit(cache_dir=self.folder / "none")
        farm = Farm(
            folder=self.folder / "farm",
            premises=Premises(cache_dir=self.folder / "none", state_dir=self.folder / "state"),
            kit=kit,
            open_executor=lambda: self._lane(kit),
            local=True,
            keep_seconds=self.keep_seconds,
            webhook=Webhook(self.folder / "webhooks", "s3cret", patience=NEVER),
            clock=lambda: self.now,
        )
        self.verbs = FarmVerbs(farm)
        return farm

    def _lane(self, kit: LaneKit) -> Executor:
        return BlindLane(kit, self._tools)

    def ask(self, verb: str, **facts: Any) -> Any:
        return self.verbs.ask(verb, **facts)

    def die(self) -> None:
        """As after SIGKILL: nothing is said to anyone, and the next one begins."""
        self.farm._journal.close()
        self.farm = self._begin()

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.now += 1.0
            self.farm.turn(self._turn_seconds)

    def words(self) -> list[dict[str, Any]]:
        """What webhooks have not heard yet, the oldest first."""
        files = sorted((self.folder / "webhooks").glob("[!.]*.json"))
        return [json.loads(json.loads(file.read_text())["body"]) for file in files]

    def until(self, state: str, job: str = "film", turns: int = 400) -> dict[str, Any]:
        for _ in range(turns):
            facts: dict[str, Any] = self.ask("show", job=job)
            if facts["state"] == state:
                self.turn()  # what follows from it is done, too
                return facts
            self.turn()
        raise AssertionError((facts, list(self.farm.shelf.read_log(job))))


def open_desk(
    job: JobSpec, premises: Premises, kit: LaneKit, say: Say
) -> tuple[Desk, list[ModelRecord]]:
    desk = Desk(check_sources=lambda _: None, note=lambda text: say("note", text), marking={})
    return desk, []


@pytest.fixture
def farm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestFarm]:
    monkeypatch.setattr(cluster.farm, "open_desk", open_desk)
    farm = TestFarm(tmp_path)
    yield farm
    farm.farm.close()


@pytest.fixture
def spec(tmp_path: Path) -> JobSpec:
    film = make_film(tmp_path / "film.mp4", frames=FRAMES)
    return JobSpec(
        job_id="film",
        media=str(film),
        output=str(tmp_path / "out.mkv"),
        folder=str(tmp_path / "work"),
        swap=SwapSettings(sources=("/nobody.jpg",)),
        encoder=EncoderSettings(codec="ffv1"),
        hashes_output=str(tmp_path / "hashes.tsv"),
        chunk_seconds=0.4,
        attempts=3,
        on_error="passthrough",
    )


def entry(spec: JobSpec, key: str = "") -> Entry:
    return Entry(spec=spec, user="ann", priority=50, key=key, submitted="2026-01-01T00:00:00Z")


def test_a_job_from_its_submission_to_its_film(farm: TestFarm, spec: JobSpec) -> None:
    assert farm.ask("jobs") == []
    assert farm.ask("submit", entry=entry(spec, "monday")) == "film"
    assert farm.ask("submit", entry=entry(replace(spec, job_id="twin"), "monday")) == "film"
    (row,) = farm.ask("jobs")
    assert (row["state"], row["phase"], row["user"], row["key"]) == (
        *("running", "probe", "ann"), "monday",
    )  # fmt: skip
    facts = farm.until("completed")
    assert facts["phase"] == "done"
    assert facts["chunks_done"] == facts["chunks_total"] == 2 * CHUNKS
    assert sum(c["frames_done"] for c in facts["chunks"]) == 2 * FRAMES
    assert facts["core_seconds"] > 0
    assert facts["summary"]["passed"] == [[0, FRAMES]]
    assert probe(spec.output).frames == FRAMES
    assert not Path(spec.folder).exists()
    log = farm.ask("logs", job="film", chunk=None)
    assert log[0]["event"] == "submitted"
    assert log[-1]["message"] == "completed"
    of_one = farm.ask("logs", job="film", chunk=2)
    assert {line["chunk"] for line in of_one} == {2}
    assert {"started", "failed", "done"} <= {line["event"] for line in of_one}
    assert check_journal(farm.folder / "farm") == []


def test_a_farm_that_is_killed_at_every_turn_makes_the_same_film(
    farm: TestFarm, spec: JobSpec, tmp_path: Path
) -> None:
    farm.ask("submit", entry=entry(spec))
    farm.until("completed")
    calm = Path(spec.hashes_output).read_text()
    other = replace(
        spec,
        job_id="hunted",
        folder=str(tmp_path / "hunted"),
        output=str(tmp_path / "hunted.mkv"),
        hashes_output=str(tmp_path / "hunted.tsv"),
    )
    farm.ask("submit", entry=entry(other))
    lives = 0
    for turns in range(2, 40):
        farm.turn(turns)
        if farm.ask("show", job="hunted")["state"] == "completed":
            break
        farm.die()
        lives += 1
    assert lives > 3
    assert Path(other.hashes_output).read_text() == calm
    assert check_journal(farm.folder / "farm") == []


@pytest.mark.parametrize("lost", ["analysis", "segments", "both"])
def test_what_storage_lost_is_made_again(farm: TestFarm, spec: JobSpec, lost: str) -> None:
    farm.ask("submit", entry=entry(spec))
    for _ in range(400):
        farm.turn()
        chunks = farm.ask("show", job="film")["chunks"]
        if sum(c["state"] == "done" for c in chunks if c["kind"] == "render") == 2:
            break
    for part in ("analysis", "segments") if lost == "both" else (lost,):
        for path in (Path(spec.folder) / part).iterdir():
            path.unlink()
    farm.die()
    farm.until("completed")
    assert probe(spec.output).frames == FRAMES


def test_pause_resume_and_priority(farm: TestFarm, spec: JobSpec) -> None:
    farm.ask("submit", entry=entry(spec))
    for _ in range(2):
        assert farm.ask("order", job="film", what="pause")[0]["state"] == "paused"
    farm.turn(40)
    (row,) = farm.ask("jobs")
    assert (row["running"], row["waits"]) == (0, "paused")
    for _ in range(2):
        assert farm.ask("priority", job="film", priority=90)[0]["priority"] == 90
        assert farm.ask("order", job="film", what="resume")[0]["state"] == "running"
    farm.until("completed")


def test_cancel_retry_and_rm(farm: TestFarm, spec: JobSpec) -> None:
    farm.ask("submit", entry=entry(spec))
    while not any(c["state"] == "done" for c in farm.ask("show", job="film")["chunks"]):
        farm.turn()
    assert farm.ask("rm", job="film") is False, "it goes on"
    for _ in range(2):
        assert farm.ask("order", job="film", what="cancel")[0]["state"] == "cancelled"
    farm.turn(3)
    assert not Path(spec.partial).exists()
    chunks = farm.ask("show", job="film")["chunks"]
    done = {c["chunk"]: c["attempts"] for c in chunks if c["state"] == "done"}
    assert done
    for _ in range(2):
        assert farm.ask("order", job="film", what="retry")[0]["state"] == "running"
    facts = farm.until("completed")
    again = {c["chunk"]: c["attempts"] for c in facts["chunks"] if c["kind"] == "analyse"}
    assert all(again[chunk] == attempts for chunk, attempts in done.items()), "done stays done"
    assert farm.ask("rm", job="film") is True
    assert farm.ask("rm", job="film") is True, "gone is gone"
    assert farm.ask("jobs") == []
    assert Path(spec.output).exists()
    with pytest.raises(JobUnknown, match="film"):
        farm.ask("show", job="film")


def test_requeue_of_some_frames_makes_their_chunks_again(farm: TestFarm, spec: JobSpec) -> None:
    """The tables are gone with the job's folder; that they have to be made again is no failure."""
    farm.ask("submit", entry=entry(replace(spec, attempts=1)))
    before = {c["chunk"]: c["attempts"] for c in farm.until("completed")["chunks"][CHUNKS:]}
    os.unlink(spec.output)
    farm.ask("requeue", job="film", kind="render", start=12, stop=15)
    after = farm.until("completed")
    chunk = next(c for c in after["chunks"] if c["kind"] == "render" and c["chunk"] == 1)
    assert chunk["attempts"] > before[1]
    assert probe(spec.output).frames == FRAMES


def test_a_job_that_fails_says_why(farm: TestFarm, spec: JobSpec, tmp_path: Path) -> None:
    farm.ask("submit", entry=entry(replace(spec, on_error="fail")))
    failure = farm.until("failed")["failure"]
    assert failure["code"] == "lane.attempts-exhausted"
    assert "it is dark" in failure["found"]
    farm.ask("submit", entry=entry(replace(spec, job_id="gone", media=str(tmp_path / "no.mp4"))))
    assert farm.until("failed", "gone")["error"] == "media.missing"
    farm.ask("submit", entry=entry(replace(spec, job_id="next", folder=f"{spec.folder}-next")))
    farm.until("completed", "next")


def test_a_job_waits_for_room_and_says_so(
    farm: TestFarm, spec: JobSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [Admission(admitted=False, lacks="disk", reason="needs 1.0 GiB of disk")]
    monkeypatch.setattr(
        cluster.farm,
        "admit_film",
        lambda *_, **__: answers.pop() if answers else Admission(admitted=True),
    )
    farm.ask("submit", entry=entry(spec))
    farm.turn(3)
    assert farm.ask("jobs")[0]["waits"] == "needs 1.0 GiB of disk"
    farm.until("completed")


class LaneWithGpu(BlindLane):
    """Says that it has some GPU memory, and works without it."""

    memory = 1 << 30
    node = "small"

    def start(self, task: LaneTask, lane: int) -> None:
        super().start(replace(task, job=replace(task.job, device="cpu")), lane)

    def poll(self, timeout: float) -> list[ExecutorEvent]:
        return [
            replace(event, node=self.node, host=self.node, gpu_memory=self.memory)
            if isinstance(event, LaneReady)
            else event
            for event in super().poll(timeout)
        ]


def test_a_job_waits_for_a_gpu_that_is_large_enough(
    farm: TestFarm, spec: JobSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = LaneWithGpu(LaneKit(cache_dir=farm.folder / "none"))
    monkeypatch.setattr(farm, "_lane", lambda kit: lane)
    monkeypatch.setattr(cluster.farm, "network_bytes", lambda *_: 500_000_000)
    farm.ask("submit", entry=entry(replace(spec, device="cuda")))
    farm.turn(4)
    (row,) = farm.ask("jobs")
    assert row["waits"] == (
        "needs 2.1 GiB of GPU memory for a lane; the most that one has is 1.0 GiB (on small)"
    )
    (node,) = farm.ask("nodes")
    assert [each["gpu_memory"] for each in node["lanes"]] == [1 << 30]
    lane.memory, lane.node = 4 << 30, "large"
    lane.kill(0, "another comes in its place")
    farm.until("completed")


def test_a_farm_without_gpus_lets_its_lanes_say_so(
    farm: TestFarm, spec: JobSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = LaneWithGpu(LaneKit(cache_dir=farm.folder / "none"))
    lane.memory = 0
    monkeypatch.setattr(farm, "_lane", lambda kit: lane)
    farm.ask("submit", entry=entry(replace(spec, device="cuda", on_error="fail")))
    assert "it is dark" in farm.until("failed")["failure"]["found"]


def test_a_drained_node_gets_nothing(farm: TestFarm, spec: JobSpec) -> None:
    farm.turn(2)
    (node,) = farm.ask("nodes")
    assert (node["state"], len(node["lanes"])) == ("up", 1)
    for _ in range(2):
        assert farm.ask("node", node=node["node"], what="drain")[0]["state"] == "drained"
    farm.ask("submit", entry=entry(spec))
    farm.turn(10)
    (row,) = farm.ask("jobs")
    assert (row["phase"], row["running"]) == ("analyse", 0)
    assert row["waits"]
    for _ in range(2):
        assert farm.ask("node", node=node["node"], what="forgive")[0]["state"] == "up"
    farm.until("completed")
    with pytest.raises(JobUnknown):
        farm.ask("node", node="nowhere", what="drain")


def test_a_name_may_be_short_if_it_is_clear(farm: TestFarm, spec: JobSpec) -> None:
    for name in ("monday-a1", "monday-b2"):
        farm.ask("submit", entry=entry(replace(spec, job_id=name)))
    assert farm.ask("show", job="b2")["job"] == "monday-b2"
    for wrong in ("monday", "", "tuesday"):
        with pytest.raises(JobUnknown):
            farm.ask("show", job=wrong)


def test_each_state_is_told_once_whatever_dies(
    farm: TestFarm, spec: JobSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    farm.ask("submit", entry=entry(replace(spec, webhooks=("http://127.0.0.1:9/",))))
    farm.ask("order", job="film", what="pause")
    farm.turn()
    farm.ask("order", job="film", what="resume")
    farm.die()  # before the word on it was said
    farm.turn()
    with monkeypatch.context() as patch:
        patch.setattr(JobShelf, "put_told", lambda *_: None)  # death before it is noted as said
        farm.until("completed")
    farm.die()
    farm.turn(3)
    words = farm.words()
    states = ["queued", "running", "paused", "running", "completed", "completed"]
    assert [word["state"] for word in words] == states
    assert [word["job"] for word in words] == ["film"] * 6
    assert words[-1]["id"] == words[-2]["id"]
    assert len({word["id"] for word in words}) == 5
    for file in (farm.folder / "webhooks").iterdir():
        file.unlink()  # or the farm's end would wait for somebody to hear them


@pytest.fixture
def steps(spec: JobSpec, tmp_path: Path) -> Entry:
    """Two steps; the second takes the result of the first."""
    first = replace(spec, output=str(tmp_path / "first.mp4"), hashes_output="")
    second = replace(spec, job_id="second", media=first.output, folder=str(tmp_path / "work2"))
    return replace(entry(first), name="both", later=(second,))


def test_a_step_takes_the_result_of_the_one_before(farm: TestFarm, steps: Entry) -> None:
    for _ in range(2):
        assert farm.ask("submit", entry=steps) == "both"
    (row,) = farm.ask("jobs")
    assert (row["step"], row["steps"]) == (0, 2)
    while not Path(steps.spec.output).exists():
        farm.turn()
    farm.turn()
    assert not Path(steps.spec.folder).exists(), "only the next step's is needed"
    facts = farm.ask("show", job="both")
    assert [each["state"] for each in facts["each_step"]] == ["completed", "running"]
    facts = farm.until("completed", "both")
    assert [each["state"] for each in facts["each_step"]] == ["completed", "completed"]
    assert [each["summary"]["frames"] for each in facts["each_step"]] == [FRAMES, FRAMES]
    assert facts["chunks_done"] == facts["chunks_total"] == 4 * CHUNKS
    assert (facts["video"], facts["output"]) == (steps.spec.media, steps.later[0].output)
    assert probe(steps.later[0].output).frames == FRAMES
    assert not Path(steps.later[0].folder).exists()
    assert farm.farm.shelf.folders() == {"both", "work", "work2"}


def test_steps_that_are_killed_at_every_turn_make_the_same_films(
    farm: TestFarm, steps: Entry, tmp_path: Path
) -> None:
    farm.ask("submit", entry=steps)
    farm.until("completed", "both")
    calm = Path(steps.later[0].hashes_output).read_text()
    Path(steps.later[0].hashes_output).unlink()
    assert farm.ask("rm", job="both") is True
    farm.ask("submit", entry=steps)
    lives = 0
    for turns in range(2, 40):
        farm.turn(turns)
        if farm.ask("show", job="both")["state"] == "completed":
            break
        farm.die()
        lives += 1
    assert lives > 4
    assert Path(steps.later[0].hashes_output).read_text() == calm
    assert check_journal(farm.folder / "farm") == []


def test_a_retry_does_no_finished_step_and_no_finished_chunk_again(
    farm: TestFarm, steps: Entry, tmp_path: Path
) -> None:
    late = tmp_path / "late"
    late.mkdir()
    second = replace(steps.later[0], output=str(late / "second.mp4"), hashes_output="")
    farm.ask("submit", entry=replace(steps, later=(second,)))
    while not any(c["step"] == 1 and c["state"] == "done" for c in chunks_of(farm)):
        farm.turn()
    late.rmdir()
    facts = farm.until("failed", "both")
    assert facts["error"] == "storage.unwritable"
    assert [each["state"] for each in facts["each_step"]] == ["completed", "failed"]
    made = Path(steps.spec.output).stat().st_mtime_ns
    late.mkdir()
    farm.die()
    farm.ask("order", job="both", what="retry")
    again = farm.until("completed", "both")
    assert again["chunks"] == facts["chunks"], "no chunk was tried again"
    assert Path(steps.spec.output).stat().st_mtime_ns == made
    assert probe(second.output).frames == FRAMES


def chunks_of(farm: TestFarm) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = farm.ask("show", job="both")["chunks"]
    return found


def test_a_step_of_a_job_may_keep_the_films_frames_where_others_fail(
    farm: TestFarm, steps: Entry
) -> None:
    farm.ask("submit", entry=replace(steps, later=(replace(steps.later[0], on_error="fail"),)))
    facts = farm.until("failed", "both")
    assert [each["state"] for each in facts["each_step"]] == ["completed", "failed"]
    assert facts["error"] == "lane.attempts-exhausted"


def test_a_group_is_paused_resumed_cancelled_and_removed_together(
    farm: TestFarm, spec: JobSpec
) -> None:
    for name in ("one", "two"):
        of_group = replace(spec, job_id=name, folder=f"{spec.folder}-{name}")
        farm.ask("submit", entry=replace(entry(of_group), group="batch"))
    farm.ask("submit", entry=entry(spec))
    orders = [("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")]
    for what, state in orders:
        rows = farm.ask("order", job="batch", what=what)
        assert [(row["job"], row["group"]) for row in rows] == [("one", "batch"), ("two", "batch")]
        assert {row["state"] for row in rows} <= {state, "queued"}
    assert {row["priority"] for row in farm.ask("priority", job="batch", priority=9)} == {9}
    farm.turn(5)
    for _ in range(2):
        assert farm.ask("rm", job="batch") is True
    assert [row["job"] for row in farm.ask("jobs")] == ["film"]


def test_jobs_that_ended_long_ago_are_forgotten(farm: TestFarm, spec: JobSpec) -> None:
    farm.keep_seconds = 1000.0
    farm.die()
    farm.ask("submit", entry=entry(spec))
    farm.until("completed")
    farm.ask("submit", entry=entry(replace(spec, job_id="paused", folder=f"{spec.folder}-p")))
    farm.ask("order", job="paused", what="pause")
    farm.now += 900.0
    farm.turn()
    assert [row["job"] for row in farm.ask("jobs")] == ["film", "paused"]
    farm.now += 200.0
    farm.turn()
    assert [row["job"] for row in farm.ask("jobs")] == ["paused"], "it has not ended"
    assert farm.farm.shelf.jobs() == ["paused"]
    assert Path(spec.output).exists()
