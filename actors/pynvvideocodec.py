"""NVDEC by PyNvVideoCodec 2, NVIDIA's own library. It has never run on a GPU here.

Unlike FFmpeg's decoder it works in the stream that it is told. Its signatures are pinned
(tests/data/pinned_api.json); what its documents do not promise is looked at by
``packet_decoder.packets_refuse``.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, Final

from actors.lane_gpu import LaneGpu
from actors.packet_decoder import Surface
from scheduler.errors import GpuFailed, GpuUnavailable
from scheduler.media import VideoIndex

CODECS: Final = {"h264": "H264", "hevc": "HEVC"}
_PLANES: Final = 2
"""NV12, P016."""


def open_pynvvideocodec(index: VideoIndex, gpu: LaneGpu) -> PyNvPackets:
    """See ``packet_decoder.OpenPackets``."""
    try:
        import PyNvVideoCodec
    except (ImportError, OSError, RuntimeError) as error:
        # Of a driver without NVENC's library it says a page.
        said = str(error).strip().partition("\n")[0]
        raise GpuUnavailable(
            f"PyNvVideoCodec cannot be imported: {said}",
            "the package pynvvideocodec 2, and a driver with its video libraries",
            "pip install 'swapfarm[cuda13]'; in a container NVIDIA_DRIVER_CAPABILITIES must have "
            "video; or leave [lane] decoder out",
        ) from error
    return PyNvPackets(index, gpu, PyNvVideoCodec)


class PyNvPackets:
    """A ``PacketDecoder``.

    Args:
        library: the package.

    Raises:
        GpuFailed: the GPU does not decode this codec, or no further decoder can be opened.
    """

    def __init__(self, index: VideoIndex, gpu: LaneGpu, library: Any) -> None:
        self._library = library
        self.stream = gpu.decode
        self._decoder = self._asked(
            library.CreateDecoder,
            gpuid=gpu.driver.dlpack_device[1],
            codec=getattr(library.cudaVideoCodec, CODECS[index.codec]),
            cudacontext=gpu.driver.context,
            cudastream=self.stream,
            usedevicememory=True,
        )

    def decode(self, data: bytes, pts: int) -> Sequence[Surface]:
        # It has read the bytes when the call returns.
        return self._given(data, pts, 0)

    def flush(self) -> Sequence[Surface]:
        return self._given(b"", 0, int(self._library.VideoPacketFlag.ENDOFSTREAM))

    def _given(self, data: bytes, pts: int, flag: int) -> list[Surface]:
        packet = self._library.PacketData()
        packet.bsl = len(data)
        packet.bsl_data = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0
        packet.pts = pts
        packet.decode_flag = flag
        frames = self._asked(self._decoder.Decode, packet)
        if frames:
            self._asked(self._decoder.WaitOnCUStream, self.stream)
        return [self._surface(frame) for frame in frames]

    def _surface(self, frame: Any) -> Surface:
        views = frame.cuda()
        if len(views) != _PLANES:
            raise GpuFailed(
                f"PyNvVideoCodec gave a picture of {len(views)} planes ({frame.format})",
                "NV12 or P016",
                "leave [lane] decoder out",
            )
        luma, chroma = (view.__cuda_array_interface__ for view in views)
        height, width = luma["shape"][:2]
        return Surface(
            pts=frame.timestamp,
            width=width,
            height=height,
            luma=luma["data"][0],
            chroma=chroma["data"][0],
            pitch=(luma["strides"] or (width * _itemsize(luma),))[0],
            keep=frame,
        )

    def _asked(self, call: Any, *args: Any, **named: Any) -> Any:
        try:
            return call(*args, **named)
        except (self._library.PyNvVCException, RuntimeError) as error:
            raise GpuFailed(
                f"PyNvVideoCodec: {str(error).strip().partition(chr(10))[0]}",
                "a picture from NVDEC",
                "the chunk is tried again; leave [lane] decoder out if that does not help",
            ) from error


def _itemsize(interface: dict[str, Any]) -> int:
    return int(interface["typestr"][-1])
