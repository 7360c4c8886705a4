"""The journal's writer dies before each of its statements; the next goes on from the same state."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

STEPS = Path(__file__).with_name("journal_steps.py")
SEED = 3


@pytest.mark.parametrize(
    "pairs",
    [
        pytest.param(60, id="each step, and 60 pairs"),
        pytest.param(
            0, id="each step and each pair", marks=[pytest.mark.slow, pytest.mark.timeout(7200)]
        ),
    ],
)
def test_the_next_writer_goes_on_from_the_same_state(pairs: int) -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, str(STEPS), str(SEED), str(pairs)],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
        env={"PYTHONPATH": str(root), "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    assert found["stories"] >= found["steps"] + pairs
    for known in ("append: INSERT", "_transaction: COMMIT", "compact: PRAGMA", "_migrate: CREATE"):
        assert any(known in name for name in found["names"]), (known, found["names"])
