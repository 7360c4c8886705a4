"""Every benchmark can be started, and the quick one is run: their paths are no other test's."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(
    path.name for path in (ROOT / "benchmarks").glob("*.py") if "__main__" in path.read_text()
)


def started(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("name", SCRIPTS)
def test_it_says_what_it_measures(name: str) -> None:
    done = started(f"benchmarks/{name}", "--help")
    assert done.returncode == 0, done.stderr
    assert "--json" in done.stdout or name == "standins.py"  # which measures nothing


def test_the_kernels_can_be_timed(tmp_path: Path) -> None:
    done = started("benchmarks/kernel_times.py", "--quick", "--json", str(tmp_path / "times.json"))
    assert done.returncode == 0, done.stderr
    times = json.loads((tmp_path / "times.json").read_text())["ms"]
    assert len(times) > 10
    assert all(0 < ms["best"] <= ms["median"] for ms in times.values())
