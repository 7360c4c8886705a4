"""``farm submit`` or ``farm job run`` in a process of its own, watched from outside."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from tests.support.scene import Scene


class Farm:
    """A running ``farm submit``, in a process group of its own.

    Args:
        scene: whose folder gets ``out.mp4``.
        film: the target.
        face: the picture of the face to put on.
        options: further ones of the command.
        before: a command that runs it, such as ``unshare --mount sh -c ...``.
        environment: variables on top of the scene's.
        instead: another command that tells events, without film, face and output.
    """

    def __init__(
        self,
        scene: Scene,
        film: Path,
        face: Path,
        options: Sequence[str] = (),
        *,
        before: Sequence[str] = (),
        environment: dict[str, str] | None = None,
        instead: Sequence[str] = (),
    ) -> None:
        self.scene = scene
        self.output = scene.folder / "out.mp4"
        order = ["submit", film, "-s", face, "-o", self.output, "--chunk-seconds", "1", "--json"]
        typed = instead or order
        self.process = subprocess.Popen(
            [*before, sys.executable, "-m", "farm.cli", *map(str, typed), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=scene.environment | (environment or {}),
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
                if line.endswith("\n"):  # a killed command leaves half a line
                    self.events.append(json.loads(line))

    def _read_complaints(self) -> None:
        assert self.process.stderr
        with self.process.stderr as lines:
            self.complaints = lines.read()

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def done(self, phase: str) -> int:
        """Frames of a phase that are done, as far as the command has told; -1: it has not begun."""
        told = [e for e in list(self.events) if e.get("phase") == phase]
        return max((int(str(e["frames_done"])) for e in told), default=-1)

    @property
    def up(self) -> bool:
        """Lanes have begun to work."""
        return any(event.get("phase") == "analyse" for event in list(self.events))

    @property
    def share(self) -> float:
        """Of all frames to be analysed and rendered those that are, 0..1, as far as was told."""
        total = max((int(str(e.get("frames_total", 0))) for e in list(self.events)), default=0)
        done = sum(max(self.done(phase), 0) for phase in ("analyse", "render"))
        return done / (2 * total) if total else 0.0

    def reached(self, phase: str, frames: int, seconds: float = 120) -> bool:
        """Waits until so many frames of a phase are done; False: the command ended before."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.done(phase) >= frames:
                return True
            if not self.running:
                return False
            time.sleep(0.05)
        raise AssertionError(f"no {frames} frames of {phase}: {self.events[-3:]}")

    def wait_for(self, phase: str, frames: int, seconds: float = 120) -> None:
        """Until so many frames of a phase are done."""
        assert self.reached(phase, frames, seconds), (self.events, self.complaints)

    def family(self) -> list[psutil.Process]:
        """All processes below the command, Ray's included."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def end(self, seconds: float = 200) -> int:
        """The exit code, once the command has ended."""
        code = self.process.wait(seconds)
        for reader in self._readers:
            reader.join(10)
        return code


def gone(processes: list[psutil.Process], seconds: float = 30) -> bool:
    """Whether all end within so many seconds."""
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return not alive
