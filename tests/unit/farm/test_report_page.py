"""The page of a report: what it says, and that nothing in a name can break it."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from farm.report import Report
from farm.report_page import ROWS, page, write_page
from farm.report_verdicts import verdicts
from scheduler.errors import StorageUnwritable

HOSTILE = '<script>alert("x")&amp;.mp4'
VOID = {"meta", "img", "br", "i"}


def facts(tracks: int = 2, name: str = HOSTILE, **total: Any) -> dict[str, Any]:
    """A report's numbers, all of a kind."""
    ratio = {"codes": 1.5, "own_codes": 1.0, "ratio": 1.5}
    like = {"mean": 0.45, "min": 0.4, "std": 0.05, "frames": 6}
    jitter = {"px": 0.5, "pct": 0.4, "median_pct": 0.3}
    each = {
        "identity": "A", "person": HOSTILE, "first": 0, "last": 99, "first_time": "0:00:00.000",
        "frames": 100, "swapped": 90, "outcomes": {"swapped": 90, "lost": 10},
        "spans": [[0, 50, "swapped"], [50, 60, "lost"], [60, 100, "swapped"]],
        "similarity": like, "similarity_before": like, "samples": [[5, 0.45]], "jitter": jitter,
        "warp": ratio, "flicker": ratio, "seam": None, "switches": 0,
    }  # fmt: skip
    line = [1.0, None, 2.0]
    return {
        "film": f"/films/{name}", "output": f"/films/{name}", "frames": 100, "seconds": 4.0,
        "width": 640, "height": 360, "program": "swapfarm 0.1.0", "swapper": "mesh",
        "encoder": "libx264", "job_seconds": 9.0, "passed": [[50, 60]],
        "finished": "2026-01-02T03:04:05Z",
        "borders": [50], "cuts": [], "look_at": [
            {"frame": 7, "time": "0:00:00.280", "track": 0, "why": f"because of {name}"}
        ],
        "total": {
            "wanted": 200, "swapped": 180, "identity_switches": 0, "similarity": like,
            "similarity_before": like, "jitter": jitter, "warp": ratio, "flicker": ratio,
            "seam": 1.1,
        } | total,
        "tracks": [{"track": number, **each} for number in range(tracks)],
        "series": dict.fromkeys(
            ("warp", "own_warp", "flicker", "own_flicker", "jitter_pct"), line
        ),
    }  # fmt: skip


class Reader(HTMLParser):
    """Text and tags, and whether each tag is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID - {"i"}:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def test_names_are_text_wherever_they_come_from() -> None:
    portrait = np.zeros((144, 144, 3), np.uint8)
    read = Reader(page(Report(facts=facts(), portraits={0: (portrait, portrait)})))
    assert "script" not in read.tags
    assert read.words.count(HOSTILE) >= 5
    assert read.tags.count("img") == 2
    assert "10 frames" not in read.words
    assert "not found in this frame" in read.words
    assert "2026-01-02 03:04 UTC" in read.words
    assert "every attempt failed: frames 50 to 59" in read.words


def test_a_crowd_does_not_flood_the_page() -> None:
    text = page(Report(facts=facts(tracks=500), portraits={}))
    read = Reader(text)
    assert f"{500 - ROWS} more tracks" in read.words
    assert len(text) < 150_000


def test_where_the_time_went_is_there_where_it_is_known() -> None:
    spent = {"calls": 100, "wall_ms": 1234.0, "cpu_ms": 1000.0, "device_ms": None}
    assert "Where the time went" not in Reader(page(Report(facts=facts(), portraits={}))).words
    timed = facts() | {"times": {"render.swapper": spent, "render.<b>": spent}}
    read = Reader(page(Report(facts=timed, portraits={})))
    assert "render · swapper" in read.words
    assert read.words.count("12.34") == 2
    assert "GPU" not in read.words
    timed["times"]["render.swapper"] = spent | {"device_ms": 250.0}
    read = Reader(page(Report(facts=timed, portraits={})))
    assert "GPU" in read.words
    assert "2.50" in read.words


def test_a_film_without_faces_has_a_page_too() -> None:
    read = Reader(page(Report(facts=facts(tracks=0), portraits={})))
    assert "No face was found" in read.words
    assert "figure" not in read.tags


def test_what_was_not_measured_is_said_so() -> None:
    nothing = {"codes": None, "own_codes": None, "ratio": None}
    bare = facts(
        wanted=0, swapped=0, similarity=None, similarity_before=None, warp=nothing,
        flicker=nothing, seam=None, jitter={"px": None, "pct": None, "median_pct": None},
    )  # fmt: skip
    read = Reader(page(Report(facts=bare | {"look_at": []}, portraits={})))
    assert read.words.count("not measured") == 6
    assert "Look here first" not in read.words


@pytest.mark.parametrize(
    ("total", "name", "grade"),
    [
        ({}, "Likeness", "good"),
        ({"similarity": {"mean": 0.35, "min": 0.1}}, "Likeness", "fair"),
        ({"similarity": {"mean": 0.1, "min": 0.0}}, "Likeness", "poor"),
        ({}, "Swapped", "fair"),
        ({"swapped": 100}, "Swapped", "poor"),
        ({"identity_switches": 1}, "Identity switches", "poor"),
        ({}, "Seams", "good"),
        ({"seam": 2.0}, "Seams", "fair"),
        ({"seam": 4.0}, "Seams", "poor"),
        ({"seam": None}, "Seams", "none"),
    ],
)
def test_verdicts(total: dict[str, Any], name: str, grade: str) -> None:
    found = {verdict.name: verdict for verdict in verdicts(facts(**total))}
    assert found[name].grade == grade
    assert found[name].grade_word


def test_the_page_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    report = Report(facts=facts(name="bytes \udcff.mp4"), portraits={})
    write_page(report, path)
    assert "bytes ?.mp4" in path.read_text("utf-8")
    assert [each.name for each in tmp_path.iterdir()] == ["page.html"]
    with pytest.raises(StorageUnwritable):
        write_page(report, tmp_path / "gone" / "page.html")
