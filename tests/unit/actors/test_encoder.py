from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest

from actors.codecs import encoder_pix_fmt
from actors.decoder import Decoder
from actors.encoder import EncodedSegment, Encoder
from actors.formats import picture_format, plane_views
from actors.hashes import frame_hash
from actors.prober import probe
from actors.segments import read_segment
from scheduler.errors import FramesLost, SettingInvalid, StorageUnwritable
from scheduler.jobs import EncoderSettings
from scheduler.media import VideoIndex
from tests.unit.actors.films import make_film, ring_for

CODECS = ["libx264", "libx265", "libsvtav1", "ffv1"]
FAST = {"libx264": "ultrafast", "libx265": "ultrafast", "libsvtav1": "12", "ffv1": ""}


def settings_of(codec: str, **more: object) -> EncoderSettings:
    return EncoderSettings(codec=codec, **{"preset": FAST[codec], **more})


def encode(
    index: VideoIndex, settings: EncoderSettings, path: Path, start: int, stop: int
) -> EncodedSegment:
    with Encoder(index, settings, path) as encoder:
        for frame in Decoder(index).decode(start, stop, ring_for(index)):
            encoder.encode(frame)
        return encoder.close()


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> VideoIndex:
    pts = [0, 1001, 2002, 3500, 3501, 10000, 11001, 20000, 20001, 20002, 31000, 32001, 33002]
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    make_film(
        path,
        frames=len(pts),
        pts=pts,
        time_base=Fraction(1, 24000),
        rate=Fraction(24000, 1001),
        size=(96, 64),
        options={"bf": "2"},
        container_options={"video_track_timescale": "24000"},
    )
    index = probe(path)
    assert index.pts == tuple(pts)
    return index


@pytest.mark.parametrize("codec", CODECS)
def test_segments_of_any_length_keep_pts_and_share_a_header(
    codec: str, film: VideoIndex, tmp_path: Path
) -> None:
    headers = set()
    for start, stop in pairwise([0, 1, 3, 6, 13]):
        path = tmp_path / f"{start}.mp4"
        made = encode(film, settings_of(codec), path, start, stop)
        assert made.path == str(path)
        assert made.frames == stop - start
        assert made.first_pts == film.pts[start]
        read = read_segment(path)
        wanted = tuple(p - film.pts[start] for p in film.pts[start:stop])
        assert tuple(sorted(read.pts)) == wanted
        assert read.time_base == film.time_base
        assert read.extradata_sha256 == made.extradata_sha256
        headers.add(made.extradata_sha256)
    assert len(headers) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0.mp4", "1.mp4", "3.mp4", "6.mp4"]


@pytest.mark.parametrize("codec", ["libx264", "libx265", "ffv1"])
def test_the_same_frames_give_the_same_bytes(codec: str, film: VideoIndex, tmp_path: Path) -> None:
    made = [encode(film, settings_of(codec), tmp_path / f"{n}.mp4", 2, 11) for n in range(2)]
    assert made[0].sha256 == made[1].sha256


def test_different_settings_give_different_headers(film: VideoIndex, tmp_path: Path) -> None:
    one = encode(film, settings_of("libx264", preset="medium"), tmp_path / "1.mp4", 0, 5)
    two = encode(film, settings_of("libx264", preset="ultrafast"), tmp_path / "2.mp4", 0, 5)
    crf = encode(film, settings_of("libx264", preset="medium", quality=40), tmp_path / "3", 0, 5)
    assert one.extradata_sha256 != two.extradata_sha256
    assert one.extradata_sha256 == crf.extradata_sha256  # stitchable


LOSSLESS: Sequence[tuple[str, str, tuple[int, int]]] = [
    ("yuv420p", "libx264", (64, 48)),
    ("yuv420p10le", "ffv1", (64, 48)),
    ("yuv422p10le", "ffv1", (64, 48)),
    ("yuv444p12le", "ffv1", (61, 47)),
    ("yuv420p", "ffv1", (61, 47)),
    ("yuv410p", "ffv1", (61, 47)),
    ("gray", "ffv1", (61, 47)),
    ("gray10le", "ffv1", (62, 46)),
    ("gbrp", "ffv1", (62, 46)),
    ("gbrp10le", "ffv1", (62, 46)),
]


