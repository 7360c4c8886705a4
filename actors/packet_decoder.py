"""Decode into slots on a GPU by a library that takes packets and gives pictures in device memory.

The film is opened, sought in and taken apart by FFmpeg, as everywhere; what decodes is another.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, cast

import av
import numpy as np
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from actors.decoder import Decoder, RangeDecoder
from actors.device_frames import DeviceFrame, DeviceLayout, has_semi_planar
from actors.film import picture_stream
from actors.formats import picture_format
from actors.lane_gpu import LaneGpu
from actors.one_slot import OneSlot
from kernels.picture import Plane
from scheduler.errors import GpuFailed, SwapfarmError
from scheduler.media import VideoIndex

FILTERS: Final = {"h264": "h264_mp4toannexb", "hevc": "hevc_mp4toannexb"}
"""Codecs that are taken, and FFmpeg's filter that makes their packets streams of their own."""
_START: Final = b"\0\0\1"
_WHOLE_AVC: Final = 5
"""Kind of a unit after which no picture refers to one before it: an IDR picture."""
_WHOLE_HEVC: Final = range(16, 22)
"""The same: any picture where decoding may begin."""
_PICTURES: Final = {"h264": range(1, 6), "hevc": range(32)}
"""Kinds of units that hold a part of a picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """A decoded picture in device memory, NV12 or P010."""

    pts: int
    """As the packet had it."""
    width: int
    height: int
    luma: int
    """Pointers."""
    chroma: int
    pitch: int
    """Bytes from row to row in both."""
    keep: object
    """Is held until the picture is copied."""


class PacketDecoder(Protocol):
    """What decodes, for one run through a film."""

    @property
    def stream(self) -> int:
        """In which its pictures are there once they are given, and are overwritten later."""
        ...

    def decode(self, data: bytes, pts: int) -> Sequence[Surface]:
        """The pictures that a packet brings to light, in the order in which they are shown.

        Raises:
            GpuFailed: the decoder does not do what it should.
        """
        ...

    def flush(self) -> Sequence[Surface]:
        """The pictures that are left, after the last packet."""
        ...


OpenPackets = Callable[[VideoIndex, LaneGpu], PacketDecoder]
"""Opens a decoder for a film's codec.

Raises:
    GpuUnavailable: its library is not there, or finds no GPU.
