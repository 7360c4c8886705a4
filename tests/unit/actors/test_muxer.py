from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from av.container import OutputContainer

from actors.decoder import Decoder
from actors.encoder import Encoder
from actors.film import is_still, open_film
from actors.hashes import frame_hash
from actors.muxer import check_container, join
from actors.prober import probe
from scheduler.errors import FramesLost, OutputInvalid, SegmentMismatch, SettingInvalid
from scheduler.jobs import EncoderSettings, Segment
from scheduler.media import VideoIndex
from tests.unit.actors.films import make_film, ring_for, segment_of, text_packets

MARKING = {"comment": "faces altered by swapfarm", "swapfarm": "0.1; model mesh"}
X264 = EncoderSettings(preset="ultrafast")
FFV1 = EncoderSettings(codec="ffv1")
OPEN_GOP = "open-gop=1:keyint=8:min-keyint=8:bframes=3:scenecut=0"


def render(
    index: VideoIndex, settings: EncoderSettings, folder: Path, borders: Sequence[int] = ()
) -> tuple[list[Segment], list[str]]:
    """Segments between the borders, and the hashes of the frames as they were handed over."""
    folder.mkdir(exist_ok=True)
    edges = [0, *borders, index.frames]
    segments, hashes = [], []
    for chunk, (start, stop) in enumerate(pairwise(edges)):
        with Encoder(index, settings, folder / f"{chunk}.mp4") as encoder:
            for frame in Decoder(index).decode(start, stop, ring_for(index)):
                hashes.append(frame_hash(frame.picture))
                encoder.encode(frame)
            made = encoder.close()
        segments.append(segment_of(chunk, made))
    return segments, hashes


def frames_in(index: VideoIndex) -> list[str]:
    return [frame_hash(f.picture) for f in Decoder(index).decode(0, index.frames, ring_for(index))]


def kinds(path: Path) -> list[str]:
    """What the streams are, in order; of two video streams, which one is a cover."""
    with open_film(path) as film:
        covers = [stream for stream in film.streams.video if is_still(stream)]
        return ["cover" if stream in covers else stream.type for stream in film.streams]


def times(index: VideoIndex) -> list[Fraction]:
    return [pts * index.time_base for pts in index.pts]


def others(path: Path, video: int) -> list[list[tuple[Fraction | None, Fraction, bytes]]]:
    """PTS in seconds, duration and payload of each packet of each other stream."""
    streams: dict[int, list[tuple[Fraction | None, Fraction, bytes]]] = {}
    with open_film(path) as film:
        wanted = [s for s in film.streams if s.index != video and s.type != "attachment"]
        for packet in film.demux(wanted) if wanted else ():
            if packet.size:
                time = None if packet.pts is None else packet.pts * packet.time_base
                length = (packet.duration or 0) * packet.time_base
                streams.setdefault(packet.stream_index, []).append((time, length, bytes(packet)))
    return [streams[key] for key in sorted(streams)]


def sound(
    film: OutputContainer, codec: str = "aac", first: int = 0, language: str = "deu"
) -> Callable[[], None]:
    stream = film.add_stream(codec, rate=44100)
    stream.metadata["language"] = language
    noise = np.random.default_rng(5)

    def fill() -> None:
        planar = stream.codec_context.format.name == "fltp"
        for number in range(50):
            samples = noise.integers(-9000, 9000, (1, 2048)).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(samples, "s16", "stereo")
            frame.sample_rate, frame.pts = 44100, first + number * 1024
            if planar:
                made = av.AudioResampler("fltp", "stereo", 44100).resample(frame)
                for part in made:
                    part.pts = first + number * 1024
            else:
                made = [frame]
            for part in made:
                film.mux(stream.encode(part))
        film.mux(stream.encode(None))

    return fill


def everything(film: OutputContainer) -> Callable[[], None]:
    """Two sounds, subtitles, chapters, a font: what Matroska holds."""
    fills = [sound(film, "flac"), sound(film, language="fra")]
    words = film.add_mux_stream("subrip")
    words.metadata["language"] = "eng"
    words.disposition = av.stream.Disposition.forced
    film.add_attachment("font.ttf", "font/ttf", b"\0\1\0\0" + bytes(range(256)))
    film.metadata["title"] = "A film"
    film.metadata["comment"] = "by hand"
    film.set_chapters(
        [
            {
                "id": number + 1,
                "start": number * 400,
                "end": number * 400 + 400,
                "time_base": Fraction(1, 1000),
                "metadata": {"title": f"Part {number}"},
            }
            for number in range(3)
        ]
    )

    def fill() -> None:
        for each in fills:
            each()
        for packet in text_packets(words, [(100, 300, b"Hello"), (700, 200, b"you\nthere")]):
            film.mux(packet)

    return fill


