"""Decode into slots on a GPU: by NVDEC, or on the CPU with an upload. Which frames come, and their
PTS, is `RangeDecoder`'s matter in all of them."""

from __future__ import annotations

from typing import Final, cast

import numpy as np
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.video.frame import VideoFrame

from actors import dlpack
from actors.decoder import RangeDecoder
from actors.device_frames import DeviceFrame
from actors.film import open_film
from actors.formats import plane_views
from actors.lane_gpu import FFMPEG, LaneGpu
from kernels.picture import Plane
from scheduler.errors import GpuFailed
from scheduler.media import VideoIndex

CUDA_FRAME: Final = "cuda"
"""FFmpeg's name of frames in a GPU's memory."""


def nvdec(number: int) -> HWAccel:
    """PyAV's word for decoding on a GPU into its memory, in the device's primary context."""
    # Where the GPU cannot decode a film, frames come from the CPU; who takes them looks.
    return HWAccel("cuda", device=str(number), allow_software_fallback=True, is_hw_owned=True)


class NvdecDecoder(RangeDecoder[DeviceFrame]):
    """Decodes on the GPU. Each picture is copied once, within the device.

    FFmpeg's frames are its own until they are let go of, and NVDEC has few: they are copied into
    the slot in the stream in which they were decoded, and let go of at once.

    Args:
        index: of a film that NVDEC decodes (``gpu_video``); its slots are NV12 or P010.
        gpu: the lane's.

    Raises (on the first frame):
        GpuUnavailable: no driver, no GPU.
        GpuFailed: the GPU does not decode this film.
    """

    def __init__(self, index: VideoIndex, gpu: LaneGpu) -> None:
        super().__init__(index)
        self._gpu = gpu

    def _open(self) -> InputContainer:
        return open_film(self._index.path, nvdec(self._gpu.driver.dlpack_device[1]))

    def _surface(self, frame: VideoFrame, wanted: str) -> VideoFrame:
        """A decoded frame in device memory."""
        found = frame.sw_format.name if frame.sw_format is not None else frame.format.name
        if frame.format.name != CUDA_FRAME or found != wanted:
            where = "on the GPU" if frame.format.name == CUDA_FRAME else "on the CPU"
            raise GpuFailed(
                f"{self._index.path} was decoded {where}, as {found}",
                f"{wanted} on the GPU",
                "the chunk is tried again; decode it on the CPU if that does not help",
            )
        return frame

    def _put(self, frame: VideoFrame, slot: DeviceFrame) -> None:
        layout, gpu = slot.layout, self._gpu
        surface = self._surface(frame, layout.pix_fmt)
        slot.await_free(FFMPEG)
        for number, plane in enumerate(surface.planes):
            rows, row = layout.rows(number)
            target = slot.picture.planes[number].pointer
            gpu.copy(
                *(target, layout.pitch, dlpack.address(plane), plane.line_size),
                *(row, rows, "across", FFMPEG),
            )
        slot.mark_filled(FFMPEG)


class UploadDecoder(RangeDecoder[DeviceFrame]):
    """Decodes on the CPU; each picture is copied once more, to the device.

    Args:
        index: of any film.
        gpu: the lane's.
        threads: as of `Decoder`.
    """

    def __init__(self, index: VideoIndex, gpu: LaneGpu, threads: int = 1) -> None:
        super().__init__(index, threads)
        self._gpu = gpu

    def _put(self, frame: VideoFrame, slot: DeviceFrame) -> None:
        layout = slot.layout
        laid_out = self._laid_out(frame, layout.pix_fmt)
        if not layout.semi_planar:
            self._gpu.upload(plane_views(laid_out, layout.format).planes, slot)
            return
        planes = []
        for number, plane in enumerate(laid_out.planes):
            rows, row = layout.rows(number)
            samples = np.frombuffer(cast(bytes, plane), np.uint8).reshape(rows, plane.line_size)
            planes.append(cast(Plane, samples[:, :row]))
        self._gpu.upload(planes, slot)
