"""Probe a film: one demux pass gives the exact index of its frames."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import Final, cast

import av
from av.container import InputContainer
from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from actors.film import frames_of, open_film, picture_stream
from actors.formats import working_format_of
from scheduler.errors import MediaTruncated, MediaUnreadable, MediaWithoutFrames
from scheduler.media import ColourTags, VideoIndex

_HEAD: Final = 24
"""Frames at the start that are decoded to see what the decoder really shows."""

_TABLED: Final = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "nut")
"""Containers that name whole frames; in others the end of a recording may be half a frame."""

_HIDDEN_FRAMES: Final = frozenset({"vp8"})
"""Codecs with packets of frames that are never shown (VP9 and AV1 pack them with a shown one)."""

_REORDERED: Final = frozenset({"h264", "hevc"})
"""Codecs whose frame order AVI, which has no PTS, does not tell even to libavformat."""

_BOTTOM_FIRST: Final = (3, 4)
"""AVFieldOrder: both fields bottom first, or coded top first and shown bottom first."""

_CHROMA_LOCATIONS: Final = ("left", "center", "topleft", "top", "bottomleft", "bottom")


@dataclass(frozen=True, slots=True)
class _Demuxed:
    """What the packets of the video stream say."""

    pts: list[int]
    """PTS of all packets that are to be shown; in packet order."""
    dts: list[int]
    """DTS of the same packets where every one has it, else empty."""
    key_pts: list[int]
    last_duration: int
    usable: bool
    """Every packet has a PTS of its own."""
    damaged: bool
    """A packet is marked as corrupt, or the file ended in an error."""


def probe(path: str | Path) -> VideoIndex:
    """Read a film's index: every shown frame's PTS, durations, key frames, colour and streams.

    One demux pass reads all timestamps. A packet marked as discarded (edit lists, pre-roll) is not
    a frame of the film. What only a decoder knows is settled by decoding as little as can decide:

    * always the first 24 frames: pixel format, colour, rotation and HDR data, and the leading
      pictures that no decoder can show because the recording starts inside an open GOP;
    * in containers without frame tables (MPEG-TS, MPEG-PS, ...) or where a packet is marked as
      corrupt, also the last GOP, whose end may be cut off;
    * the whole film, once, if its first frames differ from what the packets say (fields in packets
      of their own), if two packets share a PTS, or if its codec hides frames (VP8). The frames that
      come are then the index.

    A film without usable PTS (AVI with B-frames, raw streams) is ``counted``: PTS are made from the
    DTS or the frame rate, one for each decoded frame.

    Durations are the gaps to the next PTS; the last is its packet's own, else the gap before.

    Raises:
        MediaMissing, MediaUnreadable, MediaWithoutVideo, MediaUnsupported: see ``actors.film``.
        MediaTruncated: the file ends before the frames that its own tables name.
        MediaWithoutFrames: a video stream from which no frame can be decoded.
    """
    where = Path(path).absolute()
    with open_film(where) as container:
        stream = picture_stream(container)
        number, time_base = stream.index, stream.time_base or Fraction(1, 90000)
        location = _chroma_location(container, number)
        found = _demux(container, stream)
    head, aspect = _decode(where, number, _HEAD)
    if not head:
        raise MediaWithoutFrames(
            f"no frame could be decoded from video stream {number} of {where}",
            "a film with at least one frame",
            "play it to see whether it is whole",
        )
    shown = _shown(where, number, found, [f.pts for f in head]) if found.usable else None
    counted = shown is None
    if shown is None:
        frames = sum(1 for _ in _decoded_pts(where, number))
        pts = _made_up_pts(frames, found, head[0])
        keys = [pts[0]]
    else:
        pts = shown
        keys = sorted(set(found.key_pts))
    return _index(where, number, pts, keys, found, head, aspect, time_base, location, counted)


def _index(
    where: Path,
    number: int,
    pts: list[int],
    keys: list[int],
    found: _Demuxed,
    head: list[VideoFrame],
    aspect: Fraction,
    time_base: Fraction,
    location: int,
    counted: bool,
) -> VideoIndex:
    first = head[0]
    with open_film(where) as container:
        stream = picture_stream(container, number)
        context = stream.codec_context
        gaps = [after - before for before, after in pairwise(pts)]
        last = found.last_duration or (gaps[-1] if gaps else 0)
        rate = stream.average_rate or stream.base_rate
        if not last:
            last = max(1, round(1 / (rate or Fraction(25)) / time_base))
        place = {value: frame for frame, value in enumerate(pts)}
        side = _side_data(first)
        matrix = side.get("DISPLAYMATRIX", b"")
        return VideoIndex(
            path=str(where),
            container=container.format.name,
            stream=number,
            codec=context.codec.canonical_name,
            width=first.width,
            height=first.height,
            pix_fmt=first.format.name,
            time_base=time_base,
            pts=tuple(pts),
            durations=(*gaps, last),
            keyframes=tuple(place[key] for key in keys if key in place),
            average_rate=rate or 1 / (last * time_base),
            colour=_colour(first, location),
            sample_aspect_ratio=aspect,
            rotation=round(-first.rotation / 90) * 90 % 360,
            interlaced=any(f.interlaced_frame for f in head),
            top_field_first=context.field_order not in _BOTTOM_FIRST,
            display_matrix=struct.unpack("=9i", matrix) if len(matrix) == 36 else (),
            mastering_display=_mastering(side.get("MASTERING_DISPLAY_METADATA", b"")),
            content_light=_light(side.get("CONTENT_LIGHT_LEVEL", b"")),
            counted=counted,
        )


def _side_data(frame: VideoFrame) -> dict[str, bytes]:
    """A frame's side data by FFmpeg's name; none where PyAV cannot read it.

    PyAV 18 has no name for the EXIF data that FFmpeg 8 puts on frames of JPEG, and then gives none.
    """
    try:
        entries = cast(Iterable[SideData], frame.side_data)
        return {entry.type.name: bytes(entry) for entry in entries}
    except ValueError:
        return {}


def _demux(container: InputContainer, stream: VideoStream) -> _Demuxed:
    pts: list[int] = []
    dts: list[int] = []
    keys: list[int] = []
    ends: dict[int, int] = {}
    usable, damaged = True, False
    packets = samples = 0
    try:
        for packet in container.demux(stream):
            samples += packet.dts is not None
            if packet.size == 0:
                continue
            damaged |= packet.is_corrupt
            if packet.is_discard:
                continue
            packets += 1
            if packet.dts is not None:
                dts.append(packet.dts)
            if packet.pts is None:
                usable = False
                continue
            pts.append(packet.pts)
            ends[packet.pts] = packet.duration or 0
            if packet.is_keyframe:
                keys.append(packet.pts)
    except av.FFmpegError:
        # What was read until here is a film; whether its last frames are whole is seen below.
        damaged = True
    if packets == 0:
        raise MediaWithoutFrames(
            f"video stream {stream.index} of {container.name} holds no frame",
            "a film with at least one frame",
            "play it to see whether it is whole",
        )
    # Only this family's tables say how many samples there must be; others count or guess.
    if "mp4" in container.format.name and samples < stream.frames:
        raise MediaTruncated(
            f"{container.name} is cut off: {samples} of {stream.frames} frames are there",
            "the whole film",
            "copy it again; to use what is there, first remux it, "
            "as with `ffmpeg -i FILM -c copy WHOLE.mkv`",
        )
    codec = stream.codec_context.codec.canonical_name
    return _Demuxed(
        pts=pts,
        dts=dts if len(dts) == packets else [],
        key_pts=keys,
        last_duration=ends[max(ends)] if ends else 0,
        usable=usable and not (container.format.name == "avi" and codec in _REORDERED),
        damaged=damaged,
    )


def _shown(where: Path, number: int, found: _Demuxed, head: list[int | None]) -> list[int] | None:
    """PTS of the frames that a decoder shows, rising; None where PTS cannot be trusted."""
    first = head[0]
    if first is None:
        return None
    packets = sorted(p for p in found.pts if p >= first)
    with open_film(where) as container:
        stream = picture_stream(container, number)
        hidden = stream.codec_context.codec.canonical_name in _HIDDEN_FRAMES
        tabled = container.format.name in _TABLED
    keys = [key for key in found.key_pts if key >= first]
    unclear = hidden or len(set(packets)) != len(packets) or packets[: len(head)] != head
    suspect = found.damaged or not tabled
    if unclear or (suspect and len(keys) < 2):
        return _rising(_decoded_pts(where, number))
    if suspect:
        last = max(keys)
        tail = {p for p in _decoded_pts(where, number, last) if p is not None and p >= last}
        if last not in tail:  # the seek went past it
            return _rising(_decoded_pts(where, number))
        packets = [p for p in packets if p < last or p in tail]
    return packets


def _rising(decoded: Iterable[int | None]) -> list[int] | None:
    """The values, or None where one is missing or not above the one before."""
    rising: list[int] = []
    for value in decoded:
        if value is None or (rising and value <= rising[-1]):
            return None
        rising.append(value)
    return rising


def _decode(where: Path, number: int, count: int) -> tuple[list[VideoFrame], Fraction]:
    """The first frames that the decoder shows, and the sample aspect ratio.

    The container's ratio counts before the codec's; some codecs tell theirs in the pictures only.
    """
    with open_film(where) as container:
        stream = picture_stream(container, number)
        stream.codec_context.thread_count = 1
        try:
            frames = list(islice(frames_of(container, stream), count))
        except av.FFmpegError as error:
            raise MediaUnreadable(
                f"{where} cannot be decoded ({error.strerror or error})",
                "a film that plays",
                "play it to see whether it is whole",
            ) from error
        ratios = (stream.sample_aspect_ratio, stream.codec_context.sample_aspect_ratio)
        return frames, next((ratio for ratio in ratios if ratio and ratio > 0), Fraction(1))


def _decoded_pts(where: Path, number: int, start: int | None = None) -> Iterator[int | None]:
    """PTS of every frame decoded from ``start`` (a key frame; None: the beginning) to the end."""
    with open_film(where) as container:
        stream = picture_stream(container, number)
        stream.codec_context.thread_count = 1  # frame threads lose other frames around damage
        if start is not None:
            container.seek(start, stream=stream)
        try:
            for frame in frames_of(container, stream):
                yield frame.pts
        except av.FFmpegError:
            return  # the file ends here


def _made_up_pts(frames: int, found: _Demuxed, first: VideoFrame) -> list[int]:
    """A PTS for each decoded frame of a film that has none: its DTS in order, else the rate's."""
    dts = sorted(found.dts)
    if len(dts) == frames and len(set(dts)) == frames:
        return dts
    step = found.last_duration or first.duration or 1
    start = dts[0] if dts else 0
    return [start + step * frame for frame in range(frames)]


