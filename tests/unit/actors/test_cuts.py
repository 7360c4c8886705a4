"""Trims, rates and sizes from decoder to join: which pictures, when, with which sound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from av.container import OutputContainer
from numpy.typing import NDArray

from actors.codecs import check_device
from actors.decoder import Decoder
from actors.encoder import Encoder
from actors.hashes import frame_hash
from actors.muxer import check_container, join
from actors.prober import probe
from scheduler.errors import EncoderUnavailable, OutputInvalid, SettingInvalid
from scheduler.jobs import EncoderSettings
from scheduler.media import VideoIndex
from scheduler.output import CutSettings, SoundSettings
from scheduler.timeline import cut, result_of, shown_frames, span_of
from tests.unit.actors.films import make_film, ring_for, segment_of, text_packets

FFV1 = EncoderSettings(codec="ffv1")
X264 = EncoderSettings(preset="ultrafast")
OPEN_GOP = "open-gop=1:keyint=8:min-keyint=8:bframes=3:scenecut=0"
RATE = 48000


def tone(samples: int) -> NDArray[np.int16]:
    """[samples, 2] of a sound in which every place can be told from every other."""
    at = np.arange(samples)
    left = 12000 * np.sin(2 * np.pi * (200 + at / 60) * at / RATE)
    return np.stack([left, at % 997 * 20], axis=1).astype(np.int16)


def with_sound(
    codec: str = "flac", first: int = 0, seconds: float = 4.0, gap: int = 0
) -> Callable[[OutputContainer], Callable[[], None]]:
    """Adds a stream of ``tone``: from a sample on, and with ``gap`` samples missing at a second."""

    def add(film: OutputContainer) -> Callable[[], None]:
        stream = film.add_stream(codec, rate=RATE, layout="stereo")
        stream.metadata["language"] = "deu"

        def fill() -> None:
            sounds = tone(int(seconds * RATE))
            for start in range(0, len(sounds), 1024):
                block = np.ascontiguousarray(sounds[start : start + 1024])
                frame = av.AudioFrame.from_ndarray(block.reshape(1, -1), "s16", "stereo")
                frame.sample_rate = RATE
                frame.pts = first + start + (gap if start >= RATE else 0)
                frame.time_base = Fraction(1, RATE)
                film.mux(stream.encode(frame))
            film.mux(stream.encode(None))

        return fill

    return add


def heard(path: Path) -> tuple[int, NDArray[np.float64]]:
    """Sample at which the sound starts on the film's clock, and [n, 2] in 16-bit units."""
    with av.open(str(path)) as film:
        resampler = av.AudioResampler("s16", "stereo", RATE)
        parts, start = [], None
        for frame in film.decode(audio=0):
            if start is None:
                start = round(frame.pts * frame.time_base * RATE)
            parts += [p.to_ndarray().reshape(-1, 2) for p in resampler.resample(frame)]
        assert start is not None
        return start, np.concatenate(parts).astype(np.float64)


def rendered(
    path: Path,
    out: Path,
    settings: CutSettings,
    *,
    encoder: EncoderSettings = FFV1,
    sound: SoundSettings | None = None,
    borders: Sequence[int] = (),
) -> tuple[VideoIndex, VideoIndex, list[str]]:
    """(the cut film, the result, hashes of the frames as decoded) of a job without a swap."""
    whole = probe(path)
    index = cut(whole, settings)
    result = result_of(index, settings.rate, encoder.scale)
    span = span_of(whole, index)
    sound = sound or SoundSettings()
    check_container(result, out, encoder, sound, span)
    segments, hashes = [], []
    for chunk, (start, stop) in enumerate(pairwise([0, *borders, index.frames])):
        segment = out.parent / f"{out.stem}-{chunk}.mp4"
        with Encoder(index, encoder, segment, settings.rate) as stage:
            for frame in Decoder(index).decode(start, stop, ring_for(index)):
                hashes.append(frame_hash(frame.picture))
                stage.encode(frame)
            made = stage.close()
        segments.append(segment_of(chunk, made))
    join(result, segments, out, marking={"comment": "altered"}, sound=sound, span=span)
    return index, probe(out), hashes


def hashes_of(index: VideoIndex) -> list[str]:
    return [frame_hash(f.picture) for f in Decoder(index).decode(0, index.frames, ring_for(index))]


