"""The command itself, stopped as a user or the kernel would stop it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pytest

from tests.integration.films import trim

pytestmark = pytest.mark.ray


class Farm:
    """A ``farm submit`` in a process group and with a temporary folder of its own."""

    def __init__(self, folder: Path, film: Path, face: Path, temporary: Path | None = None) -> None:
        self.folder = folder
        self.output = folder / "out.mp4"
        # Ray's sockets lie deep below it, and their names must stay short.
        self.temporary = temporary or Path(tempfile.mkdtemp(prefix="sf", dir="/tmp"))
        typed = ["submit", film, "-s", face, "-o", self.output, "--chunk-seconds", "1", "--json"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "farm.cli", *map(str, typed)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ
            | {"XDG_STATE_HOME": str(folder / "state"), "TMPDIR": str(self.temporary)},
        )
        self.events: list[dict[str, object]] = []
        self.complaints = ""
        self._readers = [
            threading.Thread(target=self._read_events, daemon=True),
            threading.Thread(target=self._read_complaints, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read_events(self) -> None:
        assert self.process.stdout
        with self.process.stdout as lines:
            for line in lines:
                self.events.append(json.loads(line))

    def _read_complaints(self) -> None:
        assert self.process.stderr
        with self.process.stderr as lines:
            self.complaints = lines.read()

    def wait_for(self, phase: str, frames: int, seconds: float = 120) -> None:
        """Until so many frames of a phase are done."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for event in list(self.events):
                if event.get("phase") == phase and int(str(event["frames_done"])) >= frames:
                    return
            assert self.process.poll() is None, (self.events, self.complaints)
            time.sleep(0.05)
        raise AssertionError(f"no {frames} frames of {phase}: {self.events[-3:]}")

    def family(self) -> list[psutil.Process]:
        """All processes below the command, Ray's included."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self, seconds: float = 200) -> int:
        code = self.process.wait(seconds)
        for reader in self._readers:
            reader.join(10)
        return code

    def leftovers(self) -> list[str]:
        """Files that a finished, cancelled or swept job must not leave."""
        # How fast this machine works is kept on purpose, for `farm submit --plan`.
        kept = (self.output.name, "rates.json")
        ours = [p for p in self.folder.rglob("*") if not p.is_dir() and p.name not in kept]
        return sorted(map(str, [*ours, *self.temporary.iterdir()]))


def gone(processes: list[psutil.Process], seconds: float = 30) -> bool:
    """Whether all end within so many seconds."""
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return not alive


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
    folder = tmp_path / "job"
    folder.mkdir()
    shm = set(os.listdir("/dev/shm"))
    farm = Farm(folder, film, samples["astronaut"])
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
    assert farm.leftovers() == []
    assert not farm.output.exists()
    assert set(os.listdir("/dev/shm")) <= shm


def test_a_killed_command_leaves_no_process_and_is_swept_at_the_next_start(
    film: Path, samples: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    shm = set(os.listdir("/dev/shm"))
    farm = Farm(folder, film, samples["astronaut"])
    farm.wait_for("render", 30)
    family = farm.family()
    lanes = [process for process in family if "StageShell" in process.name()]
    assert lanes
    farm.process.kill()
    assert farm.end() == -signal.SIGKILL
    assert gone(lanes), "they hold the memory and the cores"
    again = Farm(folder, film, samples["astronaut"], farm.temporary)
    assert again.end() == 0, again.complaints
    assert again.events[0]["event"] == "swept"
    assert again.events[-1]["event"] == "done"
    assert gone(family), "Ray's agents, which linger, are ended by the next start at the latest"
    assert again.leftovers() == []
    assert set(os.listdir("/dev/shm")) <= shm
