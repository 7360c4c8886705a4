"""Small films of any kind, made with PyAV, and a ring in plain memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame

from actors.encoder import EncodedSegment
from actors.film import frames_of, open_film, picture_stream
from actors.formats import picture_format, plane_views, shares_planes, working_pix_fmt
from actors.frames import Frame, FrameHandle, SlotLayout
from actors.hashes import frame_hash
from actors.threads import usual_scheduling
from kernels.picture import PictureFormat
from scheduler.jobs import Segment
from scheduler.media import VideoIndex


class MemoryRing:
    """Two slots that are used in turn; a frame is valid until the next but one."""

    def __init__(self, fmt: PictureFormat) -> None:
        self._layout = SlotLayout(format=fmt, faces=0, crop_size=1)
        self._memory = [bytearray(self._layout.nbytes) for _ in range(2)]
        self._used = 0

    def acquire(self, frame_index: int, pts: int) -> Frame:
        slot = self._used % 2
        self._used += 1
        handle = FrameHandle(slot=slot, generation=self._used, frame_index=frame_index, pts=pts)
        return Frame(handle, self._layout, memoryview(self._memory[slot]))


def ring_for(index: VideoIndex) -> MemoryRing:
    return MemoryRing(picture_format(index))


def paint(frame: VideoFrame, number: int) -> None:
    """Something that moves, differs in each frame and plane, and is not flat."""
    for place, plane in enumerate(frame.planes):
        component = next(c for c in frame.format.components if c.plane == place)
        wide = component.bits > 8 or frame.format.name.endswith(("le", "be"))
        kind = np.dtype(np.uint16 if wide else np.uint8)
        top = (1 << min(component.bits, 16)) - 1
        rows = np.frombuffer(plane, kind).reshape(plane.height, -1)
        y, x = np.mgrid[: rows.shape[0], : rows.shape[1]]
        wave = (np.sin((x + 3 * number) / 7 + place) + np.cos((y - number) / 5)) / 4 + 0.5
        block = ((x // 8 + y // 8 + number // 4) * 37 % 16) / 64
        rows[:] = ((0.1 + 0.6 * wave + block) * top).astype(kind)


def make_film(
    path: Path,
    codec: str = "libx264",
    *,
    frames: int = 30,
    pix_fmt: str = "yuv420p",
    size: tuple[int, int] = (64, 48),
    time_base: Fraction = Fraction(1, 25),
    pts: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    context: dict[str, object] | None = None,
    rotation: int = 0,
    container_options: dict[str, str] | None = None,
    rate: Fraction = Fraction(25),
    extras: Callable[[OutputContainer], Callable[[], None]] | None = None,
) -> Path:
    """Write a film; ``extras`` adds streams and gives back what fills them."""
    with av.open(str(path), "w", container_options=container_options or {}) as film:
        stream = film.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = time_base
        stream.codec_context.thread_count = 1
        for key, value in (context or {}).items():
            setattr(stream.codec_context, key, value)
        if rotation:
            stream.set_display_rotation(rotation)
        fill = extras(film) if extras else None
        with usual_scheduling():
            stream.codec_context.open(strict=False)
        for number in range(frames):
            frame = VideoFrame(*size, pix_fmt)
            paint(frame, number)
            frame.pts = pts[number] if pts else number
            frame.time_base = time_base
            film.mux(stream.encode(frame))
        film.mux(stream.encode(None))
        if fill:
            fill()
    return path


def segment_of(chunk: int, made: EncodedSegment) -> Segment:
    """What a lane would report of an encoder's file in which nothing was swapped."""
    return Segment(
        chunk=chunk,
        path=made.path,
        frames=made.frames,
        first_pts=made.first_pts,
        sha256=made.sha256,
        extradata_sha256=made.extradata_sha256,
        swapped_frames=0,
    )


def text_packets(stream: Stream, lines: Sequence[tuple[int, int, bytes]]) -> list[Packet]:
    """Subtitle packets (start ms, length ms, text)."""
    out = []
    for start, length, text in lines:
        packet = Packet(text)
        packet.pts = packet.dts = start
        packet.duration = length
        packet.time_base = Fraction(1, 1000)
        packet.stream = stream
        out.append(packet)
    return out


def shown(path: Path | str, index: VideoIndex) -> list[tuple[int | None, str]]:
    """PTS and hash of every frame, decoded from start to end without the decoder under test."""
    fmt = picture_format(index)
    working = working_pix_fmt(index)
    out = []
    with open_film(path) as film:
        stream = picture_stream(film, index.stream)
        stream.codec_context.thread_count = 1
        for frame in frames_of(film, stream):
            if not shares_planes(frame.format.name, working):
                frame = frame.reformat(format=working)
            out.append((frame.pts, frame_hash(plane_views(frame, fmt))))
    return out
