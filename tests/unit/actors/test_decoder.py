from __future__ import annotations

import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.decoder import Decoder
from actors.hashes import frame_hash
from actors.prober import probe
from scheduler.errors import FramesLost, MediaUnsupported
from scheduler.media import VideoIndex
from tests.unit.actors.films import make_film, ring_for, shown

OPEN_GOP = "open-gop=1:keyint=8:min-keyint=8:bframes=3:scenecut=0"

FILMS = {
    "closed.mp4": {"options": {"bf": "3", "g": "9"}},
    "open.mp4": {"options": {"x264-params": OPEN_GOP}},
    "open.ts": {"options": {"x264-params": OPEN_GOP}},
    "open.mkv": {
        "codec": "libx265",
        "options": {"x265-params": "log-level=none:keyint=8:min-keyint=8:bframes=3:open-gop=1"},
    },
    "refresh.mp4": {"options": {"x264-params": "intra-refresh=1:keyint=8:bframes=0"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "options": {"bf": "2"}},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"bf": "2"}},
    "counted.avi": {"options": {"bf": "2"}},
    "raw.h264": {"options": {"bf": "2"}},
    "ten.mp4": {"pix_fmt": "yuv420p10le", "options": {"bf": "2", "g": "9"}},
    "odd.mkv": {"codec": "ffv1", "pix_fmt": "yuv420p", "size": (61, 47)},
    "rgb.mov": {"codec": "qtrle", "pix_fmt": "rgb24"},
    "grey.mkv": {"codec": "ffv1", "pix_fmt": "gray"},
    "gbr.mkv": {"codec": "ffv1", "pix_fmt": "gbrp10le"},
    "negative.mp4": {"pts": list(range(-7, 23)), "options": {"bf": "2"}},
    "late.mp4": {"pts": list(range(10**6, 10**6 + 30)), "options": {"bf": "2", "g": "9"}},
}


def decoded(index: VideoIndex, start: int, stop: int, threads: int = 1) -> list[tuple[int, str]]:
    return [
        (frame.handle.pts, frame_hash(frame.picture))
        for frame in Decoder(index, threads).decode(start, stop, ring_for(index))
    ]


@pytest.mark.parametrize("name", FILMS)
def test_every_range_gives_its_frames(name: str, tmp_path: Path) -> None:
    index = probe(make_film(tmp_path / name, **FILMS[name]))
    whole = shown(index.path, index)
    reference = [(pts, digest) for pts, (_, digest) in zip(index.pts, whole, strict=True)]
    assert decoded(index, 0, index.frames) == reference
    for start in range(index.frames):
        stop = min(start + 3, index.frames)
        assert decoded(index, start, stop) == reference[start:stop]
    assert decoded(index, 5, 20, threads=3) == reference[5:20]
    assert decoded(index, 4, 4) == []


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> VideoIndex:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    return probe(make_film(path, frames=60, options={"x264-params": OPEN_GOP}))


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_any_partition_gives_the_whole(film: VideoIndex, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(1, film.frames - 1), max_size=6, unique=True))
    borders = [0, *sorted(cuts), film.frames]
    parts = [entry for start, stop in pairwise(borders) for entry in decoded(film, start, stop)]
    assert parts == decoded(film, 0, film.frames)


def test_frame_indices_are_those_of_the_film(film: VideoIndex) -> None:
    frames = Decoder(film).decode(11, 14, ring_for(film))
    assert [frame.handle.frame_index for frame in frames] == [11, 12, 13]


def test_a_film_that_lost_frames_is_an_error(film: VideoIndex) -> None:
    more = replace(film, pts=(*film.pts, film.pts[-1] + 512), durations=(*film.durations, 512))
    with pytest.raises(FramesLost, match="frame 60"):
        decoded(more, 50, 61)
    between = replace(
        film,
        pts=(*film.pts[:30], film.pts[30] - 1, *film.pts[30:]),
        durations=(*film.durations, 1),
        keyframes=(0,),
    )
    with pytest.raises(FramesLost, match="frame 30"):
        decoded(between, 25, 35)
    with pytest.raises(FramesLost, match="frame 30"):
        decoded(between, 30, 31)


def test_a_shorter_file_is_an_error(tmp_path: Path) -> None:
    path = make_film(tmp_path / "film.mkv", options={"g": "5"})
    index = probe(path)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(FramesLost):
        decoded(index, 25, 30)


def test_a_change_of_size_is_an_error(tmp_path: Path, film: VideoIndex) -> None:
    with pytest.raises(MediaUnsupported, match="64x48"):
        decoded(replace(film, width=66), 0, 2)


def test_the_file_is_closed_in_the_end_and_when_nobody_wants_more(film: VideoIndex) -> None:
    def opened() -> int:
        links = [Path(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
        return sum(os.path.realpath(link) == film.path for link in links)

    frames = Decoder(film).decode(9, 40, ring_for(film))
    next(frames)
    assert opened() == 1
    frames.close()
    assert opened() == 0
    assert len(decoded(film, 9, 40)) == 31
    assert opened() == 0
