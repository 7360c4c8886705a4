from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.container import OutputContainer

from actors.prober import probe
from scheduler.errors import (
    MediaMissing,
    MediaTruncated,
    MediaUnreadable,
    MediaWithoutFrames,
    MediaWithoutVideo,
    SwapfarmError,
)
from tests.unit.actors.films import make_film, shown

VARIABLE = [0, 3, 7, 8, 20, 21, 22, 40, 41, 43, 60, 61, 62, 90, 91]

FILMS = {
    "b-frames.mp4": {"options": {"bf": "3", "g": "12"}},
    "open-gop.mp4": {
        "options": {"x264-params": "open-gop=1:keyint=8:min-keyint=8:bframes=3:scenecut=0"}
    },
    "open-gop.ts": {
        "options": {"x264-params": "open-gop=1:keyint=8:min-keyint=8:bframes=3:scenecut=0"}
    },
    "variable.mp4": {
        "frames": len(VARIABLE),
        "pts": VARIABLE,
        "options": {"bf": "2"},
    },
    "plain.mkv": {"options": {"bf": "2", "g": "10"}},
    "plain.mov": {"codec": "libx265", "options": {"x265-params": "log-level=none:bframes=3"}},
    "ten-bit.mp4": {"pix_fmt": "yuv420p10le"},
    "mpeg2.mpg": {"codec": "mpeg2video", "options": {"bf": "2"}},
    "mpeg2.ts": {"codec": "mpeg2video", "options": {"bf": "2"}},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"bf": "2"}},
    "no-b.avi": {"codec": "mpeg4"},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime"}},
    "vp8.webm": {"codec": "libvpx", "options": {"auto-alt-ref": "1", "lag-in-frames": "16"}},
    "av1.mp4": {"codec": "libsvtav1", "options": {"preset": "12"}},
    "ffv1.nut": {"codec": "ffv1"},
    "jpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "one.mp4": {"frames": 1},
}


@pytest.mark.parametrize("name", FILMS)
def test_the_index_is_what_decoding_shows(name: str, tmp_path: Path) -> None:
    path = make_film(tmp_path / name, **FILMS[name])
    index = probe(path)
    decoded = shown(path, index)
    assert not index.counted
    assert list(index.pts) == [pts for pts, _ in decoded]
    assert index.frames == FILMS[name].get("frames", 30)
    assert index.keyframes[0] == 0
    assert index.durations[:-1] == tuple(b - a for a, b in pairwise(index.pts))
    assert index.durations[-1] > 0
    assert (index.width, index.height) == (64, 48)


@pytest.mark.parametrize("name", ["film.avi", "film.h264"])
def test_a_film_without_pts_is_counted(name: str, tmp_path: Path) -> None:
    path = make_film(tmp_path / name, options={"bf": "2"})
    index = probe(path)
    assert index.counted
    assert index.frames == 30
    assert {b - a for a, b in pairwise(index.time(f) for f in range(30))} == {Fraction(1, 25)}


def test_frames_before_the_start_of_an_edit_list_are_not_the_films(tmp_path: Path) -> None:
    whole = make_film(tmp_path / "whole.mp4", options={"bf": "2", "g": "30"})
    path = tmp_path / "cut.mp4"
    with av.open(str(whole)) as film, av.open(str(path), "w") as out:
        source = film.streams.video[0]
        target = out.add_stream_from_template(source)
        for packet in film.demux(source):
            if packet.dts is None:
                continue
            packet.pts -= 512 * 5  # the first five frames come before time zero
            packet.dts -= 512 * 5
            packet.stream = target
            out.mux(packet)
    index = probe(path)
    assert index.frames == 25
    assert [p for p, _ in shown(path, index)] == list(index.pts)


def test_a_recording_that_starts_inside_an_open_gop(tmp_path: Path) -> None:
    options = {"x264-params": "open-gop=1:keyint=8:min-keyint=8:bframes=3:scenecut=0"}
    whole = make_film(tmp_path / "whole.ts", options=options)
    path = tmp_path / "cut.ts"
    keys = 0
    with av.open(str(whole)) as film, av.open(str(path), "w") as out:
        source = film.streams.video[0]
        target = out.add_stream_from_template(source)
        for packet in film.demux(source):
            keys += packet.is_keyframe
            if packet.dts is not None and keys >= 2:
                packet.stream = target
                out.mux(packet)
    index = probe(path)
    decoded = [p for p, _ in shown(path, index)]
    assert list(index.pts) == decoded
    assert 15 < index.frames < 23


def test_colour_shape_and_rotation(tmp_path: Path) -> None:
    path = make_film(
        tmp_path / "film.mp4",
        context={
            "color_primaries": 9,
            "color_trc": 16,
            "colorspace": 9,
            "color_range": 2,
            "sample_aspect_ratio": Fraction(4, 3),
        },
        options={"chroma_sample_location": "topleft"},
        rotation=-90,
    )
    index = probe(path)
    colour = index.colour
    assert (colour.primaries, colour.transfer, colour.matrix) == (9, 16, 9)
    assert colour.full_range
    assert colour.chroma_location == 3
    assert index.sample_aspect_ratio == Fraction(4, 3)
    assert index.rotation == 90
    assert index.display_matrix[:5] == (0, 65536, 0, -65536, 0)


