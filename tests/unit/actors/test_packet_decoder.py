"""Another library decodes on the GPU: exactly the CPU's pictures, whatever range and film.

The library is played: FFmpeg's decoder on the CPU behind ``PacketDecoder``, given the same packets.
Its pictures lie in memory that it overwrites as it goes on, as a decoder's few surfaces are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import av
import numpy as np
import pytest
from av.codec import CodecContext
from av.codec.context import Flags, Flags2
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext

from actors.formats import picture_format
from actors.gpu_video import PACKETS, gpu_decoder, video_route
from actors.hashes import frame_hash
from actors.lane_gpu import LaneGpu
from actors.packet_decoder import (
    PacketRangeDecoder,
    Surface,
    begins_whole,
    packets_refuse,
)
from actors.prober import probe
from actors.pynvvideocodec import open_pynvvideocodec
from actors.toolbox import LaneKit, Toolbox
from actors.transport.cuda_ipc import Arenas
from actors.transport.libcuda import LibCuda
from farm.options.settings import Lane as LaneOptions
from kernels.picture import Picture
from scheduler.devices import TENSORRT
from scheduler.errors import GpuUnavailable
from scheduler.jobs import EncoderSettings
from scheduler.media import VideoIndex
from tests.support.hardware import lacking
from tests.support.played_gpu import PlayedGpu
from tests.unit.actors.films import make_film
from tests.unit.actors.gpu_lane import ROUTES, SETTINGS, Lane, by_cpu

SURFACES = 4


class Played:
    """FFmpeg's decoder as a library of packets."""

    stream = 9

    def __init__(self, index: VideoIndex, gpu: LaneGpu) -> None:
        context = CodecContext.create(index.codec, "r")
        assert isinstance(context, VideoCodecContext)
        # FFmpeg keeps to itself what it knows to be wrong; other decoders show it.
        context.flags |= Flags.output_corrupt
        context.flags2 |= Flags2.show_all
        self._context = context
        self._wanted = "nv12" if picture_format(index).depth == 8 else "p010le"
        self._memory: list[Any] = [None] * SURFACES
        self._turn = 0

    def decode(self, data: bytes, pts: int) -> Sequence[Surface]:
        packet = Packet(data)
        packet.pts, packet.time_base = pts, Fraction(1, 1000)
        try:
            return self._given(self._context.decode(packet))
        except av.InvalidDataError:
            return []  # nothing to refer to yet

    def flush(self) -> Sequence[Surface]:
        return self._given(self._context.decode(None))

    def _given(self, frames: Sequence[Any]) -> list[Surface]:
        surfaces = []
        for frame in frames:
            planes = frame.reformat(format=self._wanted).planes
            pitch = planes[0].line_size
            # Rows of luma, then of chroma, as NVDEC has them; the oldest surface is taken again.
            whole = np.concatenate(
                [np.frombuffer(plane, np.uint8).reshape(-1, pitch) for plane in planes]
            )
            self._turn = (self._turn + 1) % SURFACES
            held = self._memory[self._turn]
            if held is None:
                held = self._memory[self._turn] = np.empty_like(whole)
            held[...] = whole
            surfaces.append(
                Surface(
                    pts=frame.pts,
                    width=frame.width,
                    height=frame.height,
                    luma=held.ctypes.data,
                    chroma=held.ctypes.data + frame.height * pitch,
                    pitch=pitch,
                    keep=held,
                )
            )
        return surfaces


@pytest.fixture(scope="session")
def packet_films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, VideoIndex]:
    folder = tmp_path_factory.mktemp("packet_films")
    open_gop = {"x264-params": "open-gop=1:bframes=3:keyint=8:min-keyint=8"}
    refresh = {"x264-params": "intra-refresh=1:keyint=8:bframes=0"}
    films: dict[str, dict[str, Any]] = {
        "plain.mp4": {"options": {"bf": "2", "g": "9"}},
        "annex-b.ts": {"options": {"bf": "2", "g": "9"}},
        "open-gop.mp4": {"options": open_gop},
        "refresh.mp4": {"options": refresh},
        "refresh.ts": {"options": refresh},
        "open-gop.ts": {"options": open_gop},
        "hevc-open.mkv": {
            "codec": "libx265",
            "options": {"x265-params": "log-level=none:keyint=9:min-keyint=9:bframes=3:open-gop=1"},
        },
        "hevc-10.mp4": {
            "codec": "libx265",
            "pix_fmt": "yuv420p10le",
            "options": {"x265-params": "log-level=none:keyint=9:min-keyint=9:bframes=2"},
        },
    }
    return {name: probe(make_film(folder / name, frames=30, **how)) for name, how in films.items()}


