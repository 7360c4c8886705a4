"""Encode frames from a ring into one segment file."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import av
import numpy as np
from av.codec import Codec
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from actors.formats import picture_format, pix_fmt_of, plane_views
from actors.frames import Frame
from actors.segments import read_segment, sync_file, sync_folder, writing
from scheduler.errors import FramesLost, SettingInvalid
from scheduler.jobs import EncoderSettings
from scheduler.media import VideoIndex

CODECS: Final = ("libx264", "libx265", "libsvtav1", "ffv1")
"""All of them go into MP4 segments, which keep every PTS exactly (Matroska would round)."""

_DELAY: Final = 4
"""Frames by which DTS run behind; more than any of these codecs reorders."""

_REPACKED: Final = {("ffv1", "gbrp"): "bgr0"}
"""Lossless stand-ins for formats that a codec stores under another layout only."""

_WHOLE_CHROMA: Final = frozenset({"libx264", "libx265"})
"""Codecs that crop by whole chroma samples, so that odd sizes need 4:4:4."""

_QUALITIES: Final = {"libx264": 51, "libx265": 51, "libsvtav1": 63}
"""The largest CRF of each codec."""

_SVT_PRESETS: Final = {
    "ultrafast": "12",
    "superfast": "11",
    "veryfast": "10",
    "faster": "9",
    "fast": "8",
    "medium": "7",
    "slow": "5",
    "slower": "4",
    "veryslow": "3",
    "placebo": "1",
}
"""x264's names on SVT-AV1's scale, so that one default preset serves all codecs."""

_CHROMA_LOCATIONS: Final = ("left", "center", "topleft", "top", "bottomleft", "bottom")


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedSegment:
    """What a finished segment file holds."""

    path: str
    frames: int
    first_pts: int
    """In the film's time base."""
    sha256: str
    """Of the whole file."""
    extradata_sha256: str
    """Of the codec header as the container gives it back."""


