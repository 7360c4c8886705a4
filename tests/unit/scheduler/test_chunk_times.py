"""Chunk times come from what was measured, and a report that is none is refused."""

from random import Random
from statistics import mean, quantiles
from typing import Any

import pytest

from scheduler.chunk_times import MEASURED, ChunkTimes, drawn, from_measured
from scheduler.errors import SettingInvalid

REPORT: dict[str, Any] = {
    "analyse_s": 0.01,
    "render_s": 0.05,
    "contents": [0.5, 1.0, 2.5],
    "attempts": [0.9, 1.0, 1.2],
}


def test_what_is_drawn_has_the_quantiles_that_were_given() -> None:
    rng = Random(1)
    found = sorted(drawn((0.5, 1.0, 3.0), rng) for _ in range(20_000))
    assert min(found) >= 0.5
    assert max(found) <= 3.0
    quarters = quantiles(found, n=4)
    assert quarters == pytest.approx([0.75, 1.0, 2.0], abs=0.05)


def test_a_report_gives_its_times() -> None:
    times = from_measured(REPORT, "report.json")
    assert (times.analyse, times.render) == (0.01, 0.05)
    rng = Random(2)
    assert mean(times.content(rng) for _ in range(20_000)) == pytest.approx(1.25, abs=0.02)
    lucks = [times.luck(rng) for _ in range(20_000)]
    tail = [luck for luck in lucks if luck > 1.2]
    assert 0.5 * times.tail_share < len(tail) / len(lucks) <= 1.2 * times.tail_share
    assert max(lucks) > 3.0, "attempts that take much longer come on top of what was measured"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"contents": [1.0, 0.5]}, "do not rise"),
        ({"contents": [1.0]}, "do not rise"),
        ({"attempts": []}, "do not rise"),
        ({"contents": [0.0, 1.0]}, "do not rise"),
        ({"render_s": 0.0}, "not above 0"),
        ({"render_s": "soon"}, "soon"),
        ({"contents": None}, "not iterable"),
    ],
)
def test_another_file_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingInvalid, match=words) as caught:
        from_measured(REPORT | change, "report.json")
    assert "report.json" in str(caught.value)


def test_a_report_without_a_part_is_refused() -> None:
    with pytest.raises(SettingInvalid, match="attempts"):
        from_measured({name: REPORT[name] for name in REPORT if name != "attempts"}, "a.json")


def test_the_model_is_what_there_is_without_a_measurement() -> None:
    rng = Random(3)
    contents = [ChunkTimes().content(rng) for _ in range(20_000)]
    assert quantiles(contents, n=4)[1] == pytest.approx(1.0, abs=0.05)


def test_what_is_shipped_was_measured() -> None:
    assert len(MEASURED.contents) == len(MEASURED.attempts) == 21
    for spread in (MEASURED.contents, MEASURED.attempts):
        assert list(spread) == sorted(spread)
        assert spread[10] == pytest.approx(1.0, abs=0.05)