NAMES = [
    *("plain.mp4", "annex-b.ts", "open-gop.mp4", "open-gop.ts", "refresh.mp4", "refresh.ts"),
    *("hevc-10.mp4", "hevc-open.mkv"),
]


def decoded(lane: Lane, index: VideoIndex, start: int, stop: int) -> list[tuple[int, str]]:
    fmt = picture_format(index)
    ring, found = lane.ring(ROUTES["nvdec-download"].layout(fmt, 0, 0)), []
    for frame in PacketRangeDecoder(index, lane.gpu, Played).decode(start, stop, ring):
        picture = Picture(format=fmt, planes=tuple(lane.planes(frame)))
        found.append((frame.handle.pts, frame_hash(picture)))
        ring.release(frame.handle.slot)
    ring.close()
    return found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("start", "stop"), [(0, 3), (16, 20), (29, 30)])
def test_any_range_is_the_cpus(
    lane: Lane, packet_films: dict[str, VideoIndex], name: str, start: int, stop: int
) -> None:
    index = packet_films[name]
    assert decoded(lane, index, start, stop) == by_cpu(index, start, stop)
    assert lane.gpu.transfers.uploads == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_decoder_that_gives_the_cpus_picture_is_taken(
    lane: Lane, packet_films: dict[str, VideoIndex], name: str
) -> None:
    index = packet_films[name]
    assert packets_refuse(index, lane.gpu, Played) == ""
    assert (lane.gpu.transfers.uploads, lane.gpu.transfers.downloads) == (0, 0)
    route = video_route(
        index, SETTINGS, lane.gpu, packets=Played, decoder_refuses=lambda *_: "not asked"
    )
    assert (route.decode, route.encode, route.semi_planar) == ("packets", "download", True)
    assert route.transfers == (0, 1)
    assert isinstance(gpu_decoder(route, index, lane.gpu), PacketRangeDecoder)


