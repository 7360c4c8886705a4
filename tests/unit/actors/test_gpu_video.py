"""Video into and out of a GPU's memory.

Without a GPU: the whole of it over a fake one, FFmpeg's frames lying in host memory where a GPU's
would be in its own, x264 in NVENC's place. Decoded by the CPU the same film must give the same
pictures, and the encoders' segments the same bytes, by whatever way the frames went.
"""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import av
import numpy as np
import pytest
from av.codec import Codec
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.container import InputContainer
from av.video.frame import CudaContext, VideoFrame

from actors import dlpack
from actors.codecs import encoder_pix_fmt
from actors.decoder import Decoder
from actors.device_frames import DeviceFrame, DeviceLayout
from actors.encoder import EncodedSegment, Encoder
from actors.film import open_film
from actors.formats import picture_format, plane_views
from actors.gpu_decoder import NvdecDecoder, nvdec
from actors.gpu_encoder import DeviceEncoder
from actors.gpu_video import (
    VideoRoute,
    gpu_decoder,
    gpu_encoder,
    nvdec_refuses,
    nvenc_refuses,
    video_route,
)
from actors.hashes import frame_hash
from actors.lane_gpu import LaneGpu
from actors.prober import probe
from actors.segments import read_segment
from actors.transport.chain import Chain
from actors.transport.cuda_ipc import Arenas, CudaRing
from actors.transport.libcuda import LibCuda
from kernels.picture import Picture, PictureFormat
from scheduler.errors import EncoderUnavailable, FramesLost, GpuFailed, GpuUnavailable
from scheduler.jobs import EncoderSettings
from scheduler.media import VideoIndex
from tests.support.fake_gpu import FakeDriver, Fault
from tests.unit.actors.films import make_film, ring_for

SETTINGS = EncoderSettings(codec="libx264", preset="ultrafast")
FILMS: dict[str, dict[str, Any]] = {
    "420.mp4": {"options": {"bf": "2", "g": "9"}},
    "420-10.mp4": {"pix_fmt": "yuv420p10le", "options": {"bf": "2", "g": "9"}},
    "422-10.mkv": {"codec": "ffv1", "pix_fmt": "yuv422p10le"},
    "444.mkv": {"codec": "ffv1", "pix_fmt": "yuv444p"},
    "grey.mkv": {"codec": "ffv1", "pix_fmt": "gray"},
    "odd.mkv": {"codec": "ffv1", "size": (61, 47)},
}
EVEN = ["420.mp4", "420-10.mp4"]
ROUTES = {
    "nvdec-nvenc": VideoRoute(decode="nvdec", encode="nvenc"),
    "nvdec-download": VideoRoute(decode="nvdec", encode="download"),
    "upload-nvenc": VideoRoute(decode="upload", encode="nvenc"),
    "upload-download": VideoRoute(decode="upload", encode="download"),
}


NV12 = ROUTES["nvdec-nvenc"].layout(PictureFormat(width=64, height=48), 0, 0)


class NearNvdec(NvdecDecoder):
    """NVDEC with FFmpeg's CPU decoder in its place: frames are in host memory, NV12 or P010."""

    def _open(self) -> InputContainer:
        return open_film(self._index.path)

    def _surface(self, frame: VideoFrame, wanted: str) -> VideoFrame:
        # Held until the next one comes, as NVDEC's are until their copy is done.
        self._held = frame.reformat(format=wanted)
        return self._held