def _colour(frame: VideoFrame, location: int) -> ColourTags:
    working = working_format_of(frame.format.name)
    # FFmpeg reads grey without a range tag as full range, and old JPEG formats always.
    full = frame.color_range == 2 or (
        frame.color_range == 0 and (working.startswith("gray") or "yuvj" in frame.format.name)
    )
    return ColourTags(
        primaries=int(frame.color_primaries),
        transfer=int(frame.color_trc),
        matrix=int(frame.colorspace),
        full_range=full or working.startswith("gbrp"),
        chroma_location=location,
    )


def _chroma_location(container: InputContainer, number: int) -> int:
    """AVChromaLocation of a stream. PyAV has no attribute for it; libavformat's summary names it.

    The summary does so only at libav's verbose level, which is set for this call alone.
    """
    shown = av.logging.get_level()
    av.logging.set_libav_level(av.logging.VERBOSE)
    av.logging.set_level(av.logging.VERBOSE)
    try:
        summary: str = container.dumps_format()  # type: ignore[attr-defined]
    finally:
        av.logging.set_level(shown)
        av.logging.set_libav_level(av.logging.INFO)  # libav's own default
    for line in summary.splitlines():
        if re.match(rf"\s*Stream #0:{number}\b", line):
            words = line.replace("(", ",").replace(")", ",").replace(" ", "").split(",")
            for code, name in enumerate(_CHROMA_LOCATIONS, 1):
                if name in words:
                    return code
    return 0


def _mastering(data: bytes) -> str:
    """HDR10 mastering display from FFmpeg's AVMasteringDisplayMetadata (11 rationals, 2 flags)."""
    if len(data) < 88:
        return ""
    numbers = struct.unpack("=22i", data[:88])
    if not (numbers[20] and numbers[21]):
        return ""
    values = [
        Fraction(a, b) if b else Fraction(0)
        for a, b in zip(numbers[0:20:2], numbers[1:20:2], strict=True)
    ]
    (rx, ry, gx, gy, bx, by, wx, wy), (low, high) = (
        [round(v * 50000) for v in values[:8]],
        [round(v * 10000) for v in values[8:]],
    )
    return f"G({gx},{gy})B({bx},{by})R({rx},{ry})WP({wx},{wy})L({high},{low})"


def _light(data: bytes) -> str:
    if len(data) < 8:
        return ""
    most, average = struct.unpack("=2I", data[:8])
    return f"{most},{average}"