def encoder_pix_fmt(index: VideoIndex, settings: EncoderSettings) -> str:
    """FFmpeg's name of the pixel format that the codec is given.

    The film's own working format unless the settings name another, which swscale then converts to.

    Raises:
        SettingInvalid: unknown codec, a format or picture size that it does not take, or a quality
            off its scale.
    """
    if settings.codec not in CODECS:
        raise SettingInvalid(
            f"encoder {settings.codec!r}", f"one of {', '.join(CODECS)}", "choose one of these"
        )
    try:
        offered = [f.name for f in Codec(settings.codec, "w").video_formats or ()]
    except ValueError as error:
        raise SettingInvalid(
            f"this FFmpeg has no encoder {settings.codec}",
            f"one of {', '.join(CODECS)}",
            "choose another one, or install the av wheel from PyPI",
        ) from error
    own = settings.pix_fmt or pix_fmt_of(picture_format(index))
    chosen = _REPACKED.get((settings.codec, own), own)
    if chosen not in offered:
        raise SettingInvalid(
            f"{settings.codec} does not take pictures of the format {own}",
            f"one of {', '.join(offered)}",
            "choose --encoder ffv1 or libx265, or name one of these formats with --pix-fmt",
        )
    chroma = VideoFormat(chosen, 64, 64)
    whole = (
        index.width % (64 // chroma.chroma_width()) == 0
        and index.height % (64 // chroma.chroma_height()) == 0
    )
    if settings.codec in _WHOLE_CHROMA and not whole:
        raise SettingInvalid(
            f"{settings.codec} cannot store {index.width}x{index.height} pictures as {chosen}",
            "even width and height, or a format with whole chroma",
            "choose --encoder libsvtav1 or ffv1, or --pix-fmt yuv444p, which keep the size",
        )
    most = _QUALITIES.get(settings.codec, settings.quality)
    if not 0 <= settings.quality <= most:
        raise SettingInvalid(
            f"quality {settings.quality} for {settings.codec}",
            f"a CRF from 0 to {most}, lower is better",
            "leave the quality at its default",
        )
    return chosen


class Encoder:
    """Encodes consecutive frames into one segment that can be joined with its neighbours.

    Segments of a job share their codec header (x264's ``stitchable``, fixed settings) and start
    with a key frame that nothing before is needed for (closed GOPs). PTS in the file start at 0 and
    are exact: the track's unit is 1 / (denominator of the film's time base). The same frames give
    the same bytes. Colour tags, range, chroma location, sample aspect ratio, bit depth,
    interlacing (x264) and HDR10 static metadata (x264, x265) are those of the film; rotation is
    added at the join.

    The file appears at ``path`` by rename when ``close`` succeeds; ``abort`` leaves nothing.

    Args:
        index: of the film.
        settings: codec, preset, quality, pixel format, threads.
        path: where the segment goes.

    Raises:
        SettingInvalid: see ``encoder_pix_fmt``; also a preset or quality the codec refuses.
        DiskFull, StorageUnwritable: the file cannot be written.
    """

    def __init__(self, index: VideoIndex, settings: EncoderSettings, path: str | Path) -> None:
        self._index = index
        self._settings = settings
        self._format = picture_format(index)
        self._source_fmt = pix_fmt_of(self._format)
        self._pix_fmt = encoder_pix_fmt(index, settings)
        self._unit = Fraction(1, index.time_base.denominator)
        self._path = Path(path)
        self._temp = self._path.with_name(f".{self._path.name}.{os.getpid()}.part")
        self._reformatter = VideoReformatter()
        self._first: int | None = None
        self._next = 0
        self._packets = 0
        with writing(self._temp):
            self._container: OutputContainer | None = av.open(
                str(self._temp),
                "w",
                format="mp4",
                container_options={"video_track_timescale": str(self._unit.denominator)},
            )
            self._stream = self._add_stream(self._container)
            self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.abort()

    def encode(self, frame: Frame) -> None:
        """Take one frame; its slot may be given back when this returns.

        The planes are copied once, because encoders look ahead for longer than a slot is held.
        Frames must come in order without gaps.
        """
        number = frame.handle.frame_index
        if self._first is None:
            self._first = self._next = number
        if number != self._next or frame.handle.pts != self._index.pts[number]:
            raise FramesLost(
                f"frame {number} (PTS {frame.handle.pts}) came to the encoder",
                f"frame {self._next} (PTS {self._index.pts[self._next]})",
                "run again; if it stays, report it with the log",
            )
        self._next += 1
        picture = VideoFrame(self._format.width, self._format.height, self._source_fmt)
        copied = plane_views(picture, self._format)
        for target, plane in zip(copied.planes, frame.picture.planes, strict=True):
            np.copyto(target, plane)
        picture = self._converted(picture)
        ticks = self._index.time_base.numerator
        picture.pts = (self._index.pts[number] - self._index.pts[self._first]) * ticks
        picture.duration = self._index.durations[number] * ticks
        picture.time_base = self._unit
        self._write(picture)

    def close(self) -> EncodedSegment:
        """Flush, check the file by reading it back, sync and rename it.

        Raises:
            FramesLost: no frame was given, or the file does not hold all of them.
            EncoderFailed, DiskFull, StorageUnwritable: writing failed.
        """
        if self._first is None or self._container is None:
            self.abort()
            raise FramesLost("a segment without a frame", "at least one", "run again")
        self._write(None)
        with writing(self._temp):
            self._container.close()
            self._container = None
        first, index, ticks = self._first, self._index, self._index.time_base.numerator
        wanted = [(pts - index.pts[first]) * ticks for pts in index.pts[first : self._next]]
        found = read_segment(self._temp)
        if found.time_base != self._unit or sorted(found.pts) != wanted:
            self.abort()
            raise FramesLost(
                f"{len(found.pts)} frames in the segment {self._path.name}",
                f"{len(wanted)} frames with the film's PTS",
                "run again; if it stays, choose another encoder and report it",
            )
        with writing(self._temp):
            digest = sync_file(self._temp)
            os.replace(self._temp, self._path)
            sync_folder(self._path.parent)
        return EncodedSegment(
            path=str(self._path),
            frames=len(wanted),
            first_pts=index.pts[first],
            sha256=digest,
            extradata_sha256=found.extradata_sha256,
        )

    def abort(self) -> None:
        """Drop the unfinished file. Does nothing after ``close``."""
        container, self._container = self._container, None
        # The file is thrown away: that it could not be finished does not matter.
        with suppress(av.FFmpegError, OSError):
            if container is not None:
                container.close()
        self._temp.unlink(missing_ok=True)

    def _add_stream(self, container: OutputContainer) -> VideoStream:
        index, settings, tags = self._index, self._settings, self._index.colour
        stream = container.add_stream(settings.codec, rate=index.average_rate)
        assert isinstance(stream, VideoStream)
        context = stream.codec_context
        context.width, context.height = index.width, index.height
        context.pix_fmt = self._pix_fmt
        context.time_base = self._unit
        context.sample_aspect_ratio = index.sample_aspect_ratio
        context.thread_count = settings.threads
        # With slice threads x264 would cut pictures in as many slices.
        context.thread_type = "SLICE" if settings.codec == "ffv1" else "FRAME"
        context.color_primaries = tags.primaries
        context.color_trc = tags.transfer
        # A conversion between RGB and YUV, asked for by pix_fmt, makes BT.709 limited range of RGB.
        turned = self._pix_fmt.startswith("yuv") and self._format.matrix == "rgb"
        is_rgb = self._pix_fmt.startswith(("gbr", "bgr"))
        context.colorspace = 1 if turned else 0 if is_rgb else tags.matrix
        context.color_range = 2 if is_rgb or (self._format.full_range and not turned) else 1
        options = _codec_options(index, settings)
        if tags.chroma_location and self._pix_fmt.startswith("yuv4"):
            options["chroma_sample_location"] = _CHROMA_LOCATIONS[tags.chroma_location - 1]
        context.options = options
        if index.interlaced and settings.codec == "libx264":
            context.flags |= Flags.interlaced_dct | Flags.interlaced_me
        return stream

    def _open(self) -> None:
        settings = self._settings
        try:
            self._stream.codec_context.open(strict=False)
        except (av.FFmpegError, ValueError) as error:
            self.abort()
            raise SettingInvalid(
                f"{settings.codec} refused preset {settings.preset!r}, quality {settings.quality} "
                f"or {self._index.width}x{self._index.height} {self._pix_fmt} ({error})",
                "settings that the codec knows",
                "leave preset and quality at their defaults, or choose another encoder",
            ) from error

    def _converted(self, picture: VideoFrame) -> VideoFrame:
        """The frame in the codec's format, with the film's range and matrix."""
        context = self._stream.codec_context
        picture.colorspace = self._index.colour.matrix
        picture.color_range = 2 if self._format.full_range else 1
        if self._pix_fmt != self._source_fmt:
            picture = self._reformatter.reformat(
                picture,
                format=self._pix_fmt,
                dst_colorspace=context.colorspace if context.colorspace == 1 else None,
                dst_color_range=context.color_range,
                threads=1,
            )
        picture.color_primaries = context.color_primaries
        picture.color_trc = context.color_trc
        picture.colorspace = context.colorspace
        picture.color_range = context.color_range
        return picture

    def _dts(self, packet: int) -> int:
        """DTS of the n-th packet: the PTS of the frame ``_DELAY`` before the n-th.

        The encoders' own are not used: x265 gives wild ones for the shortest segments. The join
        makes new ones for the whole film in any case.
        """
        assert self._first is not None
        place = packet - _DELAY
        if place < 0:
            return place  # PTS start at 0
        pts, ticks = self._index.pts, self._index.time_base.numerator
        return (pts[self._first + place] - pts[self._first]) * ticks

    def _write(self, picture: VideoFrame | None) -> None:
        assert self._container is not None
        try:
            with writing(self._temp):
                for packet in self._stream.encode(picture):
                    packet.dts = self._dts(self._packets)
                    self._packets += 1
                    self._container.mux(packet)
        except BaseException:
            self.abort()
            raise


def _codec_options(index: VideoIndex, settings: EncoderSettings) -> dict[str, str]:
    quality, preset, threads = str(settings.quality), settings.preset, settings.threads
    hdr = []
    if index.mastering_display:
        hdr.append(("mastering-display", "master-display", index.mastering_display))
    if index.content_light:
        hdr.append(("cll", "max-cll", index.content_light))
    if settings.codec == "libx264":
        # mbtree reads memory that it never wrote: of seven encodes of the same frames all differed,
        # without it none. The same job must give the same film.
        words = ["stitchable=1", "open-gop=0", "mbtree=0", *(f"{x264}={v}" for x264, _, v in hdr)]
        if index.interlaced:
            words.append("tff=1" if index.top_field_first else "bff=1")
        return {"crf": quality, "preset": preset, "x264-params": ":".join(words)}
    if settings.codec == "libx265":
        pools = "none" if threads == 1 else str(threads)
        words = ["open-gop=0", "repeat-headers=0", "frame-threads=1", f"pools={pools}"]
        words += ["log-level=error", *(f"{x265}={v}" for _, x265, v in hdr)]
        words += ["hdr10=1"] if hdr else []
        return {"crf": quality, "preset": preset, "x265-params": ":".join(words)}
    if settings.codec == "libsvtav1":
        number = preset if preset.isdigit() else _SVT_PRESETS.get(preset, preset)
        return {"crf": quality, "preset": number, "svtav1-params": f"lp={threads}:irefresh-type=2"}
    # The number of slices follows from the picture size, not from the threads.
    return {"level": "3", "slicecrc": "1", "g": "1"}