class Lane:
    """One process that decodes, computes and encodes on a fake GPU."""

    def __init__(self, folder: Path) -> None:
        self.driver = FakeDriver(folder, surfaces=True)
        self.gpu = LaneGpu(self.driver)
        self.driver.eager.add(self.gpu.encode)  # NVENC reads in this stream
        self.arenas = Arenas(self.driver)

    def ring(self, layout: DeviceLayout, slots: int = 3) -> CudaRing:
        return self.arenas.ring(layout, slots)

    def decoder(self, route: VideoRoute, index: VideoIndex) -> Any:
        if route.decode == "nvdec":
            return NearNvdec(index, self.gpu)
        return gpu_decoder(route, index, self.gpu)

    def compute(self, frame: DeviceFrame) -> None:
        """What stands for a swap: luma gets another sign, in the stream for it."""
        stream, plane = self.gpu.compute, frame.picture.planes[0]
        rows, row = frame.layout.rows(0)
        frame.await_filled(stream)
        luma = self.driver.load(plane.pointer, plane.pitch, row, rows, stream).view(plane.dtype)
        top = (1 << frame.layout.format.depth) - 1 << frame.picture.shift
        self.driver.store(plane.pointer, plane.pitch, (top - luma).view(np.uint8), stream)
        frame.mark_filled(stream)

    def planes(self, frame: DeviceFrame) -> list[np.ndarray[Any, Any]]:
        """Of a picture, as the film's own format has them; the frame is free again."""
        depth, found = frame.layout.format.depth, []
        for number, rows in enumerate(self.gpu.download(frame)):
            samples = rows.copy().view(frame.layout.format.dtype) >> frame.picture.shift
            pairs = frame.layout.semi_planar and number == 1
            found += [samples[:, 0::2], samples[:, 1::2]] if pairs else [samples]
        assert all((plane < 1 << depth).all() for plane in found)
        return found

    def close(self) -> None:
        self.arenas.close()
        self.gpu.close()
        assert (self.driver.used(), self.driver.events()) == (0, 0)


@pytest.fixture
def lane(tmp_path: Path) -> Iterator[Lane]:
    lane = Lane(tmp_path / "gpu")
    yield lane
    lane.close()


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, VideoIndex]:
    folder = tmp_path_factory.mktemp("films")
    return {name: probe(make_film(folder / name, frames=20, **how)) for name, how in FILMS.items()}


def by_cpu(index: VideoIndex, start: int, stop: int) -> list[tuple[int, str]]:
    return [
        (frame.handle.pts, frame_hash(frame.picture))
        for frame in Decoder(index).decode(start, stop, ring_for(index))
    ]


@pytest.mark.parametrize(
    ("name", "how"),
    [
        *((name, "upload-download") for name in FILMS),
        *((name, how) for name in EVEN for how in ("upload-nvenc", "nvdec-download")),
    ],
)
def test_pictures_on_the_gpu_are_those_of_the_cpu(
    lane: Lane, films: dict[str, VideoIndex], name: str, how: str
) -> None:
    index, route = films[name], ROUTES[how]
    fmt = picture_format(index)
    ring = lane.ring(route.layout(fmt, 0, 0))
    found = []
    for frame in lane.decoder(route, index).decode(3, 9, ring):
        picture = Picture(format=fmt, planes=tuple(lane.planes(frame)))
        found.append((frame.handle.pts, frame_hash(picture)))
        ring.release(frame.handle.slot)
    assert found == by_cpu(index, 3, 9)
    ring.close()


def render(
    lane: Lane, route: VideoRoute, index: VideoIndex, path: Path, start: int, stop: int
) -> EncodedSegment:
    """One chunk through three streams of one GPU."""
    ring = lane.ring(route.layout(picture_format(index), 1, 16))
    with gpu_encoder(route, index, SETTINGS, path, gpu=lane.gpu) as encoder:
        for frame in lane.decoder(route, index).decode(start, stop, ring):
            lane.compute(frame)
            encoder.encode(frame)
            ring.release(frame.handle.slot)
        made = encoder.close()
    ring.close()
    return made


def render_by_cpu(index: VideoIndex, path: Path, start: int, stop: int) -> EncodedSegment:
    top = (1 << picture_format(index).depth) - 1
    with Encoder(index, SETTINGS, path) as encoder:
        for frame in Decoder(index).decode(start, stop, ring_for(index)):
            luma = frame.picture.planes[0]
            luma[...] = top - luma
            encoder.encode(frame)
        return encoder.close()


