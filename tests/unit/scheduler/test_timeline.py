from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.errors import SettingInvalid
from scheduler.jobs import FaceChoice, JobSpec, SwapSettings
from scheduler.media import ColourTags, VideoIndex
from scheduler.output import CutSettings
from scheduler.timeline import cut, kept_frames, localised, result_of, shown_frames, span_of


def film(
    pts: list[int], base: Fraction = Fraction(1, 1000), rate: Fraction | None = None
) -> VideoIndex:
    gaps = [after - before for before, after in pairwise(pts)] or [40]
    gaps.append(gaps[-1])
    return VideoIndex(
        path="/film.mp4",
        container="mov",
        stream=0,
        codec="h264",
        width=641,
        height=360,
        pix_fmt="yuv420p",
        time_base=base,
        pts=tuple(pts),
        durations=tuple(gaps[: len(pts)]),
        keyframes=tuple(range(0, len(pts), 10)),
        average_rate=rate or 1 / (base * (sum(gaps) // len(gaps))),
        colour=ColourTags(),
    )


def steady(frames: int, gap: int = 40) -> VideoIndex:
    return film([5 * gap + n * gap for n in range(frames)])


def length(index: VideoIndex) -> Fraction:
    return (index.pts[-1] + index.durations[-1] - index.pts[0]) * index.time_base


def test_the_whole_film_is_the_film() -> None:
    index = steady(30)
    assert cut(index, CutSettings()) is index
    assert cut(index, CutSettings(start=0, stop=99)) is index
    assert result_of(index, None) is index
    assert span_of(index, index) is None


def test_a_trim_keeps_its_frames_with_their_times_and_knows_where_decoding_can_start() -> None:
    whole = steady(30)
    index = cut(whole, CutSettings(start=12, stop=23))
    assert index.pts == whole.pts[12:23]
    assert index.durations == whole.durations[12:23]
    assert index.keyframes == (8,)
    assert index.entries == (whole.pts[0], whole.pts[10], whole.pts[20])
    span = span_of(whole, index)
    assert span is not None
    assert span.begin == whole.pts[12] * whole.time_base
    assert span.end == whole.pts[23] * whole.time_base
    assert span.shift == Fraction(12 * 40, 1000)


@pytest.mark.parametrize("start", [30, 31, 500])
def test_a_trim_behind_the_end_is_refused(start: int) -> None:
    with pytest.raises(SettingInvalid, match="the film has 30"):
        cut(steady(30), CutSettings(start=start))


def test_a_lower_rate_leaves_the_frames_out_that_are_not_shown() -> None:
    whole = film([n * 1001 for n in range(60)], Fraction(1, 60000))
    settings = CutSettings(rate=Fraction(12000, 1001))
    assert kept_frames(whole, settings) == tuple(range(0, 60, 5))
    index = cut(whole, settings)
    assert length(index) == length(whole)
    assert shown_frames(index, settings.rate) == tuple(range(12))
    assert length(result_of(index, settings.rate)) == length(whole)


def test_a_higher_rate_shows_frames_again_and_keeps_the_length() -> None:
    whole = steady(10)
    rate = Fraction(50)
    assert cut(whole, CutSettings(rate=rate)) is whole
    assert shown_frames(whole, rate) == tuple(n // 2 for n in range(20))
    result = result_of(whole, rate)
    assert result.frames == 20
    assert length(result) == length(whole)
    assert result.pts[0] * result.time_base == whole.pts[0] * whole.time_base


def test_times_rounded_to_milliseconds_do_not_make_a_picture_skip() -> None:
    rate = Fraction(24000, 1001)
    rounded = film([round(n * 1000 / rate) for n in range(500)], rate=rate)
    assert shown_frames(rounded, rate) == tuple(range(500))


def test_trim_and_rate_together() -> None:
    whole = steady(100)
    settings = CutSettings(start=10, stop=60, rate=Fraction(5))
    assert kept_frames(whole, settings) == tuple(range(10, 60, 5))
    index = cut(whole, settings)
    assert length(index) == Fraction(2)
    span = span_of(whole, index)
    assert span is not None
    assert span.end - span.begin == 2


@given(
    gaps=st.lists(st.integers(1, 200), min_size=1, max_size=60),
    rate=st.fractions(min_value=1, max_value=120, max_denominator=1001),
)
def test_any_rate_keeps_the_length_and_needs_only_the_frames_it_shows(
    gaps: list[int], rate: Fraction
) -> None:
    pts = [0]
    for gap in gaps:
        pts.append(pts[-1] + gap)
    whole = film(pts)
    shows = shown_frames(whole, rate)
    assert shows[0] == 0
    assert all(before <= after for before, after in pairwise(shows))
    index = cut(whole, CutSettings(rate=rate))
    assert [index.pts[at] for at in shown_frames(index, rate)] == [whole.pts[at] for at in shows]
    result = result_of(index, rate)
    assert result.frames == len(shows)
    assert all(before < after for before, after in pairwise(result.pts))
    # At least one picture, and to within half of one as many as the film is long.
    assert abs(len(shows) - max(1, length(whole) * rate)) <= Fraction(1, 2)
    if result.frames > 1:
        assert length(result) == length(whole)


def test_a_size_is_rounded_to_even_numbers_and_times_stay() -> None:
    index = steady(3)
    half = result_of(index, None, 0.5)
    assert (half.width, half.height) == (320, 180)
    assert half.pts == index.pts
    assert (result_of(index, None, 1.0).width, index.width) == (641, 641)


def job(frame: int | None, settings: CutSettings) -> JobSpec:
    return JobSpec(
        job_id="j",
        media="/film.mp4",
        output="/out.mp4",
        folder="/jobs/j",
        swap=SwapSettings(),
        faces=replace(FaceChoice(), reference_frame=frame),
        cut=settings,
    )


def test_the_reference_frame_is_counted_as_the_cut_film_counts() -> None:
    whole = steady(100)
    trim = CutSettings(start=10, stop=60)
    assert localised(job(12, trim), whole).faces.reference_frame == 2
    assert localised(job(None, trim), whole).faces.reference_frame is None
    assert localised(job(12, CutSettings()), whole).faces.reference_frame == 12
    thinned = CutSettings(start=10, stop=60, rate=Fraction(5))
    assert localised(job(15, thinned), whole).faces.reference_frame == 1
    for frame in (9, 60):
        with pytest.raises(SettingInvalid, match="reference frame"):
            localised(job(frame, trim), whole)
