"""kill -9 on the journal's writer: what was acknowledged is there, and the file can be read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

WRITER = Path(__file__).with_name("journal_writer.py")


@pytest.mark.parametrize(
    "kills",
    [
        100,
        pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(7200)]),
    ],
)
def test_kill_minus_nine_loses_nothing_that_was_acknowledged(kills: int, tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, str(WRITER), str(path), str(kills), "20261122"],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
        env={"PYTHONPATH": str(root), "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["lost"], result["unreadable"], result["unasked"]) == (0, 0, 0), result
    assert result["transitions"] > kills / 2, "the writers were killed before they could write"