def pictures(path: str) -> list[str]:
    index = probe(path)
    return [digest for _, digest in by_cpu(index, 0, index.frames)]


@pytest.mark.parametrize(
    ("name", "how"),
    # x264 stands in for NVENC and takes no P010.
    [(n, h) for n in EVEN for h in ROUTES if n == "420.mp4" or not h.endswith("nvenc")],
)
def test_a_chunk_by_any_route_is_the_chunk_of_the_cpu(
    lane: Lane, films: dict[str, VideoIndex], tmp_path: Path, name: str, how: str
) -> None:
    index, route = films[name], ROUTES[how]
    found = render(lane, route, index, tmp_path / "gpu.mp4", 4, 10)
    wanted = render_by_cpu(index, tmp_path / "cpu.mp4", 4, 10)
    assert (found.frames, found.first_pts) == (wanted.frames, wanted.first_pts)
    assert read_segment(found.path).pts == read_segment(wanted.path).pts
    assert pictures(found.path) == pictures(wanted.path)
    if route.encode == "download":
        assert found.sha256 == wanted.sha256
    # Any chunks of one route can be joined.
    parts = [render(lane, route, index, tmp_path / f"{n}.mp4", n, n + 3) for n in (0, 3)]
    assert len({part.extradata_sha256 for part in (found, *parts)}) == 1


@pytest.mark.parametrize("how", ["nvdec-nvenc", "upload-download"])
def test_a_chunk_passes_three_processes(
    films: dict[str, VideoIndex], tmp_path: Path, how: str
) -> None:
    """Decoder, compute and encoder each have a driver, streams and the arena of their own; they are
    threads here, real processes in test_cuda_ipc."""
    index, route = films["420.mp4"], ROUTES[how]
    layout = route.layout(picture_format(index), 0, 0)
    name, path = uuid4().hex, tmp_path / "gpu.mp4"

    def process(position: int) -> tuple[int, int]:
        lane = Lane(tmp_path / "gpu")
        opener = lane.arenas.open
        with (
            Chain(name, position, 3, patience=30.0, open_ring=opener) as chain,
            ExitStack() as ends,
        ):
            ring = chain.open(lambda: lane.ring(layout))
            if chain.first:
                frames = lane.decoder(route, index).decode(4, 10, ring)
            else:
                frames = chain.frames()
            encoder = None
            if chain.last:
                encoder = gpu_encoder(route, index, SETTINGS, path, gpu=lane.gpu)
                ends.enter_context(encoder)
            for frame in frames:
                if encoder is not None:
                    encoder.encode(frame)
                elif not chain.first:
                    lane.compute(frame)
                chain.pass_on(frame)
            chain.end()
            if encoder is not None:
                encoder.close()
        lane.arenas.close()
        lane.gpu.close()
        return lane.gpu.transfers.uploads, lane.gpu.transfers.downloads

    with ThreadPoolExecutor(3) as pool:
        counts = list(pool.map(process, range(3)))
    wanted = render_by_cpu(index, tmp_path / "cpu.mp4", 4, 10)
    assert pictures(str(path)) == pictures(wanted.path)
    up, down = route.transfers
    copies = 1 if route.semi_planar else 3
    assert counts == [(6 * copies * up, 0), (0, 0), (0, 6 * copies * down)]
    gc.collect()
    left = FakeDriver(tmp_path / "gpu")
    assert (left.used(), left.events()) == (0, 0)


@pytest.mark.parametrize("how", ROUTES)
def test_pictures_cross_to_the_host_as_often_as_the_route_says(
    lane: Lane, films: dict[str, VideoIndex], tmp_path: Path, how: str
) -> None:
    index, route, frames = films["420.mp4"], ROUTES[how], 6
    render(lane, route, index, tmp_path / "gpu.mp4", 4, 4 + frames)
    counted = lane.gpu.transfers
    nbytes = picture_format(index).nbytes
    copies = 1 if route.semi_planar else 3
    up, down = route.transfers
    assert (counted.uploads, counted.downloads) == (frames * copies * up, frames * copies * down)
    assert (counted.uploaded, counted.downloaded) == (frames * nbytes * up, frames * nbytes * down)
    if how == "nvdec-nvenc":
        assert (counted.uploads, counted.downloads, counted.uploaded) == (0, 0, 0)


