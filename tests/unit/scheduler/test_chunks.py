from __future__ import annotations

from fractions import Fraction
from itertools import accumulate, pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.chunks import Chunk, chunk_length, plan_chunks
from scheduler.errors import SettingInvalid
from scheduler.media import ColourTags, VideoIndex


def film(pts: tuple[int, ...], time_base: Fraction, last: int = 1) -> VideoIndex:
    gaps = tuple(b - a for a, b in pairwise(pts))
    return VideoIndex(
        path="/film.mp4",
        container="mov",
        stream=0,
        codec="h264",
        width=64,
        height=48,
        pix_fmt="yuv420p",
        time_base=time_base,
        pts=pts,
        durations=(*gaps, last),
        keyframes=(0,),
        average_rate=Fraction(25),
        colour=ColourTags(),
    )


def steady(frames: int, rate: Fraction = Fraction(25), first: int = 0) -> VideoIndex:
    return film(tuple(range(first, first + frames)), 1 / rate)


@st.composite
def films(draw: st.DrawFn) -> VideoIndex:
    gaps = draw(st.lists(st.integers(1, 400), min_size=0, max_size=300))
    first = draw(st.integers(-5000, 10**9))
    base = draw(st.sampled_from([Fraction(1, 25), Fraction(1001, 30000), Fraction(1, 90)]))
    return film(tuple(accumulate(gaps, initial=first)), base, draw(st.integers(0, 400)))


@settings(deadline=None)
@given(
    index=films(),
    seconds=st.floats(0.01, 100),
    cuts=st.lists(st.integers(-5, 400)),
    reach=st.none() | st.floats(0, 0.5),
    halo=st.integers(0, 500),
)
def test_chunks_partition_the_film_and_halos_stay_inside(
    index: VideoIndex, seconds: float, cuts: list[int], reach: float | None, halo: int
) -> None:
    chunks = plan_chunks(
        index,
        seconds=seconds,
        cuts=cuts,
        reach_seconds=None if reach is None else reach * seconds,
        halo=halo,
    )
    covered = [frame for c in chunks for frame in range(c.start, c.stop)]
    assert covered == list(range(index.frames))
    assert all(c.frames > 0 for c in chunks)
    assert [c.index for c in chunks] == list(range(len(chunks)))
    for c in chunks:
        assert c.warmup == min(halo, c.start)
        assert c.tail == min(halo, index.frames - c.stop)


@settings(deadline=None)
@given(
    index=films(),
    seconds=st.floats(0.5, 20),
    cuts=st.lists(st.integers(0, 400)),
    warmup=st.integers(0, 40),
)
def test_a_warm_up_goes_back_as_far_as_the_shot(
    index: VideoIndex, seconds: float, cuts: list[int], warmup: int
) -> None:
    plain = plan_chunks(index, seconds=seconds, cuts=cuts)
    for chunk, before in zip(
        plan_chunks(index, seconds=seconds, cuts=cuts, warmup=warmup), plain, strict=True
    ):
        assert (chunk.start, chunk.stop, chunk.tail) == (before.start, before.stop, 0)
        first = chunk.start - chunk.warmup
        assert 0 <= chunk.warmup <= warmup
        assert not any(first < cut <= chunk.start for cut in cuts if cut < index.frames)
        assert chunk.warmup == warmup or first == 0 or first in cuts


