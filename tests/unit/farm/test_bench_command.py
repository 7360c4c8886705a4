"""The simulation on the command line."""

from __future__ import annotations

import json

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
