"""A job of a farm that was brought up with ``farm up``, watched from its disk alone."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from cluster.farm_disk import FarmDisk
from cluster.farm_place import find_place
from scheduler.instructions import JobState
from scheduler.standing import Job
from scheduler.tasks import TaskState
from tests.support.scene import Scene

KINDS: Final = (
    "kill service",
    "freeze service",
    "kill actor",
    "freeze actor",
    "zombie",
    "kill raylet",
    "freeze raylet",
    "kill head",
    "freeze head",
    "kill command",
    "freeze command",
)
"""Faults; the *command* is the farm's keeper, with which all of the farm dies. A *zombie* takes
lanes of two processes."""
_WORDS: Final = 420.0
"""Seconds in which a command is obeyed, by a farm that may just be starting again: more than the
keeper takes for two tries at a Ray and for the service in it."""


class FarmedJob:
    """A job of the scene's farm, which is started if it is not up. Has what `disturb` needs.

    Args:
        scene: whose folder gets ``out.mp4``, and whose state folder holds the farm.
        film: the target.
        face: the picture of the face to put on.
        key: the same one is the same job.
    """

    def __init__(self, scene: Scene, film: Path, face: Path, key: str) -> None:
        self.scene = scene
        self.output = scene.folder / "out.mp4"
        self.folder = scene.folder / "state" / "swapfarm" / "farm"
        self.events: list[dict[str, object]] = []
        self._disk = FarmDisk(self.folder)
        self._read: tuple[list[tuple[int, int]], Job] | None = None
        self._say("up", "--lanes", "2")
        place = find_place(self.folder)
        assert place is not None
        self.process = psutil.Process(place.pid)
        order = [str(film), "-s", str(face), "-o", str(self.output), "--chunk-seconds", "1"]
        self._say("submit", *order, "--overwrite", "--detach", "--key", key)
        entry = self._disk.shelf.with_key(key)
        assert entry is not None
        self._name = entry.job

    def _say(self, *words: str) -> None:
        until = time.monotonic() + _WORDS
        while True:
            done = subprocess.run(
                [sys.executable, "-m", "farm.cli", *words],
                env=self.scene.environment | {"SWAPFARM_LANE_PROCESSES": "2"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_WORDS,
                check=False,
            )
            if done.returncode == 0:
                return
            assert time.monotonic() < until, (words, done.returncode, done.stderr[-2000:])
            time.sleep(1.0)

    def _job(self) -> Job:
        """As the journal has it, which is read again only when it was written to."""
        stamps = []
        for ending in ("", "-wal"):
            with suppress(FileNotFoundError):
                facts = (self.folder / f"journal.db{ending}").stat()
                stamps.append((facts.st_mtime_ns, facts.st_size))
        if self._read is None or self._read[0] != stamps:
            self._read = stamps, self._disk.ledger().state.jobs[self._name]
        return self._read[1]

    @property
    def complaints(self) -> str:
        """What the farm has written of itself."""
        logs = [self.folder / name for name in ("keeper.log", "farm.log")]
        log = [str(line) for line in self._disk.shelf.read_log(self._name)][-20:]
        return "\n".join([*(path.read_text()[-2000:] for path in logs if path.exists()), *log])

    @property
    def kept_up(self) -> bool:
        """Its keeper lives."""
        try:
            return self.process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    @property
    def running(self) -> bool:
        return self.kept_up and not self._job().state.ended

    @property
    def up(self) -> bool:
        """Lanes have begun to work."""
        return any(task.tries for task in self._job().steps[0].tasks["analyse"])

    @property
    def share(self) -> float:
        """Of all chunks to be analysed and rendered those that are, 0..1."""
        tasks = self._job().steps[0].tasks
        done = [t.state is TaskState.DONE for kind in ("analyse", "render") for t in tasks[kind]]
        return sum(done) / max(2 * len(tasks["analyse"]), 1)

    def family(self) -> list[psutil.Process]:
        """All processes below the keeper, Ray's included."""
        try:
            return list(self.process.children(recursive=True))
        except psutil.NoSuchProcess:
            return []

    def end(self, seconds: float = 200) -> int:
        """0: the job is completed; -SIGKILL: the keeper is dead; 9: it has ended otherwise."""
        until = time.monotonic() + seconds
        while self.running:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired("the farm's job", seconds)
            time.sleep(0.2)
        state = self._job().state
        if state is JobState.COMPLETED:
            return 0
        return 9 if state.ended else -signal.SIGKILL

    def take_down(self) -> None:
        """End the farm, whatever it does."""
        self._say("down", "--within", "0")