FILMS: dict[str, dict[str, object]] = {
    "b-frames.mp4": {"options": {"bf": "3", "g": "12"}, "extras": sound},
    "open-gop.mp4": {"options": {"x264-params": OPEN_GOP}},
    "open-gop.ts": {"options": {"x264-params": OPEN_GOP}, "extras": sound},
    "variable.mp4": {
        "frames": 12,
        "pts": [0, 1001, 2002, 3500, 3501, 9000, 9001, 9002, 20000, 30000, 30001, 40000],
        "time_base": Fraction(1, 24000),
        "container_options": {"video_track_timescale": "24000"},
        "options": {"bf": "2"},
        "extras": sound,
    },
    "late.mp4": {
        "pts": list(range(50, 80)),
        "options": {"bf": "2"},
        "extras": lambda film: sound(film, first=17 * 1024),
    },
    "early.mov": {"pts": list(range(-7, 23)), "options": {"bf": "2"}, "extras": sound},
    "ten-bit.mp4": {"pix_fmt": "yuv420p10le"},
    "hevc.mov": {"codec": "libx265", "options": {"x265-params": "log-level=none:bframes=3"}},
    "four-two-two.mov": {"pix_fmt": "yuv422p"},
    "square-not.mp4": {"context": {"sample_aspect_ratio": Fraction(4, 3)}},
    "turned.mp4": {"rotation": -90},
    "mpeg4.avi": {
        "codec": "mpeg4",
        "time_base": Fraction(1001, 30000),
        "rate": Fraction(30000, 1001),
    },
    "counted.avi": {"options": {"bf": "2"}},
    "all.mkv": {"options": {"bf": "2"}, "extras": everything},
    "one.mp4": {"frames": 1},
}


@pytest.mark.parametrize("settings", [X264, FFV1], ids=["x264", "ffv1"])
@pytest.mark.parametrize("name", FILMS)
def test_what_goes_in_comes_out(name: str, settings: EncoderSettings, tmp_path: Path) -> None:
    """Frames, PTS, durations, every other packet; the same for one chunk and for three."""
    index = probe(make_film(tmp_path / name, **FILMS[name]))
    borders = [1, index.frames // 2] if index.frames > 2 else []
    one, whole = render(index, settings, tmp_path / "one")
    three, parts = render(index, settings, tmp_path / "three", borders)
    assert parts == whole
    suffix = ".mkv" if name.endswith(".mkv") else ".mp4"
    for segments in (one, three):
        target = tmp_path / f"out{suffix}"
        notes = join(index, segments[::-1], target, marking=MARKING)
        assert notes == ()
        out = probe(target)
        assert times(out) == times(index)
        assert out.durations[-1] * out.time_base == index.durations[-1] * index.time_base
        assert (out.width, out.height, out.pix_fmt) == (index.width, index.height, index.pix_fmt)
        assert out.rotation == index.rotation
        assert out.sample_aspect_ratio == index.sample_aspect_ratio
        assert replace(out.colour, chroma_location=0) == replace(index.colour, chroma_location=0)
        if settings is FFV1:
            assert frames_in(out) == whole
        else:
            assert len(frames_in(out)) == index.frames
        if name != "open-gop.ts":
            assert others(target, out.stream) == others(Path(index.path), index.stream)
        assert kinds(target) == kinds(Path(index.path))


def test_sound_from_a_transport_stream(tmp_path: Path) -> None:
    """MP4 wants AAC without its ADTS headers; the coded sound behind them is the same."""
    path = make_film(tmp_path / "film.ts", options={"bf": "2"}, extras=sound)
    index = probe(path)
    segments, _ = render(index, X264, tmp_path / "segments")
    join(index, segments, tmp_path / "out.mp4", marking=MARKING)
    (before,) = others(path, index.stream)
    (after,) = others(tmp_path / "out.mp4", index.stream)
    assert [data[7:] for _, _, data in before] == [data for _, _, data in after]
    for (was, *_), (now, *_) in zip(before, after, strict=True):
        assert was is not None
        assert now is not None
        assert abs(was - now) <= Fraction(1, 44100)


def test_all_that_a_film_holds_is_kept(tmp_path: Path) -> None:
    path = make_film(tmp_path / "film.mkv", extras=everything)
    index = probe(path)
    segments, _ = render(index, X264, tmp_path / "segments", [10])
    join(index, segments, tmp_path / "out.mkv", marking=MARKING)
    with open_film(path) as one, open_film(tmp_path / "out.mkv") as two:
        assert [c["metadata"] for c in two.chapters()] == [c["metadata"] for c in one.chapters()]
        assert [(c["start"], c["end"]) for c in two.chapters()] == [
            (c["start"], c["end"]) for c in one.chapters()
        ]
        assert [s.language for s in two.streams] == [s.language for s in one.streams]
        assert [s.disposition for s in two.streams] == [s.disposition for s in one.streams]
        assert two.streams.attachments[0].data == one.streams.attachments[0].data
        assert two.streams.attachments[0].name == "font.ttf"
        tags = {key.lower(): value for key, value in two.metadata.items()}
    assert tags["title"] == "A film"
    assert tags["comment"] == "by hand | faces altered by swapfarm"
    assert tags["swapfarm"] == "0.1; model mesh"


def test_chapters_time_code_and_text_of_mp4(tmp_path: Path) -> None:
    def extras(film: OutputContainer) -> Callable[[], None]:
        fill_sound = sound(film)
        words = film.add_mux_stream("mov_text")
        chapter = {"id": 1, "start": 0, "end": 900, "time_base": Fraction(1, 1000)}
        film.set_chapters([{**chapter, "metadata": {"title": "All"}}])
        film.metadata["timecode"] = "01:00:00:00"

        def fill() -> None:
            fill_sound()
            film.mux(text_packets(words, [(100, 300, b"\0\5Hello"), (700, 200, b"\0\3you")]))

        return fill

    path = make_film(tmp_path / "film.mp4", extras=extras, options={"bf": "2"})
    index = probe(path)
    segments, _ = render(index, X264, tmp_path / "segments")
    assert join(index, segments, tmp_path / "out.mp4", marking=MARKING) == ()
    with open_film(path) as one, open_film(tmp_path / "out.mp4") as two:
        assert [(s.type, s.name, s.language) for s in two.streams] == [
            (s.type, s.name, s.language) for s in one.streams
        ]
        assert two.streams[0].metadata["timecode"] == "01:00:00:00"
        assert [c["metadata"]["title"] for c in two.chapters()] == ["All"]
    assert others(tmp_path / "out.mp4", 0) == others(path, 0)
    with pytest.raises(OutputInvalid, match="mov_text"):
        check_container(index, tmp_path / "out.mkv", X264)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".m4v"])