"""


class PacketRangeDecoder(RangeDecoder[DeviceFrame]):
    """Any range of a film by a ``PacketDecoder``. Each picture is copied once, within the device.

    Args:
        index: of a film that ``packets_refuse`` has nothing against; its slots are NV12 or P010.
        gpu: the lane's.
        open_packets: makes a decoder, for each range a new one.
    """

    def __init__(self, index: VideoIndex, gpu: LaneGpu, open_packets: OpenPackets) -> None:
        super().__init__(index)
        self._gpu = gpu
        self._open_packets = open_packets
        self._stream = 0

    def _from(self, entry: int | None, start: int) -> Generator[tuple[int, VideoFrame], None, None]:
        wanted, codec = self._index.pts[start], self._index.codec
        begun = entry is None
        with self._open() as container:
            stream = picture_stream(container, self._index.stream)
            if entry is not None:
                container.seek(entry, stream=stream)
            decoder = self._open_packets(self._index, self._gpu)
            self._stream = decoder.stream
            hidden: set[int] = set()
            try:
                for packet in _packets(container, stream):
                    if packet is None:
                        surfaces = decoder.flush()
                    else:
                        data, pts = bytes(packet), packet.pts
                        if pts is None:
                            continue
                        if not begun:
                            # Pictures that refer to what came before would be wrong, and so would
                            # those that are shown before the first whole one.
                            begun = begins_whole(data, codec)
                            if not begun:
                                continue
                            wanted = max(wanted, pts)
                        if packet.is_discard:
                            hidden.add(pts)
                        surfaces = decoder.decode(data, pts)
                    for surface in surfaces:
                        if surface.pts >= wanted and surface.pts not in hidden:
                            # What is done with a picture is to look at its size, and `_put`.
                            yield surface.pts, cast(VideoFrame, surface)
            finally:
                # Its memory goes with it: the copies from there must be done.
                self._gpu.driver.synchronize(self._stream)

    def first_planes(self) -> list[Plane] | None:
        """The film's first picture in host memory, for a look at it; None: there was none."""
        for entry in self._entries(0):
            decoded = self._from(entry, 0)
            pts, frame = next(decoded, (None, None))
            try:
                if pts == self._index.pts[0]:
                    return self._downloaded(cast(Surface, frame))
            finally:
                decoded.close()
        return None

    def _downloaded(self, surface: Surface) -> list[Plane]:
        layout = DeviceLayout(format=self._format, faces=0, crop_size=0, semi_planar=True)
        size = (self._format.width, self._format.height)
        if (surface.width, surface.height) != size:
            raise GpuFailed(
                f"it gives pictures of {surface.width} x {surface.height}",
                f"{size[0]} x {size[1]}",
                "leave [lane] decoder out",
            )
        planes: list[Plane] = []
        shift = 6 if self._format.depth == 10 else 0
        for number, source in enumerate((surface.luma, surface.chroma)):
            rows, row = layout.rows(number)
            memory = self._gpu.driver.host_memory(rows * row)
            place = np.frombuffer(memory, np.uint8).reshape(rows, row)
            driver = self._gpu.driver  # a look is none of the transfers that are counted
            driver.copy(
                *(place.ctypes.data, row, source, surface.pitch),
                *(row, rows, "down", self._stream),
            )
            driver.synchronize(self._stream)
            samples = place.copy().view(self._format.dtype) >> shift
            parts = [samples[:, 0::2], samples[:, 1::2]] if number else [samples]
            planes += [cast(Plane, part) for part in parts]
        return planes

    def _put(self, frame: VideoFrame, slot: DeviceFrame) -> None:
        surface, layout, stream = cast(Surface, frame), slot.layout, self._stream
        slot.await_free(stream)
        for number, source in enumerate((surface.luma, surface.chroma)):
            rows, row = layout.rows(number)
            target = slot.picture.planes[number].pointer
            self._gpu.copy(
                *(target, layout.pitch, source, surface.pitch),
                *(row, rows, "across", stream),
            )
        slot.mark_filled(stream)


def packets_refuse(index: VideoIndex, gpu: LaneGpu, open_packets: OpenPackets) -> str:
    """Decodes a film's first picture and looks whether it is the CPU's, bit for bit, as H.264 and
    HEVC promise; why it cannot be used, or nothing."""
    if index.codec not in FILTERS:
        return f"it is asked for {' and '.join(FILTERS)} only, not for {index.codec}"
    if index.interlaced:
        return "it would make whole pictures of an interlaced film's fields"
    if index.counted:
        return "the film has no PTS that can be trusted"
    fmt = picture_format(index)
    if not has_semi_planar(fmt):
        return "the film is not 4:2:0 of 8 or 10 bits with even sides"
    try:
        found = PacketRangeDecoder(index, gpu, open_packets).first_planes()
        (wanted,) = Decoder(index).decode(0, 1, OneSlot(fmt))
    except SwapfarmError as error:
        return error.found
    if found is None:
        return "it gave no picture"
    pairs = zip(found, wanted.picture.planes, strict=True)
    if not all(np.array_equal(ours, theirs) for ours, theirs in pairs):
        return "its first picture is not the CPU's"
    return ""


def begins_whole(data: bytes, codec: str) -> bool:
    """Whether no picture from a packet on refers to one before it.

    Args:
        data: with a start code before each unit (H.264, HEVC: annex B).
    """
    at = data.find(_START)
    while 0 <= at < len(data) - len(_START):
        head = data[at + len(_START)]
        kind = head & 31 if codec == "h264" else head >> 1 & 63
        if kind in _PICTURES[codec]:
            return kind == _WHOLE_AVC if codec == "h264" else kind in _WHOLE_HEVC
        at = data.find(_START, at + len(_START))
    return False


def _packets(
    container: InputContainer, stream: VideoStream
) -> Iterator[Packet[VideoStream] | None]:
    """All packets from here on, as streams of their own; None at the end."""
    annex_b = BitStreamFilterContext(FILTERS[stream.codec_context.name], stream)
    for packet in container.demux(stream):
        try:
            yield from annex_b.filter(packet if packet.size else None)
        except av.InvalidDataError:
            continue  # the decoder on the CPU passes over it, too
    yield None