@settings(deadline=None)
@given(index=films(), seconds=st.floats(0.5, 60), cuts=st.lists(st.integers(0, 400)))
def test_borders_lie_within_reach_of_a_multiple_or_on_the_next_frame(
    index: VideoIndex, seconds: float, cuts: list[int]
) -> None:
    length = Fraction(seconds)
    for chunk in plan_chunks(index, seconds=seconds, cuts=cuts)[1:]:
        time, before = index.time(chunk.start), index.time(chunk.start - 1)
        nearest = round(time / length) * length
        on_cut = chunk.start in cuts and abs(time - nearest) <= length / 4
        first_after = before < (time // length) * length <= time
        assert on_cut or first_after


@settings(deadline=None)
@given(index=films(), cuts=st.lists(st.integers(0, 400)), seed=st.randoms())
def test_the_order_of_the_cuts_does_not_matter(
    index: VideoIndex, cuts: list[int], seed: Random
) -> None:
    mixed = list(cuts)
    seed.shuffle(mixed)
    assert plan_chunks(index, seconds=2.0, cuts=cuts) == plan_chunks(
        index, seconds=2.0, cuts=[*mixed, *mixed]
    )


@settings(deadline=None)
@given(
    frames=st.integers(1, 2000),
    seconds=st.sampled_from([0.5, 1.0, 2.0, 8.0, 1.23]),
    cuts=st.lists(st.integers(0, 2000)),
)
def test_no_chunk_of_a_steady_film_is_tiny_or_huge(
    frames: int, seconds: float, cuts: list[int]
) -> None:
    index = steady(frames)
    chunks = plan_chunks(index, seconds=seconds, cuts=cuts)
    frame = Fraction(1, 25)
    half = Fraction(seconds) / 2
    if len(chunks) > 1:
        for c in chunks:
            assert c.frames * frame >= half - frame
            # One length, a reach at the far end, and a rest of up to half a length.
            assert c.frames * frame <= 4 * half + 2 * frame


def test_eight_second_chunks_of_a_steady_film() -> None:
    starts = [c.start for c in plan_chunks(steady(1000), seconds=8)]
    assert starts == [0, 200, 400, 600, 800]


def test_a_border_moves_to_the_nearest_cut_within_reach() -> None:
    index = steady(1000)
    starts = [c.start for c in plan_chunks(index, seconds=8, cuts=[149, 151, 210, 431, 620, 580])]
    # 210 is nearer to 200 than 151; 431 is within two seconds of 400; 580 and 620 tie: earlier.
    assert starts == [0, 210, 431, 580, 800]
    assert [c.start for c in plan_chunks(index, seconds=8, cuts=[149])] == [0, 200, 400, 600, 800]
    assert [c.start for c in plan_chunks(index, seconds=8, cuts=[210], reach_seconds=0)][1] == 200


def test_a_short_rest_joins_the_chunk_before() -> None:
    assert plan_chunks(steady(299), seconds=8)[-1] == Chunk(index=0, start=0, stop=299)
    assert [c.stop for c in plan_chunks(steady(300), seconds=8)] == [200, 300]


def test_one_frame() -> None:
    assert plan_chunks(steady(1, first=99), halo=9) == (Chunk(index=0, start=0, stop=1),)


def test_long_stills_do_not_make_empty_chunks() -> None:
    index = film((0, 1, 2, 10**9, 10**9 + 1, 10**9 + 30), Fraction(1, 1), 30)
    assert [(c.start, c.stop) for c in plan_chunks(index, seconds=8)] == [(0, 3), (3, 5), (5, 6)]


def test_a_day_at_sixty_frames_a_second() -> None:
    index = steady(24 * 3600 * 60, Fraction(60000, 1001))
    chunks = plan_chunks(index, seconds=8, cuts=range(0, index.frames, 211), halo=24)
    assert 10_000 < len(chunks) < 11_000
    assert chunks[0].start == 0
    assert chunks[-1].stop == index.frames
    assert all(a.stop == b.start for a, b in pairwise(chunks))
    assert all(c.start % 211 == 0 for c in chunks[:-1])


@pytest.mark.parametrize(
    ("seconds", "reach", "halo"),
    [
        (0, None, 0),
        (-1, None, 0),
        (float("nan"), None, 0),
        (float("inf"), None, 0),
        (8, 4.1, 0),
        (8, -0.1, 0),
        (8, float("nan"), 0),
        (8, None, -1),
    ],
)
def test_wrong_settings_are_refused(seconds: float, reach: float | None, halo: int) -> None:
    with pytest.raises(SettingInvalid):
        plan_chunks(steady(10), seconds=seconds, reach_seconds=reach, halo=halo)


@pytest.mark.parametrize(
    ("seconds", "parts"),
    [
        (0.04, 1),
        (2, 1),
        (2.04, 2),
        (8, 2),
        (8.04, 4),
        (32, 4),
        (33, 8),
        (64, 8),
        (64.04, 16),
        (600, 80),
        (7200, 904),
    ],
)
def test_nobody_says_how_long(seconds: float, parts: int) -> None:
    """Equal parts of at most 8 s; of long films a multiple of eight."""
    index = steady(round(25 * seconds))
    chunks = plan_chunks(index)
    assert len(chunks) == parts
    sizes = [chunk.frames for chunk in chunks]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= 200
    assert plan_chunks(index, seconds=float(chunk_length(index))) == chunks


def test_a_film_of_one_frame_without_length_is_one_chunk() -> None:
    assert plan_chunks(film((7,), Fraction(1, 25), last=0)) == (Chunk(index=0, start=0, stop=1),)


@pytest.mark.parametrize("frames", [60, 75, 200, 472, 1500, 2500])
@pytest.mark.parametrize(("warmup", "halo"), [(12, 0), (0, 8), (16, 0)])
def test_equal_parts_are_equal_work(frames: int, warmup: int, halo: int) -> None:
    chunks = plan_chunks(steady(frames), warmup=warmup, halo=halo)
    work = [chunk.frames + chunk.warmup + chunk.tail for chunk in chunks]
    assert len(chunks) > 1
    assert max(work) - min(work) <= 2


def test_work_is_not_evened_out_where_little_else_is_left() -> None:
    chunks = plan_chunks(steady(60), halo=40)
    assert [chunk.frames for chunk in chunks] == [30, 30]
