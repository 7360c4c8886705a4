from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.format import names
from av.video.frame import VideoFrame

from actors.formats import (
    picture_format,
    pix_fmt_of,
    plane_views,
    shares_planes,
    working_format_of,
    working_pix_fmt,
)
from scheduler.errors import MediaUnsupported
from scheduler.media import ColourTags, VideoIndex
from tests.unit.actors.films import paint

INDEX = VideoIndex(
    path="/film.mp4",
    container="mov",
    stream=0,
    codec="h264",
    width=61,
    height=47,
    pix_fmt="yuv420p",
    time_base=Fraction(1, 25),
    pts=(0,),
    durations=(1,),
    keyframes=(0,),
    average_rate=Fraction(25),
    colour=ColourTags(),
)

EXPECTED = {
    "yuv420p": "yuv420p",
    "yuvj420p": "yuv420p",
    "yuva420p": "yuv420p",
    "nv12": "yuv420p",
    "p010le": "yuv420p10le",
    "p016le": "yuv420p16le",
    "yuv422p10be": "yuv422p10le",
    "yuyv422": "yuv422p",
    "yuv440p12le": "yuv440p12le",
    "yuv411p": "yuv411p",
    "yuv410p": "yuv410p",
    "gray": "gray",
    "ya8": "gray",
    "monow": "gray",
    "gray12le": "gray12le",
    "grayf32le": "gray16le",
    "pal8": "gbrp",
    "rgb24": "gbrp",
    "bgra": "gbrp",
    "rgb48le": "gbrp16le",
    "x2rgb10le": "gbrp10le",
    "gbrap12le": "gbrp12le",
    "gbrpf32le": "gbrp16le",
    "xyz12le": "gbrp16le",
}


@pytest.mark.parametrize(("given", "working"), EXPECTED.items())
def test_working_formats(given: str, working: str) -> None:
    assert working_format_of(given) == working
    fmt = picture_format(replace(INDEX, pix_fmt=given))
    assert pix_fmt_of(fmt) == working
    planes = VideoFrame(61, 47, working).planes
    assert len(planes) == fmt.planes
    assert [(p.height, p.width) for p in planes] == [fmt.plane_shape(i) for i in range(fmt.planes)]


def test_every_format_that_software_decodes_to_has_a_working_format() -> None:
    for name in names:
        fmt = av.VideoFormat(name, 64, 64)
        if fmt.components:
            working = working_format_of(name)
            assert working_format_of(working) == working
            assert picture_format(replace(INDEX, pix_fmt=name)).depth <= 16


LOSSLESS = ["nv12", "nv21", "p010le", "yuyv422", "uyvy422", "yuv420p10be", "nv16", "nv24", "p210le"]
LOSSLESS += ["rgb24", "bgr24", "bgr0", "rgba", "rgb48le", "yuva420p", "gbrap", "yuva444p10le"]


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", LOSSLESS)
def test_repacking_loses_nothing(name: str, full: bool) -> None:
    """There and back through the working format gives the first frame's bytes."""
    working = working_format_of(name)
    frame = VideoFrame(60, 46, working)
    paint(frame, 1)
    frame.color_range = 2 if full else 1
    there = frame.reformat(format=name)
    back = there if shares_planes(name, working) else there.reformat(format=working)
    fmt = picture_format(replace(INDEX, pix_fmt=working, width=60, height=46))
    for one, two in zip(plane_views(frame, fmt).planes, plane_views(back, fmt).planes, strict=True):
        np.testing.assert_array_equal(one, two)


def test_unspecified_colour_is_read_as_players_do() -> None:
    assert picture_format(INDEX).matrix == "bt601"
    assert picture_format(replace(INDEX, height=720)).matrix == "bt709"
    assert picture_format(replace(INDEX, pix_fmt="rgb24")).transfer == "srgb"
    assert picture_format(replace(INDEX, pix_fmt="rgb24")).full_range
    assert picture_format(INDEX).chroma_left
    assert not picture_format(replace(INDEX, codec="mjpeg")).chroma_left


def test_tags_decide_where_there_are_some() -> None:
    tags = ColourTags(primaries=9, transfer=16, matrix=9, full_range=True, chroma_location=2)
    fmt = picture_format(replace(INDEX, colour=tags, pix_fmt="yuv420p10le"))
    assert (fmt.matrix, fmt.transfer, fmt.full_range) == ("bt2020", "pq", True)
    assert not fmt.chroma_left
    assert fmt.depth == 10


def test_an_unknown_matrix_is_an_error() -> None:
    with pytest.raises(MediaUnsupported, match="number 8"):
        picture_format(replace(INDEX, colour=ColourTags(matrix=8)))


def test_views_leave_padding_out_and_write_through() -> None:
    frame = VideoFrame(61, 47, "yuv420p10le")
    fmt = picture_format(replace(INDEX, pix_fmt="yuv420p10le"))
    assert working_pix_fmt(replace(INDEX, pix_fmt="yuv420p10le")) == "yuv420p10le"
    views = plane_views(frame, fmt).planes
    assert [v.shape for v in views] == [(47, 61), (24, 31), (24, 31)]
    views[2][:] = 777
    np.testing.assert_array_equal(plane_views(frame, fmt).planes[2], 777)
