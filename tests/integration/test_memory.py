"""Memory does not grow with the film's length. Slow: renders ten minutes of film."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.integration.films import loop

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(3600)]


def peak_memory(arguments: list[str], folder: Path) -> int:
    """Most bytes that a command and all its children held at once (shared pages counted once)."""
    command = subprocess.Popen(
        [sys.executable, "-m", "farm.cli", *arguments],
        env=os.environ | {"XDG_STATE_HOME": str(folder)},
        stdout=subprocess.DEVNULL,
    )
    peak = 0
    while command.poll() is None:
        total = 0
        try:
            tree = psutil.Process(command.pid)
            for process in (tree, *tree.children(recursive=True)):
                total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # a process ended while it was looked at
        peak = max(peak, total)
        time.sleep(0.5)
    assert command.returncode == 0
    return peak


def test_ten_minutes_need_at_most_a_fifth_more_than_one(
    samples: dict[str, Path], tmp_path: Path
) -> None:
    peaks = {}
    for minutes in (1, 10):
        film = loop(samples["wolfgang_langer"], tmp_path / f"{minutes}.mp4", round(minutes * 3.05))
        out = tmp_path / f"{minutes}.out.mp4"
        typed = ["submit", film, "-s", samples["astronaut"], "-o", out, "--lanes", "2"]
        peaks[minutes] = peak_memory([*map(str, typed)], tmp_path / "state")
        print(f"{minutes} min: {peaks[minutes] / 1e6:.0f} MB")
    assert peaks[10] <= 1.2 * peaks[1]
