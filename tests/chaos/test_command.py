"""The command itself, stopped as a user or the kernel would stop it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.integration.films import trim
from tests.support.command import Farm, gone
from tests.support.scene import Scene

pytestmark = pytest.mark.ray


@pytest.fixture
def film(tmp_path: Path, samples: dict[str, Path]) -> Path:
    (tmp_path / "in").mkdir()
    return trim(samples["wolfgang_langer"], tmp_path / "in" / "film.mp4", 240)


@pytest.mark.parametrize("phase", ["analyse", "render"])
@pytest.mark.parametrize("group", [True, False], ids=["terminal", "process"])
def test_interrupt_cancels_cleanly(
    phase: str, group: bool, film: Path, samples: dict[str, Path], tmp_path: Path
) -> None:
    """Ctrl-C reaches the whole group of processes in a terminal; ``kill -INT`` only one."""
    with Scene(tmp_path / "job") as scene:
        farm = Farm(scene, film, samples["astronaut"])
        farm.wait_for(phase, 30)
        family = farm.family()
        assert family
        if group:
            os.killpg(farm.process.pid, signal.SIGINT)
        else:
            farm.process.send_signal(signal.SIGINT)
        assert farm.end(40) == 130, farm.complaints
        assert farm.events[-1]["code"] == "cancelled"
        assert "Traceback" not in farm.complaints
        assert gone(family)
        assert scene.leftovers() == []
        assert not farm.output.exists()


def test_a_killed_command_leaves_no_process_and_is_swept_at_the_next_start(
    film: Path, samples: dict[str, Path], tmp_path: Path
) -> None:
    with Scene(tmp_path / "job") as scene:
        farm = Farm(scene, film, samples["astronaut"])
        farm.wait_for("render", 30)
        family = farm.family()
        lanes = [process for process in family if "StageShell" in process.name()]
        assert lanes
        farm.process.kill()
        assert farm.end() == -signal.SIGKILL
        assert gone(lanes), "they hold the memory and the cores"
        again = Farm(scene, film, samples["astronaut"])
        assert again.end() == 0, again.complaints
        assert again.events[0]["event"] == "swept"
        assert again.events[-1]["event"] == "done"
        assert gone(family), "Ray's agents, which linger, are ended by the next start at the latest"
        assert scene.leftovers([again.output.name]) == []
