"""The journal's writer dies before each of its statements; the next goes on from the same state."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.record import part

STEPS = Path(__file__).with_name("journal_steps.py")
SEED = 3


SHARES = 20


def test_the_next_writer_goes_on_from_the_same_state() -> None:
    found = told("--pairs", "60")
    assert found["stories"] == found["steps"] + 60
    for known in ("append: INSERT", "_transaction: COMMIT", "compact: PRAGMA", "_migrate: CREATE"):
        assert any(known in name for name in found["names"]), (known, found["names"])


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("share", range(SHARES))
def test_the_same_for_each_pair(share: int) -> None:
    with part(f"journal-steps-{share:02}") as facts:
        facts |= told("--share", f"{share}", f"{SHARES}")
        assert facts["stories"] > facts["steps"]


def told(*options: str) -> dict[str, Any]:
    """What the stories came to; none of them went wrong."""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, str(STEPS), str(SEED), *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
        env={"PYTHONPATH": str(root), "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["wrong"] == []
    return found