@pytest.mark.parametrize("name", ["422-10.mkv", "444.mkv", "grey.mkv"])
def test_what_no_gpu_decodes_goes_through_the_host(
    lane: Lane, films: dict[str, VideoIndex], tmp_path: Path, name: str
) -> None:
    index, settings = films[name], EncoderSettings(codec="ffv1")
    route = video_route(index, settings, lane.gpu, decoder_refuses=_never, encoder_refuses=_never)
    assert (route.decode, route.encode, route.semi_planar) == ("upload", "download", False)
    ring = lane.ring(route.layout(picture_format(index), 0, 0))
    path = tmp_path / "out.mp4"
    with gpu_encoder(route, index, settings, path, gpu=lane.gpu) as encoder:
        for frame in lane.decoder(route, index).decode(0, 8, ring):
            encoder.encode(frame)
            ring.release(frame.handle.slot)
        encoder.close()
    ring.close()
    assert pictures(str(path)) == [digest for _, digest in by_cpu(index, 0, 8)]


def test_an_encoder_gives_its_pictures_back_and_they_are_used_again(
    lane: Lane, films: dict[str, VideoIndex], tmp_path: Path
) -> None:
    index, route = films["420.mp4"], ROUTES["nvdec-nvenc"]
    for number in range(2):
        render(lane, route, index, tmp_path / f"{number}.mp4", 0, 10)
        gc.collect()
    pool = lane.gpu._surfaces
    assert pool is not None
    assert pool._made == len(pool._free)
    assert pool._made < 10


def test_frames_must_come_in_order(
    lane: Lane, films: dict[str, VideoIndex], tmp_path: Path
) -> None:
    index, route = films["420.mp4"], ROUTES["nvdec-nvenc"]
    ring = lane.ring(route.layout(picture_format(index), 0, 0))
    frames = lane.decoder(route, index).decode(0, 3, ring)
    with DeviceEncoder(index, SETTINGS, tmp_path / "out.mp4", gpu=lane.gpu) as encoder:
        encoder.encode(next(frames))
        next(frames)
        with pytest.raises(FramesLost):
            encoder.encode(next(frames))
    assert not list(tmp_path.glob("*.mp4"))
    ring.close()


# Planted bugs


