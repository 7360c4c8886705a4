from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from farm.rates import RateBook, Rates, measured, schedule
from scheduler.jobs import JobSummary

SUMMARY = JobSummary(
    job_id="j",
    output="o",
    frames=100,
    faces=60,
    tracks=1,
    frames_with_faces=60,
    swapped_frames=50,
    cuts=0,
    chunks=4,
    retries=0,
    crop_size=256,
    seconds=20,
    phase_seconds={"start": 3.0, "render": 10.0},
    cpu_ms_per_frame={
        "render.decoder": 10.0,
        "render.swapper": 20.0,
        "render.compositor": 5.0,
        "render.encoder": 15.0,
        "analyse.detector": 99.0,
    },
    swaps=50,
    megapixels=2.0,
)


def test_a_jobs_time_is_shared_out_to_frames_and_swaps() -> None:
    rates = measured(SUMMARY, lanes=2)
    assert rates == Rates(frame_ms=50.0, swap_ms=200.0, start_seconds=3.0)
    # The same job reckoned back: 100 frames and 50 swaps on two lanes.
    whole = (100 * 2.0 * rates.frame_ms + 50 * rates.swap_ms) / 2 / 1000
    assert whole == pytest.approx(10.0)
    assert measured(replace(SUMMARY, swaps=3), lanes=2) is None
    single = measured(replace(SUMMARY, chunks=1), lanes=2)
    assert single is not None
    assert single.frame_ms == 25.0, "one chunk keeps one lane busy"


def test_the_median_of_the_latest_counts(tmp_path: Path) -> None:
    book = RateBook(tmp_path / "state" / "rates.json")
    assert book.find("a") is None
    for frame_ms in (1000.0, 1.0, 2.0, 3.0, 4.0, 90.0):
        book.add("a", Rates(frame_ms=frame_ms, swap_ms=5.0, start_seconds=0.0))
    assert book.find("a") == (Rates(frame_ms=3.0, swap_ms=5.0, start_seconds=0.0), 5)
    assert book.find("b") is None
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["rates.json"]


@pytest.mark.parametrize("text", ["", "[]", '{"a": 3}', '{"a": [{"frame_ms": "x"}]}', "\x00"])
def test_a_damaged_book_is_an_empty_one(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rates.json"
    path.write_text(text)
    assert RateBook(path).find("a") is None
    RateBook(path).add("a", Rates(frame_ms=1.0, swap_ms=5.0, start_seconds=0.0))
    assert RateBook(path).find("a") is not None


@pytest.mark.parametrize(
    ("costs", "lanes", "end"),
    [([], 2, 0.0), ([3, 3, 3], 1, 9), ([3, 3, 3], 2, 6), ([1, 5, 1, 1], 2, 5)],
)
def test_lanes_take_what_comes_next(costs: list[float], lanes: int, end: float) -> None:
    assert schedule(costs, lanes) == end