def test_a_lane_has_the_decoder_of_its_settings(
    played: PlayedGpu,
    packet_films: dict[str, VideoIndex],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(PACKETS, "pynvvideocodec", Played)  # type: ignore[arg-type]
    index = packet_films[NAMES[0]]
    for name, decode in (("pynvvideocodec", "packets"), ("ffmpeg", "upload")):
        tools = Toolbox(LaneKit(cache_dir=tmp_path, decoder=name), TENSORRT, lambda _: played.gpu)
        assert tools._lane.route(index, SETTINGS).decode == decode
        tools.close()


class Wrong(Played):
    """Gives pictures that are a code off: it deinterlaces, say."""

    def _given(self, frames: Sequence[Any]) -> list[Surface]:
        surfaces = super()._given(frames)
        for surface in surfaces:
            surface.keep[3, 5] ^= 1  # type: ignore[index]
        return surfaces


class Padded(Played):
    """Gives pictures with the rows that a codec adds."""

    def _given(self, frames: Sequence[Any]) -> list[Surface]:
        return [replace(surface, height=64) for surface in super()._given(frames)]


class Silent(Played):
    def _given(self, frames: Sequence[Any]) -> list[Surface]:
        return []


def missing(index: VideoIndex, gpu: LaneGpu) -> Played:
    raise GpuUnavailable("PyNvVideoCodec is not installed", "it", "install it")


@pytest.mark.parametrize(
    ("opens", "why"),
    [
        (Wrong, "its first picture is not the CPU's"),
        (Padded, "it gives pictures of 64 x 64"),
        (Silent, "it gave no picture"),
        (missing, "PyNvVideoCodec is not installed"),
    ],
)
def test_one_that_does_not_work_is_left_and_that_is_said(
    lane: Lane, packet_films: dict[str, VideoIndex], opens: Any, why: str
) -> None:
    index = packet_films["plain.mp4"]
    route = video_route(
        index,
        EncoderSettings(codec="libx264"),
        lane.gpu,
        packets=opens,
        decoder_refuses=lambda *_: "",
    )
    assert (route.decode, route.packets) == ("nvdec", None)
    assert route.reasons[0] == why


def test_films_for_which_it_is_not_asked(lane: Lane, gpu_films: dict[str, VideoIndex]) -> None:
    def never(index: VideoIndex, gpu: LaneGpu) -> Played:
        raise AssertionError("asked")

    assert "not for ffv1" in packets_refuse(gpu_films["odd.mkv"], lane.gpu, never)
    off = video_route(gpu_films["420.mp4"], SETTINGS, lane.gpu, decoder_refuses=lambda *_: "")
    assert (off.decode, off.reasons) == ("nvdec", ("libx264 encodes on the CPU",))


def test_every_name_of_a_setting_is_known() -> None:
    names = get_args(LaneOptions.model_fields["decoder"].annotation)
    assert set(names) == {"ffmpeg", *PACKETS}


def test_where_decoding_may_begin() -> None:
    start = b"\0\0\0\1"
    parameters = start + b"\x67pps" + start + b"\x68sps"
    assert begins_whole(parameters + start + b"\x65idr", "h264")
    assert not begins_whole(parameters + start + b"\x41slice", "h264")
    assert not begins_whole(parameters, "h264")
    assert not begins_whole(b"", "h264")
    sets = start + b"\x40\1vps" + start + b"\x42\1sps"
    assert begins_whole(sets + b"\0\0\1" + b"\x26\1idr", "hevc")
    assert begins_whole(sets + start + b"\x2a\1cra", "hevc")
    assert not begins_whole(sets + start + b"\x02\1trail", "hevc")


# Planted bugs


def test_planted_a_copy_that_does_not_wait_for_the_slot(
    lane: Lane, packet_films: dict[str, VideoIndex], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of streams: what is filled is waited for in the decoder's own stream."""
    index = packet_films["plain.mp4"]
    true = lane.gpu.copy

    def elsewhere(*values: Any) -> None:
        true(*values[:-1], 7 if values[-2] == "across" else values[-1])

    monkeypatch.setattr(lane.gpu, "copy", elsewhere)
    assert decoded(lane, index, 0, 3) != by_cpu(index, 0, 3)
    lane.driver.synchronize()


def test_planted_a_start_that_is_no_whole_picture(
    lane: Lane, packet_films: dict[str, VideoIndex], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a film of gradual refresh a "key frame" does not stand alone."""
    index = packet_films["refresh.ts"]
    monkeypatch.setattr("actors.packet_decoder.begins_whole", lambda *_: True)
    assert decoded(lane, index, 16, 20) != by_cpu(index, 16, 20)


# On a GPU


@pytest.mark.cuda
@pytest.mark.parametrize("name", NAMES)
def test_pynvvideocodec_decodes_what_the_cpu_does(
    packet_films: dict[str, VideoIndex], name: str
) -> None:
    index = packet_films[name]
    try:
        gpu = LaneGpu(LibCuda())
        open_pynvvideocodec(index, gpu)
    except GpuUnavailable as error:
        lacking(error)
    assert packets_refuse(index, gpu, open_pynvvideocodec) == ""
    fmt, arenas = picture_format(index), Arenas(gpu.driver)
    ring = arenas.ring(ROUTES["nvdec-download"].layout(fmt, 0, 0), 3)
    for start, stop in ((0, 5), (16, 30)):
        found = []
        decoder = PacketRangeDecoder(index, gpu, open_pynvvideocodec)
        for frame in decoder.decode(start, stop, ring):
            luma, pairs = (
                rows.copy().view(fmt.dtype) >> frame.picture.shift for rows in gpu.download(frame)
            )
            picture = Picture(format=fmt, planes=(luma, pairs[:, 0::2], pairs[:, 1::2]))
            found.append((frame.handle.pts, frame_hash(picture)))
            ring.release(frame.handle.slot)
        assert found == by_cpu(index, start, stop)
    assert gpu.transfers.uploads == 0
    ring.close()
    arenas.close()