def test_the_mark_is_in_every_container(suffix: str, tmp_path: Path) -> None:
    index = probe(make_film(tmp_path / "film.mp4", frames=3))
    segments, _ = render(index, X264, tmp_path / "segments")
    target = tmp_path / f"out{suffix}"
    join(index, segments, target, marking=MARKING)
    with av.open(str(target)) as out:
        tags = {key.lower(): value for key, value in out.metadata.items()}
    assert tags["comment"] == MARKING["comment"]
    assert tags["swapfarm"] == MARKING["swapfarm"]


def test_the_mark_is_not_said_twice(tmp_path: Path) -> None:
    index = probe(make_film(tmp_path / "film.mp4", frames=3))
    segments, _ = render(index, X264, tmp_path / "segments")
    join(index, segments, tmp_path / "1.mp4", marking=MARKING)
    again = probe(tmp_path / "1.mp4")
    segments, _ = render(again, X264, tmp_path / "segments")
    join(again, segments, tmp_path / "2.mp4", marking=MARKING)
    with av.open(str(tmp_path / "2.mp4")) as out:
        assert out.metadata["comment"] == MARKING["comment"]


def test_cover_art_stays(tmp_path: Path) -> None:
    def cover(film: OutputContainer) -> Callable[[], None]:
        picture = film.add_stream("png", rate=1)
        picture.width, picture.height, picture.pix_fmt = 32, 32, "rgb24"
        picture.disposition = av.stream.Disposition.attached_pic

        def fill() -> None:
            for packet in [*picture.encode(av.VideoFrame(32, 32, "rgb24")), *picture.encode(None)]:
                film.mux(packet)

        return fill

    index = probe(make_film(tmp_path / "film.mp4", extras=cover))
    (before,) = others(Path(index.path), 0)
    segments, _ = render(index, X264, tmp_path / "segments")
    for suffix in (".mp4", ".mkv"):
        target = tmp_path / f"out{suffix}"
        join(index, segments, target, marking=MARKING)
        assert kinds(target) == ["video", "cover"]
        assert others(target, 0)[0][0][2] == before[0][2]
        with av.open(str(target)) as film:
            marks = " ".join(film.metadata.values())
        assert all(value in marks for value in MARKING.values())