def test_hdr10_metadata(tmp_path: Path) -> None:
    master = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    options = {"x264-params": f"mastering-display={master}:cll=1000,400"}
    index = probe(make_film(tmp_path / "hdr.mp4", pix_fmt="yuv420p10le", options=options))
    assert index.mastering_display == master
    assert index.content_light == "1000,400"


def cover_art(film: OutputContainer) -> Callable[[], None]:
    picture = film.add_stream("png", rate=1)
    picture.width, picture.height, picture.pix_fmt = 32, 32, "rgb24"
    picture.disposition = av.stream.Disposition.attached_pic

    def fill() -> None:
        frame = av.VideoFrame(32, 32, "rgb24")
        for packet in [*picture.encode(frame), *picture.encode(None)]:
            film.mux(packet)

    return fill


def audio(film: OutputContainer) -> Callable[[], None]:
    stream = film.add_stream("aac", rate=48000)

    def fill() -> None:
        for number in range(40):
            frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
            frame.sample_rate, frame.pts = 48000, number * 1024
            film.mux(stream.encode(frame))
        film.mux(stream.encode(None))

    return fill


def test_cover_art_is_not_video(tmp_path: Path) -> None:
    path = make_film(tmp_path / "film.mp4", extras=cover_art)
    index = probe(path)
    assert index.frames == 30
    assert index.stream == 0

    song = tmp_path / "song.m4a"
    with av.open(str(song), "w", format="mp4") as out:
        fills = [audio(out), cover_art(out)]
        for fill in fills:
            fill()
    with pytest.raises(MediaWithoutVideo):
        probe(song)


def bad(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / f"{kind}.mp4"
    if kind == "folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("This is not a film.\n" * 99)
    elif kind == "empty":
        path.touch()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "readme":
        path = tmp_path / "readme.txt"
        path.write_text("FFmpeg would draw these letters.\n" * 99)
    elif kind == "no-moov":
        whole = make_film(tmp_path / "whole.mp4", size=(320, 240))
        path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    elif kind == "sound":
        with av.open(str(path), "w") as out:
            audio(out)()
    elif kind == "no-frame":
        header_first = {"movflags": "empty_moov+frag_keyframe"}
        with av.open(str(path), "w", container_options=header_first) as out:
            stream = out.add_stream("libx264", rate=25)
            stream.width, stream.height = 64, 48
            out.start_encoding()
    elif kind == "noise":
        whole = make_film(tmp_path / "whole.mp4", container_options={"movflags": "faststart"})
        data = bytearray(whole.read_bytes())
        start = data.find(b"mdat") + 4
        data[start:] = np.random.default_rng(3).bytes(len(data) - start)
        path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("missing", MediaMissing),
        ("folder", MediaUnreadable),
        ("text", MediaUnreadable),
        ("empty", MediaUnreadable),
        ("pipe", MediaUnreadable),
        ("no-moov", MediaUnreadable),
        ("readme", MediaWithoutVideo),
        ("sound", MediaWithoutVideo),
        ("no-frame", MediaWithoutFrames),
        ("noise", MediaWithoutFrames),
    ],
)
def test_what_is_no_film_is_one_clear_error(
    kind: str, error: type[SwapfarmError], tmp_path: Path
) -> None:
    path = bad(tmp_path, kind)
    with pytest.raises(error) as caught:
        probe(path)
    assert str(path) in caught.value.found


def cut_off(tmp_path: Path, name: str, container: dict[str, str]) -> Path:
    whole = make_film(
        tmp_path / name,
        frames=120,
        size=(160, 120),
        options={"bf": "2", "g": "20"},
        container_options=container,
    )
    path = tmp_path / f"cut-{name}"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    return path


def test_a_film_that_knows_that_it_is_cut_off_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaTruncated, match="of 120 frames are there"):
        probe(cut_off(tmp_path, "f.mp4", {"movflags": "faststart"}))


@pytest.mark.parametrize("name", ["f.mkv", "f.ts"])
def test_a_cut_off_recording_has_the_frames_that_exist(name: str, tmp_path: Path) -> None:
    path = cut_off(tmp_path, name, {})
    index = probe(path)
    assert 30 < index.frames < 100
    assert list(index.pts) == [p for p, _ in shown(path, index)]


@pytest.mark.parametrize("name", ["with space.mp4", "ünïcødé.mp4", "new\nline.mp4", "a:b%d.mp4"])
def test_odd_paths(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_film(tmp_path / "plain.mp4", frames=3)
    path.rename(tmp_path / name)
    (tmp_path / "link.mp4").symlink_to(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert probe(name).path == str(tmp_path / name)
    assert probe("link.mp4").frames == 3


def test_a_film_of_jpegs_with_exif_is_probed(tmp_path: Path) -> None:
    exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x01\0\0\0\0\0\0\0"
    picture = np.full((48, 64, 3), 90, np.uint8)
    done, data = cv2.imencodeWithMetadata(
        ".jpg", picture, [cv2.IMAGE_METADATA_EXIF], [np.frombuffer(exif, np.uint8)]
    )
    assert done
    (tmp_path / "photo.jpg").write_bytes(data.tobytes())
    index = probe(tmp_path / "photo.jpg")
    assert (index.frames, index.width, index.height) == (1, 64, 48)
