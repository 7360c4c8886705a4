"""Encode frames that lie in a GPU's memory: as they are, by a codec that takes them there, or by
any codec after a download. What a segment is, is `SegmentEncoder`'s matter in both."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.frame import CudaContext, VideoFrame

from actors import dlpack
from actors.codecs import no_device
from actors.device_frames import DeviceFrame, DeviceLayout
from actors.encoder import SegmentEncoder
from actors.formats import picture_format
from actors.gpu_decoder import CUDA_FRAME
from actors.lane_gpu import FFMPEG, LaneGpu
from actors.transport.cuda_driver import CudaDriver
from scheduler.jobs import EncoderSettings
from scheduler.media import VideoIndex


def lent_picture(
    pointer: int,
    layout: DeviceLayout,
    driver: CudaDriver,
    keep: object,
    cuda: CudaContext | None = None,
) -> VideoFrame:
    """NV12 or P010 in device memory as FFmpeg's frame, without a copy.

    Args:
        pointer: of the first byte of luma; chroma follows as in a slot of ``layout``.
        keep: is let go of when FFmpeg has let go of the frame.
        cuda: FFmpeg's context; codecs work in its stream.
    """
    itemsize = layout.format.dtype.itemsize
    planes = []
    for number in range(layout.planes):
        rows, row = layout.rows(number)
        planes.append(
            dlpack.capsule(
                pointer + layout.plane_offset(number),
                (rows, row // itemsize),
                (layout.pitch // itemsize, 1),
                itemsize,
                driver.dlpack_device,
                keep,
            )
        )
    return VideoFrame.from_dlpack(tuple(planes), layout.pix_fmt, cuda_context=cuda)


def codec_format(layout: DeviceLayout, driver: CudaDriver) -> str:
    """What a codec is told that gets such frames."""
    return CUDA_FRAME if driver.dlpack_device[0] == dlpack.CUDA else layout.pix_fmt


class DeviceEncoder(SegmentEncoder[DeviceFrame]):
    """Encodes frames where they lie; nothing goes to the host but packets.

    Each picture is copied once, within the device: NVENC looks at it for longer than a slot is
    held.

    Args:
        index: of a film of 4:2:0 with 8 or 10 bits and even sides.
        settings: a codec that takes CUDA frames, at the film's own size and format.
        gpu: the lane's.

    Raises (on the first frame):
        EncoderUnavailable: the GPU has no encoder for it (A100, H100 and H200 have none at all).
    """

    def __init__(
        self,
        index: VideoIndex,
        settings: EncoderSettings,
        path: str | Path,
        rate: Fraction | None = None,
        *,
        gpu: LaneGpu,
    ) -> None:
        fmt = picture_format(index)
        layout = DeviceLayout(format=fmt, faces=0, crop_size=0, semi_planar=True)
        _, number = gpu.driver.dlpack_device
        self._gpu = gpu
        self._layout = layout
        self._surfaces = gpu.surfaces(layout.crops_offset)
        # PyAV can tell NVENC a stream on the first device only.
        self._on = gpu.encode if number == 0 else FFMPEG
        self._cuda = CudaContext(number, cuda_stream=self._on or None)
        super().__init__(
            *(index, settings, path, rate),
            source_fmt=layout.pix_fmt,
            device_fmt=codec_format(layout, gpu.driver),
        )

    def _picture(self, frame: DeviceFrame) -> VideoFrame:
        gpu, layout, surface = self._gpu, self._layout, self._surfaces.take()
        ((_, row, rows),) = layout.spans
        frame.await_filled(self._on)
        gpu.copy(
            *(surface.pointer, layout.pitch, frame.picture.planes[0].pointer, layout.pitch),
            *(row, rows, "across", self._on),
        )
        frame.mark_free(self._on)
        cuda = self._cuda if self._device_fmt == CUDA_FRAME else None
        try:
            return lent_picture(surface.pointer, layout, gpu.driver, surface, cuda)
        except av.FFmpegError as error:
            raise no_device(self._settings.codec, str(error)) from error


class DownloadEncoder(SegmentEncoder[DeviceFrame]):
    """Encodes frames after a copy to the host: where the GPU has no encoder, and for other codecs.

    Args: as of `DeviceEncoder`.
        layout: of the frames that will come.
    """

    def __init__(
        self,
        index: VideoIndex,
        settings: EncoderSettings,
        path: str | Path,
        rate: Fraction | None = None,
        *,
        gpu: LaneGpu,
        layout: DeviceLayout,
    ) -> None:
        self._gpu = gpu
        super().__init__(index, settings, path, rate, source_fmt=layout.pix_fmt)

    def _picture(self, frame: DeviceFrame) -> VideoFrame:
        picture = VideoFrame(self._format.width, self._format.height, self._source_fmt)
        for target, source in zip(picture.planes, self._gpu.download(frame), strict=True):
            rows, row = source.shape
            lines = np.frombuffer(cast(bytes, target), np.uint8).reshape(-1, target.line_size)
            np.copyto(lines[:rows, :row], source)
        return picture