def test_planted_an_encoder_that_does_not_wait(
    lane: Lane, films: dict[str, VideoIndex], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, route = films["420.mp4"], ROUTES["nvdec-nvenc"]
    true = DeviceFrame.await_filled

    def forgets(frame: DeviceFrame, stream: int) -> None:
        if stream != lane.gpu.encode:
            true(frame, stream)

    monkeypatch.setattr(DeviceFrame, "await_filled", forgets)
    found = render(lane, route, index, tmp_path / "gpu.mp4", 4, 5)
    wanted = render_by_cpu(index, tmp_path / "cpu.mp4", 4, 5)
    assert pictures(found.path) != pictures(wanted.path)


def test_planted_a_decoder_that_does_not_wait_for_the_encoder(
    lane: Lane, films: dict[str, VideoIndex], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DeviceFrame, "await_free", lambda frame, stream: None)
    with pytest.raises(Fault, match="still reads"):
        render(lane, ROUTES["nvdec-nvenc"], films["420.mp4"], tmp_path / "gpu.mp4", 4, 10)
    lane.driver.synchronize()


def test_planted_a_staging_buffer_that_is_filled_while_it_is_on_its_way(
    lane: Lane, films: dict[str, VideoIndex], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uploads happen late on a GPU: here when somebody waits for the stream."""
    late = _LateUploads(lane.driver)
    monkeypatch.setattr(FakeDriver, "copy", late.copy)
    monkeypatch.setattr(FakeDriver, "synchronize", late.synchronize)
    index, route = films["444.mkv"], ROUTES["upload-download"]
    assert _uploaded(lane, route, index) == by_cpu(index, 0, 6)
    late.forgetful = True
    assert _uploaded(lane, route, index) != by_cpu(index, 0, 6)


class _LateUploads:
    def __init__(self, driver: FakeDriver) -> None:
        self.forgetful = False
        self._true_copy, self._true_wait = FakeDriver.copy, FakeDriver.synchronize
        self._driver = driver
        self._waiting: list[tuple[Any, ...]] = []

    def copy(self, *values: Any) -> None:
        if values[6] == "up":
            self._waiting.append(values)
        else:
            self.flush()
            self._true_copy(self._driver, *values)

    def synchronize(self, stream: int | None = None) -> None:
        if not self.forgetful:
            self.flush()
        self._true_wait(self._driver, stream)

    def flush(self) -> None:
        for values in self._waiting:
            self._true_copy(self._driver, *values)
        self._waiting.clear()


def _uploaded(lane: Lane, route: VideoRoute, index: VideoIndex) -> list[tuple[int, str]]:
    fmt = picture_format(index)
    ring = lane.ring(route.layout(fmt, 0, 0), 6)
    frames = list(lane.decoder(route, index).decode(0, 6, ring))
    found = []
    for frame in frames:
        lane.driver.synchronize()
        picture = Picture(format=fmt, planes=tuple(lane.planes(frame)))
        found.append((frame.handle.pts, frame_hash(picture)))
    ring.close()
    return found


# What PyAV and this machine say


def _never(*_: object) -> str:
    raise AssertionError("not asked")


def test_the_route_is_the_fastest_that_works(lane: Lane, films: dict[str, VideoIndex]) -> None:
    def route(film: str, codec: str, no_nvdec: str = "", no_nvenc: str = "", **more: Any) -> Any:
        settings = EncoderSettings(codec=codec, **more)
        found = video_route(
            films[film],
            settings,
            lane.gpu,
            decoder_refuses=lambda index, driver: no_nvdec,
            encoder_refuses=lambda codec, depth, driver: no_nvenc,
        )
        return found.decode, found.encode, found.reasons

    assert route("420.mp4", "h264_nvenc") == ("nvdec", "nvenc", ())
    assert route("420-10.mp4", "hevc_nvenc") == ("nvdec", "nvenc", ())
    h200 = route("420.mp4", "libx264")
    assert h200 == ("nvdec", "download", ("libx264 encodes on the CPU",))
    assert route("420.mp4", "h264_nvenc", no_nvdec="old") == ("upload", "nvenc", ("old",))
    assert route("420.mp4", "h264_nvenc", no_nvenc="none") == ("nvdec", "download", ("none",))
    neither = route("420.mp4", "libx264", no_nvdec="old")
    assert neither[:2] == ("upload", "download")
    assert route("420.mp4", "h264_nvenc", scale=0.5)[:2] == ("nvdec", "download")
    assert route("odd.mkv", "h264_nvenc", no_nvdec="unasked")[:2] == ("upload", "download")
    cpu = video_route(films["420.mp4"], SETTINGS, None)
    assert (cpu.decode, cpu.encode, cpu.transfers) == ("cpu", "cpu", (0, 0))


def test_ten_bits_go_to_nvenc_as_p010(films: dict[str, VideoIndex]) -> None:
    for codec in ("h264_nvenc", "hevc_nvenc"):
        assert encoder_pix_fmt(films["420-10.mp4"], EncoderSettings(codec=codec)) == "p010le"


def test_an_encoder_is_tried_by_encoding(lane: Lane) -> None:
    assert nvenc_refuses("libx264", 8, lane.driver) == ""
    assert "no encoder for libx264" in nvenc_refuses("libx264", 10, lane.driver)  # of P010
    assert "no encoder for mpeg2video" in nvenc_refuses("mpeg2video", 8, lane.driver)
    assert lane.driver.used() == 0


class CudaInName(FakeDriver):
    """Says that its memory is CUDA's: PyAV then asks the real driver."""

    dlpack_device = (2, 0)


@pytest.fixture
def without_driver() -> None:
    try:
        LibCuda()
    except GpuUnavailable:
        return
    pytest.skip("this machine has a GPU")


@pytest.mark.usefixtures("without_driver")
def test_a_machine_without_a_gpu_says_so(
    films: dict[str, VideoIndex], tmp_path: Path, lane: Lane
) -> None:
    driver = CudaInName(tmp_path / "named")
    assert "cannot open the GPU (Operation not permitted)" in nvdec_refuses(
        films["420.mp4"], driver
    )
    for codec in ("h264_nvenc", "hevc_nvenc"):
        assert "no encoder" in nvenc_refuses(codec, 8, driver)
    assert driver.used() == 0
    with pytest.raises(GpuUnavailable, match="Operation not permitted"):
        next(NvdecDecoder(films["420.mp4"], LaneGpu(driver)).decode(0, 2, lane.ring(NV12)))


@pytest.mark.usefixtures("without_driver")
def test_an_encoder_without_a_gpu_is_one_clear_error(
    films: dict[str, VideoIndex], tmp_path: Path
) -> None:
    gpu = LaneGpu(CudaInName(tmp_path / "named"))
    arenas = Arenas(gpu.driver)
    ring = arenas.ring(NV12, 2)
    settings, path = EncoderSettings(codec="h264_nvenc"), tmp_path / "out.mp4"
    with (
        DeviceEncoder(films["420.mp4"], settings, path, gpu=gpu) as encoder,
        pytest.raises(EncoderUnavailable, match="h264_nvenc finds no device"),
    ):
        encoder.encode(ring.acquire(0, films["420.mp4"].pts[0]))
    assert not list(tmp_path.glob("*.mp4")) + list(tmp_path.glob(".*.part"))
    ring.close()
    arenas.close()
    gpu.close()


def test_frames_that_come_from_the_cpu_are_not_taken_for_the_gpus(
    lane: Lane, films: dict[str, VideoIndex]
) -> None:
    class Fallen(NvdecDecoder):
        def _open(self) -> InputContainer:
            return open_film(self._index.path)

    with pytest.raises(GpuFailed, match="decoded on the CPU, as yuv420p"):
        next(Fallen(films["420.mp4"], lane.gpu).decode(0, 2, lane.ring(NV12)))


def test_memory_goes_to_and_from_pyav_without_a_copy() -> None:
    frame = VideoFrame(64, 48, "nv12")
    for plane in frame.planes:
        np.frombuffer(plane, np.uint8)[...] = 7  # type: ignore[call-overload]
        assert dlpack.address(plane) == np.frombuffer(plane, np.uint8).ctypes.data  # type: ignore[call-overload]

    class Keep:
        pass

    luma, chroma = np.full((48, 256), 1, np.uint8), np.full((24, 256), 2, np.uint8)
    gone = []
    keeps = []
    for plane in (luma, chroma):
        keep = Keep()
        weakref.finalize(keep, gone.append, 1)
        rows = len(plane)
        keeps.append(
            dlpack.capsule(plane.ctypes.data, (rows, 64), (256, 1), 1, (dlpack.CPU, 0), keep)
        )
    del keep
    lent = VideoFrame.from_dlpack(tuple(keeps), "nv12")
    keeps.clear()
    assert [plane.line_size for plane in lent.planes] == [256, 256]
    assert dlpack.address(lent.planes[0]) == luma.ctypes.data
    gc.collect()
    assert gone == []
    del lent
    gc.collect()
    assert gone == [1, 1]


def test_pyav_has_what_is_called() -> None:
    """Names and values of the parts that cannot be run without a GPU."""
    assert "cuda" in hwdevices_available()
    hwaccel = nvdec(3)
    assert isinstance(hwaccel, HWAccel)
    assert (hwaccel.is_hw_owned, hwaccel.device_id) == (True, 3)
    assert hwaccel.options == {"primary_ctx": "1"}
    for name in ("h264", "hevc", "vp9", "av1", "mpeg2video"):
        configs = [c for c in Codec(name, "r").hardware_configs if c.format]
        assert any(c.device_type.name == "cuda" and c.is_supported for c in configs)
    for name in ("h264_nvenc", "hevc_nvenc", "av1_nvenc"):
        formats = {f.name for f in Codec(name, "w").video_formats or ()}
        assert {"cuda", "nv12", "p010le"} <= formats
    assert CudaContext(0, cuda_stream=1 << 40).cuda_stream == 1 << 40
    with pytest.raises(ValueError, match="requires device_id 0"):
        CudaContext(1, cuda_stream=1 << 40)


# On a GPU


@pytest.fixture
def real() -> LaneGpu:
    try:
        return LaneGpu(LibCuda())
    except GpuUnavailable as error:
        if os.environ.get("FAIL_WITHOUT_CUDA") == "1":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.mark.cuda
@pytest.mark.parametrize("name", EVEN)
def test_a_gpu_decodes_what_the_cpu_does(
    real: LaneGpu, films: dict[str, VideoIndex], name: str
) -> None:
    """H.264 is exact: any decoder gives the same pictures. 10 bits are High 10, which NVDEC has
    not: these must be uploaded."""
    index = films[name]
    fmt, arenas = picture_format(index), Arenas(real.driver)
    route = video_route(index, SETTINGS, real)
    assert route.decode == ("nvdec" if name == "420.mp4" else "upload"), route.reasons
    ring = arenas.ring(route.layout(fmt, 0, 0), 3)
    found = []
    for frame in gpu_decoder(route, index, real).decode(3, 9, ring):
        planes = []
        for number, rows in enumerate(real.download(frame)):
            samples = rows.copy().view(fmt.dtype) >> frame.picture.shift
            pairs = frame.layout.semi_planar and number == 1
            planes += [samples[:, 0::2], samples[:, 1::2]] if pairs else [samples]
        picture = Picture(format=fmt, planes=tuple(planes))
        found.append((frame.handle.pts, frame_hash(picture)))
        ring.release(frame.handle.slot)
    assert found == by_cpu(index, 3, 9)
    ring.close()
    arenas.close()


@pytest.mark.cuda
@pytest.mark.parametrize("codec", ["libx264", "h264_nvenc", "hevc_nvenc"])
def test_a_gpu_encodes_a_chunk(
    real: LaneGpu, films: dict[str, VideoIndex], tmp_path: Path, codec: str
) -> None:
    index, settings = films["420.mp4"], EncoderSettings(codec=codec)
    route = video_route(index, settings, real)
    if codec != "libx264" and route.encode != "nvenc":
        pytest.skip(f"this GPU has no NVENC: {route.reasons}")
    arenas, path = Arenas(real.driver), tmp_path / "out.mp4"
    ring = arenas.ring(route.layout(picture_format(index), 0, 0), 3)
    with gpu_encoder(route, index, settings, path, gpu=real) as encoder:
        for frame in gpu_decoder(route, index, real).decode(2, 18, ring):
            encoder.encode(frame)
            ring.release(frame.handle.slot)
        made = encoder.close()
    assert made.frames == 16
    copies = 1 if route.semi_planar else 3
    assert (real.transfers.uploads, real.transfers.downloads) == tuple(
        16 * copies * each for each in route.transfers
    )
    # The same pictures, but for what the codec loses.
    with av.open(str(path)) as found, open_film(index.path) as wanted:
        truth = list(wanted.decode(video=0))[2:18]
        for one, two in zip(found.decode(video=0), truth, strict=True):
            fmt = picture_format(index)
            a, b = (plane_views(f, fmt).planes[0].astype(float) for f in (one, two))
            assert np.abs(a - b).mean() < 4
    ring.close()
    arenas.close()
    real.close()