def test_matroska_rounds_to_milliseconds_and_says_so(tmp_path: Path) -> None:
    path = make_film(
        tmp_path / "film.mp4",
        time_base=Fraction(1001, 24000),
        rate=Fraction(24000, 1001),
        options={"bf": "2"},
    )
    index = probe(path)
    segments, _ = render(index, X264, tmp_path / "segments")
    notes = join(index, segments, tmp_path / "out.mkv", marking={})
    assert notes == check_container(index, tmp_path / "out.mkv", X264)
    assert "milliseconds" in notes[0]
    out = probe(tmp_path / "out.mkv")
    for was, now in zip(times(index), times(out), strict=True):
        assert abs(was - now) <= Fraction(1, 2000)


@pytest.mark.parametrize("suffix", [".mov", ".mkv"])
def test_rotation_and_shape_in_other_containers(suffix: str, tmp_path: Path) -> None:
    aspect = {"sample_aspect_ratio": Fraction(4, 3)}
    index = probe(make_film(tmp_path / "film.mp4", frames=5, rotation=90, context=aspect))
    segments, _ = render(index, X264, tmp_path / "segments")
    assert join(index, segments, tmp_path / f"out{suffix}", marking={}) == ()
    out = probe(tmp_path / f"out{suffix}")
    assert (out.rotation, out.sample_aspect_ratio) == (270, Fraction(4, 3))


def test_what_gets_lost_is_said(tmp_path: Path) -> None:
    aspect = {"sample_aspect_ratio": Fraction(4, 3)}
    index = probe(
        make_film(tmp_path / "film.mp4", context=aspect, options={"x264-params": "tff=1"})
    )
    notes = " ".join(check_container(index, tmp_path / "out.mkv", FFV1))
    assert "aspect ratio" in notes
    assert "interlaced" in notes
    assert "milliseconds" not in notes  # 25 frames a second fall on whole ones
    assert check_container(index, tmp_path / "out.mp4", X264) == ()


def test_a_container_that_cannot_hold_the_film(tmp_path: Path) -> None:
    index = probe(make_film(tmp_path / "film.mkv", extras=everything))
    with pytest.raises(OutputInvalid, match="subtitle stream 3"):
        check_container(index, tmp_path / "out.mp4", X264)
    with pytest.raises(OutputInvalid, match="libx264"):
        check_container(index, tmp_path / "out.webm", X264)
    with pytest.raises(OutputInvalid, match="ffv1"):
        check_container(index, tmp_path / "out.mov", FFV1)
    with pytest.raises(OutputInvalid, match=r"\.avi"):
        check_container(index, tmp_path / "out.avi", X264)
    with pytest.raises(SettingInvalid):
        check_container(index, tmp_path / "out.mkv", EncoderSettings(codec="libmp3lame"))
    assert check_container(index, tmp_path / "out.mkv", X264) == ()
    segments, _ = render(index, X264, tmp_path / "segments")
    with pytest.raises(OutputInvalid):
        join(index, segments, tmp_path / "out.mp4", marking={})
    assert not (tmp_path / "out.mp4").exists()


def test_segments_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    index = probe(make_film(tmp_path / "film.mp4"))
    good, _ = render(index, X264, tmp_path / "good", [10, 20])
    other, _ = render(index, EncoderSettings(preset="medium"), tmp_path / "other", [10, 20])
    target = tmp_path / "out.mp4"
    with pytest.raises(SegmentMismatch, match="header of segment 1"):
        join(index, [good[0], other[1], good[2]], target, marking={})
    with pytest.raises(SegmentMismatch, match="chunks"):
        join(index, [good[0], good[2]], target, marking={})
    with pytest.raises(FramesLost):
        join(index, good[:2], target, marking={})
    swapped = [good[0], replace(good[2], chunk=1), replace(good[1], chunk=2)]
    with pytest.raises(FramesLost, match="segment 1"):
        join(index, swapped, target, marking={})
    slower = replace(index, pts=tuple(2 * p for p in index.pts))
    with pytest.raises(FramesLost, match="segment 0"):
        join(slower, good, target, marking={})
    Path(good[1].path).write_bytes(b"nothing")
    with pytest.raises(SegmentMismatch):
        join(index, good, target, marking={})
    Path(good[1].path).unlink()
    with pytest.raises(SegmentMismatch):
        join(index, good, target, marking={})
    assert not target.exists()