def seconds(index: VideoIndex) -> list[Fraction]:
    return [(pts - index.pts[0]) * index.time_base for pts in index.pts]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("film.mp4", {}),
        ("film.mkv", {"options": {"x264-params": OPEN_GOP}}),
        ("film.ts", {"options": {"x264-params": OPEN_GOP}}),
        ("film.avi", {"codec": "mpeg4"}),
        ("counted.avi", {"options": {"bf": "2"}}),
    ],
)
def test_a_trim_has_exactly_its_frames_wherever_chunks_begin(
    name: str, options: dict[str, object], tmp_path: Path
) -> None:
    path = make_film(tmp_path / name, frames=60, **options)  # type: ignore[arg-type]
    assert probe(path).counted == name.startswith("counted")
    frames = hashes_of(probe(path))
    settings = CutSettings(start=21, stop=47)
    for number, borders in enumerate(([], [5, 13])):
        out = tmp_path / f"out{number}.mp4"
        index, result, given = rendered(path, out, settings, borders=borders)
        assert given == frames[21:47]
        assert hashes_of(result) == frames[21:47]
        assert seconds(result) == seconds(index)


def test_a_lower_and_a_higher_rate_show_the_right_frames_for_the_films_length(
    tmp_path: Path,
) -> None:
    path = make_film(tmp_path / "film.mp4", frames=50)
    frames = hashes_of(probe(path))
    for rate, borders in ((Fraction(5), [3]), (Fraction(60), [7, 20]), (Fraction(24000, 1001), [])):
        out = tmp_path / f"out{rate.numerator}.mp4"
        whole = probe(path)
        shows = shown_frames(whole, rate)
        _, result, _ = rendered(path, out, CutSettings(rate=rate), borders=borders)
        assert hashes_of(result) == [frames[at] for at in shows]
        assert result.seconds == pytest.approx(whole.seconds, abs=1e-9)
        assert seconds(result)[:3] == [n / rate for n in range(3)]


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx-vp9"])
def test_frames_shown_again_are_joined_by_every_codec_that_looks_ahead(
    codec: str, tmp_path: Path
) -> None:
    path = make_film(tmp_path / "film.mp4", frames=30)
    encoder = EncoderSettings(codec=codec, preset="ultrafast", quality=20)
    rate = Fraction(50)
    _, result, _ = rendered(
        path, tmp_path / "out.mp4", CutSettings(rate=rate), encoder=encoder, borders=[11]
    )
    assert seconds(result) == [n / rate for n in range(60)]


def test_another_size_keeps_times_and_says_how_its_colours_are_meant(tmp_path: Path) -> None:
    path = make_film(tmp_path / "film.mp4", frames=6, size=(1280, 720))
    encoder = EncoderSettings(preset="ultrafast", quality=4, scale=0.25)
    index, result, _ = rendered(path, tmp_path / "out.mp4", CutSettings(), encoder=encoder)
    assert (result.width, result.height) == (320, 180)
    assert result.colour.matrix == 1, "the small picture would be taken for BT.601"
    assert seconds(result) == seconds(index)

    def grey(of: VideoIndex) -> NDArray[np.float64]:
        frame = next(iter(Decoder(of).decode(0, 1, ring_for(of))))
        return frame.picture.planes[0].astype(np.float64)

    large = grey(index).reshape(9, 80, 16, 80).mean(axis=(1, 3))
    small = grey(result).reshape(9, 20, 16, 20).mean(axis=(1, 3))
    assert np.abs(small - large).max() < 2


def test_an_interlaced_film_keeps_its_size(tmp_path: Path) -> None:
    options = {"x264-params": "tff=1"}
    path = make_film(tmp_path / "film.mp4", frames=4, options=options)
    with pytest.raises(SettingInvalid, match="interlaced"):
        check_container(
            probe(path), tmp_path / "o.mp4", EncoderSettings(preset="ultrafast", scale=0.5)
        )


@pytest.mark.parametrize(
    ("codec", "exact"), [("libx264rgb", False), ("libvpx-vp9", False), ("ffv1", True)]
)
def test_each_codec_can_be_joined(codec: str, exact: bool, tmp_path: Path) -> None:
    path = make_film(tmp_path / "film.mp4", frames=24, size=(128, 96))
    encoder = EncoderSettings(codec=codec, preset="ultrafast", quality=6)
    index, result, given = rendered(
        path, tmp_path / "out.mp4", CutSettings(), encoder=encoder, borders=[7, 15]
    )
    assert seconds(result) == seconds(index)
    if exact:
        assert hashes_of(result) == given
    with av.open(str(path)) as one, av.open(str(tmp_path / "out.mp4")) as two:
        for before, after in zip(one.decode(video=0), two.decode(video=0), strict=True):
            a = before.to_ndarray(format="rgb24").astype(float)
            b = after.to_ndarray(format="rgb24").astype(float)
            assert np.abs(a - b).mean() < 6


