"""Charts: round ticks, well-formed pictures, nothing where there is nothing."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from farm.charts import LEFT, RIGHT, WIDTH, Bar, Line, TimeAxis, clock, line_chart, ticks, timeline

AXIS = TimeAxis(frames=100, seconds=4.0, borders=(25, 50), cuts=(70,))
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    ("largest", "wanted"),
    [
        (1.0, [0, 0.25, 0.5, 0.75, 1.0]),
        (3.2, [0, 1, 2, 3, 4]),
        (0.07, [0, 0.02, 0.04, 0.06, 0.08]),
        (1234.0, [0, 500, 1000, 1500]),
        (0.0, [0, 1]),
        (float("nan"), [0, 1]),
    ],
)
def test_ticks_are_round_and_reach_beyond(largest: float, wanted: list[float]) -> None:
    assert ticks(largest) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0 s"), (2.5, "2.5 s"), (65, "1:05"), (3720, "1:02:00")]
)
def test_times_are_short(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


def test_a_chart_breaks_its_line_where_nothing_is_known() -> None:
    line = Line(name="a < b", style="line made", values=[1.0, 2.0, None, 4.0, None, None, 2.0, 2.0])
    text = line_chart("Warp & flicker", AXIS, [line], dots=[(50, 3.0, "a > b")], threshold=3.5)
    root = ElementTree.fromstring(text)
    assert root.findtext(f"{SVG}title") == "Warp & flicker"
    assert root.findtext(f"{SVG}desc", "").startswith("a < b: mean 2.20, at most 4.00.")
    path = root.find(f"{SVG}path")
    assert path is not None
    drawn = path.get("d", "")
    assert drawn.count("M") == 3, "three stretches"
    first = float(drawn[1:].split(",")[0])
    assert first == pytest.approx(LEFT + (WIDTH - LEFT - RIGHT) / 16, abs=0.1)
    kinds = [line.get("class") for line in root.findall(f"{SVG}line")]
    assert (kinds.count("border"), kinds.count("cut"), kinds.count("level")) == (2, 1, 1)
    (dot,) = root.findall(f"{SVG}circle")
    assert dot.findtext(f"{SVG}title") == "a > b"


def test_a_chart_of_nothing_is_still_one() -> None:
    root = ElementTree.fromstring(line_chart("Empty", AXIS, [Line(name="x", style="y", values=[])]))
    assert root.findtext(f"{SVG}desc") == "No values."


def test_a_timeline_shows_single_frames_of_long_films() -> None:
    axis = TimeAxis(frames=200_000, seconds=8000.0)
    bars = [
        Bar(start=0, stop=9, style="swapped", title="a"),
        Bar(start=9, stop=10, style="left", title="<b>"),
    ]
    root = ElementTree.fromstring(timeline("Faces", axis, [("A · 0", bars), ("1", [])]))
    rects = root.findall(f"{SVG}rect")
    assert [rect.get("class") for rect in rects] == ["swapped", "left"]
    assert min(float(rect.get("width", 0)) for rect in rects) >= 1.5
    assert rects[1].findtext(f"{SVG}title") == "<b>"