@pytest.mark.parametrize(("pix_fmt", "container", "size"), LOSSLESS)
def test_ffv1_gives_back_every_sample(
    pix_fmt: str, container: str, size: tuple[int, int], tmp_path: Path
) -> None:
    own = "bgr0" if (container, pix_fmt) == ("ffv1", "gbrp") else pix_fmt
    index = probe(make_film(tmp_path / "film.mkv", container, frames=6, pix_fmt=own, size=size))
    handed = [frame_hash(frame.picture) for frame in Decoder(index).decode(0, 6, ring_for(index))]
    encode(index, settings_of("ffv1"), tmp_path / "out.mp4", 0, 6)
    out = probe(tmp_path / "out.mp4")
    back = [frame_hash(f.picture) for f in Decoder(out).decode(0, 6, ring_for(out))]
    assert back == handed
    assert len(set(handed)) == 6


TAGGED = [
    ("libx264", "yuv420p10le"),
    ("libx264", "yuv422p"),
    ("libx264", "yuv444p"),
    ("libx264", "gray"),
    ("libx265", "yuv420p10le"),
    ("libx265", "yuv422p10le"),
    ("libx265", "gray"),
    ("libsvtav1", "yuv420p10le"),
    ("ffv1", "yuv420p10le"),
]


@pytest.mark.parametrize(("codec", "pix_fmt"), TAGGED)
@pytest.mark.parametrize("full", [False, True])
def test_colour_depth_and_shape_are_kept(
    codec: str, pix_fmt: str, full: bool, tmp_path: Path
) -> None:
    context = {
        "color_primaries": 9,
        "color_trc": 16,
        "colorspace": 9,
        "color_range": 2 if full else 1,
        "sample_aspect_ratio": Fraction(4, 3),
    }
    index = probe(make_film(tmp_path / "f.mp4", "ffv1", frames=5, pix_fmt=pix_fmt, context=context))
    index = replace(index, colour=replace(index.colour, chroma_location=3))
    encode(index, settings_of(codec), tmp_path / "out.mp4", 0, 5)
    out = probe(tmp_path / "out.mp4")
    if (codec, pix_fmt) != ("libx264", "gray"):  # which FFmpeg decodes as 4:2:0 without colour
        assert out.pix_fmt in (pix_fmt, pix_fmt.replace("yuv4", "yuvj4"))
    assert out.sample_aspect_ratio == Fraction(4, 3)
    kept = out.colour
    if pix_fmt == "gray":
        kept = replace(kept, matrix=9)  # has none
    if not (codec in ("libx264", "libx265") and "420" in pix_fmt):
        kept = replace(kept, chroma_location=3)  # is not said
    assert kept == index.colour


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_hdr10_metadata_is_kept(codec: str, tmp_path: Path) -> None:
    index = probe(make_film(tmp_path / "f.mkv", "ffv1", frames=5, pix_fmt="yuv420p10le"))
    master = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    index = replace(index, mastering_display=master, content_light="1000,400")
    encode(index, settings_of(codec), tmp_path / "out.mp4", 0, 5)
    out = probe(tmp_path / "out.mp4")
    assert (out.mastering_display, out.content_light) == (master, "1000,400")


def test_a_time_base_with_a_numerator(tmp_path: Path) -> None:
    path = make_film(
        tmp_path / "f.avi",
        "mpeg4",
        time_base=Fraction(1001, 30000),
        rate=Fraction(30000, 1001),
        frames=10,
    )
    index = probe(path)
    assert index.time_base == Fraction(1001, 30000)
    made = encode(index, settings_of("libx264"), tmp_path / "out.mp4", 3, 9)
    read = read_segment(made.path)
    assert read.time_base == Fraction(1, 30000)
    assert sorted(read.pts) == [1001 * n for n in range(6)]


def test_rgb_to_yuv_only_when_asked(tmp_path: Path) -> None:
    index = probe(make_film(tmp_path / "f.mov", "qtrle", frames=3, pix_fmt="rgb24"))
    with pytest.raises(SettingInvalid, match="gbrp"):
        encoder_pix_fmt(index, settings_of("libx264"))
    assert encoder_pix_fmt(index, settings_of("ffv1")) == "bgr0"
    encode(index, settings_of("libx264", pix_fmt="yuv444p", quality=1), tmp_path / "o.mp4", 0, 3)
    out = probe(tmp_path / "o.mp4")
    assert (out.colour.matrix, out.colour.full_range) == (1, False)
    with av.open(index.path) as one, av.open(str(tmp_path / "o.mp4")) as two:
        for a, b in zip(one.decode(video=0), two.decode(video=0), strict=True):
            left = a.to_ndarray(format="rgb24").astype(int)
            right = b.to_ndarray(format="rgb24").astype(int)
            assert abs(left - right).mean() < 3