@pytest.mark.parametrize("codec", ["h264_nvenc", "hevc_nvenc", "h264_qsv", "hevc_qsv"])
def test_a_codec_without_its_device_is_one_clear_error_before_any_work(codec: str) -> None:
    with pytest.raises(EncoderUnavailable, match=f"{codec} finds no device"):
        check_device(codec)


def test_sound_is_trimmed_with_the_pictures(tmp_path: Path) -> None:
    path = make_film(tmp_path / "film.mkv", frames=100, extras=with_sound("pcm_s16le"))
    settings = CutSettings(start=30, stop=55)
    want = tone(4 * RATE)[int(1.2 * RATE) : int(2.2 * RATE)]

    rendered(path, tmp_path / "out.mov", settings, encoder=X264)
    start, got = heard(tmp_path / "out.mov")
    assert start <= 0, "an edit list hides what comes before"
    np.testing.assert_array_equal(got[-start : -start + RATE], want)

    rendered(path, tmp_path / "out.mkv", settings)
    start, got = heard(tmp_path / "out.mkv")
    assert 0 <= start <= 1100
    np.testing.assert_array_equal(got[: RATE - start - 48], want[start : RATE - 48][: len(got)])

    for name, encoder in (("exact.mp4", "flac"), ("exact.mov", "pcm_s16le")):
        sound = SoundSettings(encoder=encoder)
        rendered(path, tmp_path / name, settings, encoder=X264, sound=sound)
        start, got = heard(tmp_path / name)
        assert start == 0
        np.testing.assert_array_equal(got, want)


def test_copied_compressed_sound_stays_in_step_after_a_trim(tmp_path: Path) -> None:
    path = make_film(tmp_path / "film.mp4", frames=100, extras=with_sound("aac"))
    rendered(path, tmp_path / "out.mp4", CutSettings(start=30, stop=55))
    _, before = heard(path)
    start, after = heard(tmp_path / "out.mp4")
    begin = int(1.2 * RATE) + start
    # Without the first blocks, in which a decoder settles; its noise is not the same afterwards.
    off = np.abs(after[6000:40000] - before[begin + 6000 : begin + 40000])
    assert off.mean() < 2 < np.abs(after[6000:40000] - before[begin + 6010 : begin + 40010]).mean()


@pytest.mark.parametrize(
    ("encoder", "suffix", "tolerance"),
    [
        ("flac", ".mp4", 0),
        ("flac", ".mkv", 0),
        ("pcm_s16le", ".mp4", 0),
        ("pcm_s32le", ".mkv", 0),
        ("aac", ".mp4", 500),
        ("libmp3lame", ".mp4", 900),
        ("libopus", ".webm", 900),
    ],
)
def test_sound_that_is_encoded_anew_keeps_its_place_and_its_words(
    encoder: str, suffix: str, tolerance: float, tmp_path: Path
) -> None:
    path = make_film(
        tmp_path / "film.mkv", frames=50, extras=with_sound("flac", first=4800, seconds=1.5)
    )
    video = EncoderSettings(codec="libvpx-vp9", preset="ultrafast") if suffix == ".webm" else X264
    out = tmp_path / f"out{suffix}"
    rendered(path, out, CutSettings(), encoder=video, sound=SoundSettings(encoder=encoder))
    with av.open(str(out)) as film:
        assert film.streams.audio[0].metadata["language"] in ("deu", "ger")
        assert film.streams.audio[0].codec_context.codec.canonical_name == {
            "libmp3lame": "mp3",
            "libopus": "opus",
        }.get(encoder, encoder)
    start, got = heard(out)
    want = tone(int(1.5 * RATE))
    # Matroska and WebM round the start to milliseconds.
    lags = range(-48, 49) if suffix in (".mkv", ".webm") else [0]
    first = 4800 - start + 4000
    off = [np.abs(got[first + lag :, 0][:56000] - want[4000:60000, 0]).mean() for lag in lags]
    assert min(off) <= tolerance


def test_the_volume_alone_encodes_with_the_same_codec(tmp_path: Path) -> None:
    path = make_film(tmp_path / "film.mkv", frames=25, extras=with_sound("flac", seconds=1.0))
    rendered(path, tmp_path / "out.mkv", CutSettings(), sound=SoundSettings(volume=25))
    with av.open(str(tmp_path / "out.mkv")) as film:
        assert film.streams.audio[0].codec_context.codec.canonical_name == "flac"
    _, got = heard(tmp_path / "out.mkv")
    np.testing.assert_allclose(got, tone(RATE) / 4, atol=0.51)


