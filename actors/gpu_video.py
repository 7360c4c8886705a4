"""How a film's pictures come onto a GPU and leave it. What is possible is found by doing it once.

The fastest way that works is taken, decoding and encoding each for itself: NVDEC, else the CPU's
decoder and an upload; NVENC from device memory, else a download and any codec. An A100, H100 or
H200 has no NVENC, an old GPU no decoder for AV1, and no GPU's decoder gives 4:2:2 here.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final, Literal

import av
from av.codec import CodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import CudaContext

from actors.decoder import RangeDecoder
from actors.device_frames import DeviceFrame, DeviceLayout, has_semi_planar
from actors.encoder import SegmentEncoder
from actors.film import frames_of, open_film, picture_stream
from actors.formats import picture_format
from actors.gpu_decoder import CUDA_FRAME, NvdecDecoder, UploadDecoder, nvdec
from actors.gpu_encoder import DeviceEncoder, DownloadEncoder, codec_format, lent_picture
from actors.lane_gpu import LaneGpu
from actors.packet_decoder import OpenPackets, PacketRangeDecoder, packets_refuse
from actors.pynvvideocodec import open_pynvvideocodec
from actors.transport.cuda_driver import CudaDriver
from kernels.picture import PictureFormat
from scheduler.errors import SwapfarmError
from scheduler.jobs import EncoderSettings
from scheduler.media import VideoIndex

PACKETS: Final[Mapping[str, OpenPackets]] = {"pynvvideocodec": open_pynvvideocodec}
"""Libraries that decode on a GPU beside FFmpeg, by the names that settings have for them."""
_TRIAL: Final = (320, 256)
"""Width and height of what is encoded for a trial; no NVENC finds it too small."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoRoute:
    """How pictures come onto the GPU and leave it, for one film and one codec."""

    decode: Literal["nvdec", "packets", "upload", "cpu"]
    """"packets": by ``packets``."""
    encode: Literal["nvenc", "download", "cpu"]
    reasons: tuple[str, ...] = ()
    """Why it is not the faster way, or not the one that was asked for."""
    packets: OpenPackets | None = None
    """Another library that decodes on the GPU."""

    @property
    def semi_planar(self) -> bool:
        """Whether slots are NV12 or P010."""
        return self.decode in ("nvdec", "packets") or self.encode == "nvenc"

    def layout(self, fmt: PictureFormat, faces: int, crop_size: int) -> DeviceLayout:
        """Of the slots that such a lane has."""
        return DeviceLayout(
            format=fmt, faces=faces, crop_size=crop_size, semi_planar=self.semi_planar
        )

    @property
    def transfers(self) -> tuple[int, int]:
        """(uploads, downloads) of whole pictures a frame."""
        return int(self.decode == "upload"), int(self.encode == "download")


def nvdec_refuses(index: VideoIndex, driver: CudaDriver) -> str:
    """Decodes a film's first picture on the GPU; why that does not go, or nothing."""
    try:
        with open_film(index.path, nvdec(driver.dlpack_device[1])) as container:
            for frame in frames_of(container, picture_stream(container, index.stream)):
                if frame.format.name != CUDA_FRAME or frame.sw_format is None:
                    return f"the GPU has no decoder for this {index.codec} ({index.pix_fmt})"
                layout = DeviceLayout(
                    format=picture_format(index), faces=0, crop_size=0, semi_planar=True
                )
                found = frame.sw_format.name
                return "" if found == layout.pix_fmt else f"the GPU decodes to {found}"
    except SwapfarmError as error:
        return error.found
    except (av.FFmpegError, ValueError) as error:
        return f"the GPU's decoder does not work ({error})"
    return "the GPU's decoder gave no picture"


def nvenc_refuses(codec: str, depth: int, driver: CudaDriver) -> str:
    """Encodes one picture from device memory; why that does not go, or nothing."""
    fmt = PictureFormat(width=_TRIAL[0], height=_TRIAL[1], depth=depth)
    layout = DeviceLayout(format=fmt, faces=0, crop_size=0, semi_planar=True)
    pointer = driver.malloc(layout.nbytes)
    try:
        return _trial(codec, layout, pointer, driver)
    finally:
        gc.collect()  # the codec goes before the memory that it knows
        driver.free(pointer)