@pytest.mark.parametrize("order", ["tff", "bff"])
def test_interlaced_films_stay_so(order: str, tmp_path: Path) -> None:
    options = {"x264-params": f"{order}=1"}
    index = probe(make_film(tmp_path / "f.mp4", frames=6, size=(96, 64), options=options))
    assert index.interlaced
    assert index.top_field_first == (order == "tff")
    encode(index, settings_of("libx264"), tmp_path / "out.mp4", 0, 6)
    out = probe(tmp_path / "out.mp4")
    assert (out.interlaced, out.top_field_first) == (True, order == "tff")


def test_odd_sizes(tmp_path: Path) -> None:
    index = probe(make_film(tmp_path / "f.mkv", "ffv1", frames=3, size=(161, 147)))
    for codec in ("libx264", "libx265"):
        with pytest.raises(SettingInvalid, match="161x147"):
            encoder_pix_fmt(index, settings_of(codec))
    for codec, pix_fmt in (("libx264", "yuv444p"), ("libsvtav1", ""), ("ffv1", "")):
        encode(index, settings_of(codec, pix_fmt=pix_fmt), tmp_path / "out.mp4", 0, 3)
        out = probe(tmp_path / "out.mp4")
        assert (out.width, out.height, out.frames) == (161, 147, 3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"codec": "mpeg1video"},
        {"codec": "libsvtav1", "pix_fmt": "yuv444p"},
        {"codec": "libx264", "pix_fmt": "yuv420p12le"},
        {"codec": "libx264", "preset": "hyperfast"},
        {"codec": "libx264", "quality": 99},
        {"codec": "libsvtav1", "preset": "none such"},
        {"codec": "libx265", "preset": "hyperfast"},
    ],
)
def test_wrong_settings_are_one_clear_error(
    wrong: dict[str, object], film: VideoIndex, tmp_path: Path
) -> None:
    with pytest.raises(SettingInvalid):
        Encoder(film, EncoderSettings(**wrong), tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == []


def test_frames_must_come_one_after_the_other(film: VideoIndex, tmp_path: Path) -> None:
    frames = {f.handle.frame_index: f for f in Decoder(film).decode(3, 5, ring_for(film))}
    with Encoder(film, settings_of("libx264"), tmp_path / "out.mp4") as encoder:
        encoder.encode(frames[3])
        with pytest.raises(FramesLost, match="frame 3"):
            encoder.encode(frames[3])
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_when_it_is_given_up(film: VideoIndex, tmp_path: Path) -> None:
    with Encoder(film, settings_of("libx264"), tmp_path / "out.mp4") as encoder:
        for frame in Decoder(film).decode(0, 9, ring_for(film)):
            encoder.encode(frame)
    assert list(tmp_path.iterdir()) == []
    with (
        Encoder(film, settings_of("libx264"), tmp_path / "out.mp4") as encoder,
        pytest.raises(FramesLost),
    ):
        encoder.close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(film: VideoIndex, tmp_path: Path) -> None:
    with pytest.raises(StorageUnwritable):
        encode(film, settings_of("libx264"), tmp_path / "no" / "out.mp4", 0, 5)


def test_the_slot_is_free_after_encode(film: VideoIndex, tmp_path: Path) -> None:
    """What is written into the slot afterwards does not reach the file."""
    with Encoder(film, settings_of("ffv1"), tmp_path / "out.mp4") as encoder:
        handed = []
        for frame in Decoder(film).decode(0, 9, ring_for(film)):
            handed.append(frame_hash(frame.picture))
            encoder.encode(frame)
            for plane in frame.picture.planes:
                plane[:] = 0
        encoder.close()
    fmt = picture_format(film)
    with av.open(str(tmp_path / "out.mp4")) as out:
        assert [frame_hash(plane_views(f, fmt)) for f in out.decode(video=0)] == handed


@pytest.mark.parametrize("codec", CODECS)
def test_no_codec_takes_the_machine_for_itself(
    codec: str, film: VideoIndex, tmp_path: Path
) -> None:
    """SVT-AV1 makes threads real-time where it may: as root, as in many containers."""

    def policies() -> set[int]:
        return {os.sched_getscheduler(int(each)) for each in os.listdir("/proc/self/task")}

    assert policies() == {os.SCHED_OTHER}
    encode(film, settings_of(codec), tmp_path / "out.mp4", 0, 13)
    assert policies() == {os.SCHED_OTHER}