def test_the_quality_of_sound_is_its_size(tmp_path: Path) -> None:
    path = make_film(tmp_path / "film.mkv", frames=50, extras=with_sound("flac", seconds=2.0))
    sizes = []
    for quality in (0, 80):
        out = tmp_path / f"{quality}.mp4"
        sound = SoundSettings(encoder="aac", quality=quality)
        rendered(path, out, CutSettings(), encoder=X264, sound=sound)
        with av.open(str(out)) as film:
            sizes.append(sum(p.size for p in film.demux(audio=0)))
    assert sizes[0] * 2 < sizes[1]


def test_a_gap_in_the_sound_becomes_silence_and_what_follows_keeps_its_time(
    tmp_path: Path,
) -> None:
    path = make_film(
        tmp_path / "film.mkv", frames=75, extras=with_sound("pcm_s16le", seconds=2.0, gap=9600)
    )
    out = tmp_path / "out.mkv"
    rendered(path, out, CutSettings(), sound=SoundSettings(encoder="flac"))
    _, got = heard(out)
    want = tone(2 * RATE)
    border = -(-RATE // 1024) * 1024
    np.testing.assert_array_equal(got[:border], want[:border])
    assert not got[border + 100 : border + 9500].any()
    # Matroska's times are whole milliseconds.
    lags = [
        np.abs(got[border + 9600 + lag :][:2000] - want[border:][:2000]).sum()
        for lag in range(-48, 49)
    ]
    assert min(lags) == 0


def test_sound_is_never_lost_without_a_word(tmp_path: Path) -> None:
    path = make_film(tmp_path / "film.mkv", frames=10, extras=with_sound("flac", seconds=0.4))
    index = probe(path)
    with pytest.raises(OutputInvalid, match=r"sound by flac cannot be put into a mov"):
        check_container(index, tmp_path / "o.mov", X264, SoundSettings(encoder="flac"))
    with pytest.raises(OutputInvalid, match=r"sound by aac cannot be put into a webm"):
        check_container(
            index,
            tmp_path / "o.webm",
            EncoderSettings(codec="libvpx-vp9", preset="ultrafast"),
            SoundSettings(encoder="aac"),
        )
    with pytest.raises(EncoderUnavailable, match="no encoder libvorbis"):
        check_container(index, tmp_path / "o.mkv", X264, SoundSettings(encoder="libvorbis"))


def test_subtitles_and_chapters_are_cut_to_the_trim(tmp_path: Path) -> None:
    def words(film: OutputContainer) -> Callable[[], None]:
        stream = film.add_mux_stream("subrip")
        base = Fraction(1, 1000)
        film.set_chapters(
            [
                {
                    "id": n,
                    "start": 1000 * n,
                    "end": 1000 * (n + 1),
                    "time_base": base,
                    "metadata": {"title": f"c{n}"},
                }
                for n in range(4)
            ]
        )
        lines = [
            (100, 500, b"before"),
            (900, 600, b"into"),
            (1500, 200, b"in"),
            (2000, 900, b"out of"),
            (2600, 300, b"after"),
        ]

        def fill() -> None:
            film.mux(text_packets(stream, lines))

        return fill

    path = make_film(tmp_path / "film.mkv", frames=100, extras=words)
    rendered(path, tmp_path / "out.mkv", CutSettings(start=30, stop=60))
    with av.open(str(tmp_path / "out.mkv")) as film:
        found = [(p.pts, p.duration, bytes(p)) for p in film.demux(subtitles=0) if p.size]
        chapters = [
            (c["metadata"]["title"], c["start"] * c["time_base"], c["end"] * c["time_base"])
            for c in film.chapters()
        ]
    assert found == [(0, 300, b"into"), (300, 200, b"in"), (800, 400, b"out of")]
    assert chapters == [
        ("c1", 0, Fraction(8, 10)),
        ("c2", Fraction(8, 10), Fraction(12, 10)),
    ]


def test_a_container_says_the_exact_length_also_with_frames_out_of_order(tmp_path: Path) -> None:
    path = make_film(tmp_path / "film.mp4", frames=20, rate=Fraction(25))
    settings = CutSettings(start=0, stop=17, rate=Fraction(60))
    encoder = EncoderSettings(preset="medium")
    rendered(path, tmp_path / "out.mp4", settings, encoder=encoder)
    with av.open(str(tmp_path / "out.mp4")) as film:
        stream = film.streams.video[0]
        assert any(p.pts != p.dts for p in film.demux(stream) if p.size)
        assert stream.duration * stream.time_base == Fraction(17, 25)
