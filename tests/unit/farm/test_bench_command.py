"""The simulation on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from farm.cli import main


def test_the_simulation_says_how_well_a_farm_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "simulate", "--nodes", "10", "--jobs", "4"]
    assert main([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["completed"] == 4
    assert 0.5 < result["efficiency"] <= 1.0
    assert result["decisions_per_s"] > 0
    assert 0.0 <= result["wasted_fraction"] < 0.5
    assert main(words) == 0
    assert "efficiency" in capsys.readouterr().out


def test_the_simulation_takes_the_times_of_ones_own_films(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    report = tmp_path / "times.json"
    words = ["bench", "simulate", "--nodes", "4", "--jobs", "2", "--json"]

    def makespan(render_s: float) -> float:
        spread = [0.9, 1.0, 1.1]
        facts = {"analyse_s": 0.01, "render_s": render_s, "contents": spread, "attempts": spread}
        report.write_text(json.dumps(facts))
        assert main([*words, "--times", str(report)]) == 0
        return float(json.loads(capsys.readouterr().out)["makespan_s"])

    assert makespan(0.4) > 3 * makespan(0.1)
    report.write_text("nothing")
    assert main([*words, "--times", str(report)]) == 2
    assert "benchmarks/chunk_times.py" in capsys.readouterr().err
