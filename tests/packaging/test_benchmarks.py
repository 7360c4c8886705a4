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


def test_chunks_can_be_timed_and_a_farm_simulated_with_that(tmp_path: Path) -> None:
    report, farm = tmp_path / "times.json", tmp_path / "farm.json"
    done = started("benchmarks/chunk_times.py", "--quick", "--json", str(report))
    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())
    assert found["chunks"] == 3
    assert set(found["halo"]) == {"in_order", "backward"}
    for more in found["halo"].values():
        assert set(more) == {"frames", "wall", "cpu"}
        assert more["frames"] == pytest.approx(2 * 12 / 75), "before each chunk but the first"
    assert len(found["contents"]) == len(found["attempts"]) == 21
    words = ("--quick", "--times", str(report), "--json", str(farm))
    done = started("benchmarks/simulate.py", *words)
    assert done.returncode == 0, done.stderr
    assert json.loads(farm.read_text())["completed"] == 20
