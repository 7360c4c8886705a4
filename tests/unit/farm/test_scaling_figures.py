"""Figures of measured runs: what they mean, how sure they are, and the files that have them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import pytest

from farm.cli import main
from farm.scaling import parse_nodes
from farm.scaling_figures import Interval, Run, interval, lines, rows_of, write_files
from scheduler.errors import SettingInvalid

ABOUT = {
    "swap": "stand-in-waits-5ms",
    "standin": True,
    "where": "2 emulated nodes of one machine",
    "chunk_frames": 12,
    "chunks_a_node": 10,
    "repeats": 2,
    "analysis": "the analysis came from the cache",
}


def run(nodes: int, seconds: float) -> Run:
    """Ten chunks of ten frames a node; a tenth of the time passes before and after rendering."""
    rendering = 0.9 * seconds
    return Run(
        nodes=nodes,
        lanes=nodes,
        frames=100 * nodes,
        chunks=10 * nodes,
        seconds=seconds,
        rendering=rendering,
        busy=0.8 * nodes * rendering,
        halo=0.25,
        gaps=(0.01,) * 8,
        retries=0,
    )


def test_an_interval_by_hand() -> None:
    found = interval([10.0, 12.0, 14.0])
    assert found.mean == 12.0
    assert found.half == pytest.approx(4.30 * 2.0 / 3**0.5)
    assert interval([7.0]) == Interval(mean=7.0, half=0.0)
    ratio = Interval(mean=8.0, half=0.4) / Interval(mean=2.0, half=0.1)
    assert ratio.mean == 4.0
    assert ratio.half == pytest.approx(4.0 * 2**0.5 * 0.05)


def test_where_the_time_went_is_all_of_it() -> None:
    one, two = rows_of([run(1, 10.0), run(2, 12.5), run(1, 10.0), run(2, 12.5)], {1: 3.0, 2: 4.0})
    assert (one.nodes, one.repeats, one.fps, one.speedup, one.efficiency) == (1, 2, 10.0, 1.0, 1.0)
    assert (two.fps, two.speedup, two.efficiency) == (16.0, 1.6, 0.8)
    assert (two.speedup_ci, two.start_s) == (0.0, 4.0)
    for row in (one, two):
        assert row.film == pytest.approx(0.1)
        assert row.idle == pytest.approx(0.9 * 0.2)
        assert row.halo == pytest.approx(0.9 * 0.8 * 0.25)
    assert one.chunk_s == pytest.approx(0.72)
    assert one.scheduler == pytest.approx(0.01 / 0.72)


def test_a_speed_up_is_over_one_node_whatever_the_smallest_number_is() -> None:
    two, four = rows_of([run(2, 10.0), run(4, 10.0)], {2: 1.0, 4: 1.0})
    assert (two.speedup, two.efficiency) == (2.0, 1.0)
    assert (four.speedup, four.efficiency) == (4.0, 1.0)


def test_files_and_words_name_the_stand_in(tmp_path: Path) -> None:
    rows = rows_of([run(1, 10.0), run(2, 12.5)], {1: 3.0, 2: 4.0})
    table, facts, plot = write_files(tmp_path / "new", rows, ABOUT)
    with table.open() as file:
        assert [(line["nodes"], line["speedup"]) for line in csv.DictReader(file)] == [
            *(("1", "1.0"), ("2", "1.6")),
        ]
    found = json.loads(facts.read_text())
    assert found["swap"] == "stand-in-waits-5ms"
    assert found["standin"] is True
    assert [row["efficiency"] for row in found["nodes"]] == [1.0, 0.8]
    assert {"nodes", "fps", "speedup", "efficiency"} <= set(found["nodes"][0])
    picture = cv2.imread(str(plot))
    assert picture is not None
    assert picture.shape == (720, 960, 3)
    assert picture.min() < 60
    assert lines(rows, ABOUT)[0].startswith("STAND-IN: stand-in-waits-5ms")
    real = lines(rows, ABOUT | {"standin": False})
    assert not any("STAND-IN" in line for line in real)
    assert "0.800" in real[-1]


def test_numbers_of_nodes() -> None:
    assert parse_nodes("8,1, 2,1") == (1, 2, 8)
    for wrong in ("", "0,1", "a", "1,,2", "5000"):
        with pytest.raises(SettingInvalid):
            parse_nodes(wrong)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--nodes", "many"], "--nodes 'many'"),
        (["--swap", "mesh"], "--swap without --source"),
        (["--film", "nowhere.mp4"], "nowhere.mp4"),
    ],
)
def test_clear_errors(words: list[str], what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "scaling", *words]) == 2
    assert what in capsys.readouterr().err


def test_the_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "scaling", "--help"]) == 0
    words = capsys.readouterr().out
    for each in ("--address", "--source", "--wait", "stand-in waits", "--json"):
        assert each in words
