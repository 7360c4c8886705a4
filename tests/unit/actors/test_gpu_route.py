"""Which way a film takes onto a GPU and from it, what PyAV has for it, and what a machine says."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.codec import Codec
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.container import InputContainer
from av.video.frame import CudaContext, VideoFrame

from actors import dlpack
from actors.codecs import encoder_pix_fmt
from actors.film import open_film
from actors.formats import picture_format, plane_views
from actors.gpu_decoder import NvdecDecoder, nvdec
from actors.gpu_encoder import DeviceEncoder
from actors.gpu_video import (
    gpu_decoder,
    gpu_encoder,
    nvdec_refuses,
    nvenc_refuses,
    video_route,
)
from actors.hashes import frame_hash
from actors.lane_gpu import LaneGpu
from actors.transport.cuda_ipc import Arenas
from actors.transport.libcuda import LibCuda
from kernels.picture import Picture
from scheduler.errors import EncoderUnavailable, GpuFailed, GpuUnavailable
from scheduler.jobs import EncoderSettings
from scheduler.media import VideoIndex
from tests.support.fake_gpu import FakeDriver
from tests.support.hardware import has_nvenc, lacking, this_gpu
from tests.unit.actors.gpu_lane import (
    EVEN,
    NV12,
    SETTINGS,
    Lane,
    by_cpu,
)


def test_the_route_is_the_fastest_that_works(lane: Lane, gpu_films: dict[str, VideoIndex]) -> None:
    def route(film: str, codec: str, no_nvdec: str = "", no_nvenc: str = "", **more: Any) -> Any:
        settings = EncoderSettings(codec=codec, **more)
        found = video_route(
            gpu_films[film],
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
    cpu = video_route(gpu_films["420.mp4"], SETTINGS, None)
    assert (cpu.decode, cpu.encode, cpu.transfers) == ("cpu", "cpu", (0, 0))


def test_ten_bits_go_to_nvenc_as_p010(gpu_films: dict[str, VideoIndex]) -> None:
    for codec in ("h264_nvenc", "hevc_nvenc"):
        assert encoder_pix_fmt(gpu_films["420-10.mp4"], EncoderSettings(codec=codec)) == "p010le"


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
    gpu_films: dict[str, VideoIndex], tmp_path: Path, lane: Lane
) -> None:
    driver = CudaInName(tmp_path / "named")
    assert "cannot open the GPU (Operation not permitted)" in nvdec_refuses(
        gpu_films["420.mp4"], driver
    )
    for codec in ("h264_nvenc", "hevc_nvenc"):
        assert "no encoder" in nvenc_refuses(codec, 8, driver)
    assert driver.used() == 0
    with pytest.raises(GpuUnavailable, match="Operation not permitted"):
        next(NvdecDecoder(gpu_films["420.mp4"], LaneGpu(driver)).decode(0, 2, lane.ring(NV12)))


@pytest.mark.usefixtures("without_driver")
def test_an_encoder_without_a_gpu_is_one_clear_error(
    gpu_films: dict[str, VideoIndex], tmp_path: Path
) -> None:
    gpu = LaneGpu(CudaInName(tmp_path / "named"))
    arenas = Arenas(gpu.driver)
    ring = arenas.ring(NV12, 2)
    settings, path = EncoderSettings(codec="h264_nvenc"), tmp_path / "out.mp4"
    with (
        DeviceEncoder(gpu_films["420.mp4"], settings, path, gpu=gpu) as encoder,
        pytest.raises(EncoderUnavailable, match="h264_nvenc finds no device"),
    ):
        encoder.encode(ring.acquire(0, gpu_films["420.mp4"].pts[0]))
    assert not list(tmp_path.glob("*.mp4")) + list(tmp_path.glob(".*.part"))
    ring.close()
    arenas.close()
    gpu.close()


def test_frames_that_come_from_the_cpu_are_not_taken_for_the_gpus(
    lane: Lane, gpu_films: dict[str, VideoIndex]
) -> None:
    class Fallen(NvdecDecoder):
        def _open(self) -> InputContainer:
            return open_film(self._index.path)

    with pytest.raises(GpuFailed, match="decoded on the CPU, as yuv420p"):
        next(Fallen(gpu_films["420.mp4"], lane.gpu).decode(0, 2, lane.ring(NV12)))


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
        lacking(error)


@pytest.mark.cuda
@pytest.mark.parametrize("name", [*EVEN, "hevc-10.mp4"])
def test_a_gpu_decodes_what_the_cpu_does(
    real: LaneGpu, gpu_films: dict[str, VideoIndex], name: str
) -> None:
    """H.264 and HEVC are exact: any decoder gives the same pictures. Most GPUs have no decoder for
    H.264 of 10 bits: that film is uploaded."""
    index = gpu_films[name]
    fmt, arenas = picture_format(index), Arenas(real.driver)
    route = video_route(index, SETTINGS, real)
    assert name == "420-10.mp4" or route.decode == "nvdec", route.reasons
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
@pytest.mark.parametrize("codec", ["h264_nvenc", "hevc_nvenc"])
def test_the_route_says_whether_a_gpu_has_nvenc(
    real: LaneGpu, gpu_films: dict[str, VideoIndex], codec: str
) -> None:
    """NVIDIA's list of GPUs with an encoder says so, and then it works; or that there is none."""
    route = video_route(gpu_films["420.mp4"], EncoderSettings(codec=codec), real)
    assert route.decode == "nvdec", route.reasons
    assert isinstance(real.driver, LibCuda)
    if has_nvenc(this_gpu(real.driver.uuid)):
        assert (route.encode, route.reasons) == ("nvenc", ())
    else:
        assert route.encode == "download"
        (why,) = route.reasons
        assert why.startswith(f"the GPU has no encoder for {codec} that works ("), why


@pytest.mark.cuda
@pytest.mark.parametrize("codec", ["libx264", "h264_nvenc", "hevc_nvenc"])
def test_a_gpu_encodes_a_chunk(
    real: LaneGpu, gpu_films: dict[str, VideoIndex], tmp_path: Path, codec: str
) -> None:
    """Where the GPU has no encoder (the test above looks at that): x264, after a download."""
    index, settings = gpu_films["420.mp4"], EncoderSettings(codec=codec)
    route = video_route(index, settings, real)
    if route.encode != "nvenc":
        settings = EncoderSettings(codec="libx264")
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