def _trial(codec: str, layout: DeviceLayout, pointer: int, driver: CudaDriver) -> str:
    told = codec_format(layout, driver)
    cuda = CudaContext(driver.dlpack_device[1]) if told == CUDA_FRAME else None
    try:
        context = CodecContext.create(codec, "w")
        assert isinstance(context, VideoCodecContext)
        context.width, context.height, context.pix_fmt = *_TRIAL, told
        context.time_base = Fraction(1, 25)
        picture = lent_picture(pointer, layout, driver, None, cuda)
        picture.pts, picture.time_base = 0, Fraction(1, 25)
        packets = [*context.encode(picture), *context.encode(None)]
    except (av.FFmpegError, ValueError) as error:
        return f"the GPU has no encoder for {codec} that works ({error})"
    return "" if packets else f"{codec} gave no packet"


def video_route(
    index: VideoIndex,
    settings: EncoderSettings,
    gpu: LaneGpu | None,
    *,
    packets: OpenPackets | None = None,
    decoder_refuses: Callable[[VideoIndex, CudaDriver], str] = nvdec_refuses,
    encoder_refuses: Callable[[str, int, CudaDriver], str] = nvenc_refuses,
) -> VideoRoute:
    """The fastest route that works for a film and a codec.

    Args:
        gpu: the lane's; None: it has none.
        packets: another library that is to decode where it can, instead of FFmpeg with NVDEC.
        decoder_refuses, encoder_refuses: try it out once; the lane keeps the route.
    """
    if gpu is None:
        return VideoRoute(decode="cpu", encode="cpu", reasons=("the lane has no GPU",))
    fmt = picture_format(index)
    flat = "" if has_semi_planar(fmt) else "the film is not 4:2:0 of 8 or 10 bits with even sides"
    no_packets = packets_refuse(index, gpu, packets) if packets is not None else "not asked for"
    no_decoder = flat or (decoder_refuses(index, gpu.driver) if no_packets else "")
    if not settings.codec.endswith("_nvenc"):
        no_encoder = f"{settings.codec} encodes on the CPU"
    elif flat:
        no_encoder = flat
    elif settings.scale != 1.0 or settings.pix_fmt:
        no_encoder = "another size or pixel format is made on the CPU"
    else:
        no_encoder = encoder_refuses(settings.codec, fmt.depth, gpu.driver)
    reasons = (no_packets if packets is not None else "", no_decoder, no_encoder)
    return VideoRoute(
        decode="packets" if not no_packets else "upload" if no_decoder else "nvdec",
        encode="download" if no_encoder else "nvenc",
        reasons=tuple(why for why in reasons if why),
        packets=None if no_packets else packets,
    )


def gpu_decoder(
    route: VideoRoute, index: VideoIndex, gpu: LaneGpu, threads: int = 1
) -> RangeDecoder[DeviceFrame]:
    """What fills the slots of a lane on a GPU."""
    if route.packets is not None:
        return PacketRangeDecoder(index, gpu, route.packets)
    if route.decode == "nvdec":
        return NvdecDecoder(index, gpu)
    return UploadDecoder(index, gpu, threads)


def gpu_encoder(
    route: VideoRoute,
    index: VideoIndex,
    settings: EncoderSettings,
    path: str | Path,
    rate: Fraction | None = None,
    *,
    gpu: LaneGpu,
) -> SegmentEncoder[DeviceFrame]:
    """What encodes the slots of a lane on a GPU."""
    if route.encode == "nvenc":
        return DeviceEncoder(index, settings, path, rate, gpu=gpu)
    layout = route.layout(picture_format(index), 0, 0)
    return DownloadEncoder(index, settings, path, rate, gpu=gpu, layout=layout)
