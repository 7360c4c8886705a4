"""``farm job run`` on real lanes, killed in its second step and started again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from actors.prober import probe
from cluster.farm_disk import FarmDisk
from scheduler.tasks import TaskState
from tests.integration.films import trim
from tests.support.command import Farm, gone
from tests.support.scene import Scene

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]

FRAMES = 72
LANES = 2


def test_a_killed_run_goes_on_with_the_chunk_that_was_under_way(
    samples: dict[str, Path], tmp_path: Path
) -> None:
    film = trim(samples["wolfgang_langer"], tmp_path / "film.mp4", FRAMES)
    face = str(samples["astronaut"])

    with Scene(tmp_path / "job") as scene:

        def farm(*words: str) -> Any:
            done = subprocess.run(
                [sys.executable, "-m", "farm.cli", *words, "--json"],
                env=scene.environment,
                capture_output=True,
                text=True,
                timeout=200,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout.splitlines()[-1])

        def step(output: str) -> list[str]:
            hashes = str(scene.folder / f"{output}.tsv")
            files = ["-s", face, "-o", str(scene.folder / output), "--frame-hashes", hashes]
            return [*files, "--encoder", "ffv1", "--chunk-seconds", "1"]

        farm("job", "create", "monday")
        farm("job", "add-step", "monday", str(film), *step("one.mkv"))
        farm("job", "remix-step", "monday", "0", *step("two.mkv"))
        run = Farm(scene, film, film, instead=["job", "run", "monday", "--json"])
        until = time.monotonic() + 200
        while not any(
            event.get("message") == "step 1 of 2"
            and event.get("phase") == "analyse"
            and int(str(event["frames_done"])) > 24
            for event in list(run.events)
        ):
            assert run.running, run.complaints
            assert time.monotonic() < until, run.events[-3:]
            time.sleep(0.05)
        lanes = [process for process in run.family() if "StageShell" in process.name()]
        run.process.kill()
        assert run.end() == -signal.SIGKILL
        assert gone(lanes)
        one = (scene.folder / "one.mkv").stat().st_mtime_ns
        disk = FarmDisk(scene.folder / "state" / "swapfarm" / "runs" / "monday")
        tasks = disk.ledger().state.jobs["monday"].steps[1].tasks["analyse"]
        finished = [task.chunk for task in tasks if task.state is TaskState.DONE]
        assert finished
        (row,) = farm("job", "list")
        assert (row["state"], row["where"], row["step"]) == ("queued", "here", 1)
        assert farm("job", "run", "monday")["state"] == "completed"
        assert (scene.folder / "one.mkv").stat().st_mtime_ns == one
        tasks = disk.ledger().state.jobs["monday"].steps[1].tasks["analyse"]
        assert [tasks[chunk].tries for chunk in finished] == [1] * len(finished)
        assert sum(task.tries - 1 for task in tasks) <= LANES
        assert probe(scene.folder / "two.mkv").frames == FRAMES
        calm = str(scene.folder / "one.mkv")
        farm("submit", calm, *step("calm.mkv"), "--no-ray")
        hashes = [(scene.folder / f"{name}.mkv.tsv").read_text() for name in ("two", "calm")]
        assert hashes[0] == hashes[1], "as if nothing had happened"
        assert farm("job", "delete", "monday") == {"job": "monday", "gone": True}
        kept = [f"{name}.mkv{end}" for name in ("one", "two", "calm") for end in ("", ".tsv")]
        left = scene.leftovers([*kept, ".lock"], seconds=30)
        assert [each for each in left if "/reports/" not in each] == []
