"""Encode frames from a ring into one segment file."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

import av
import numpy as np
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from actors.codecs import codec_options, encoder_pix_fmt, is_hardware, no_device
from actors.formats import picture_format, pix_fmt_of, plane_views
from actors.frames import Frame
from actors.segments import read_segment, sync_file, sync_folder, writing
from actors.threads import usual_scheduling
from actors.transport.slots import SlotFrame
from scheduler.errors import FramesLost, SettingInvalid
from scheduler.jobs import EncoderSettings
from scheduler.media import VideoIndex
from scheduler.timeline import result_of, shown_frames

_DELAY: Final = 4
"""Frames by which DTS run behind; more than any of these codecs reorders."""

_MATRICES: Final = {"bt601": 6, "bt709": 1, "bt2020": 9, "rgb": 0}
"""Code points (ITU-T H.273) to write where the film has none but must keep its meaning."""
_CHROMA_LOCATIONS: Final = ("left", "center", "topleft", "top", "bottomleft", "bottom")


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedSegment:
    """What a finished segment file holds."""

    path: str
    frames: int
    """Of the film; the result may show some of them several times."""
    first_pts: int
    """In the result's time base."""
    sha256: str
    """Of the whole file."""
    extradata_sha256: str
    """Of the codec header as the container gives it back."""


F = TypeVar("F", bound=SlotFrame)


class SegmentEncoder(ABC, Generic[F]):
    """Encodes consecutive frames into one segment that can be joined with its neighbours, wherever
    the frames lie.

    Segments of a job share their codec header (x264's ``stitchable``, fixed settings) and start
    with a key frame that nothing before is needed for (closed GOPs). PTS in the file start at 0 and
    are exact: the track's unit is 1 / (denominator of the film's time base). The same frames give
    the same bytes. Colour tags, range, chroma location, sample aspect ratio, bit depth,
    interlacing (x264) and HDR10 static metadata (x264, x265) are those of the film; rotation is
    added at the join.

    The file appears at ``path`` by rename when ``close`` succeeds; ``abort`` leaves nothing.

    Args:
        index: of the film.
        settings: codec, preset, quality, pixel format, threads, scale.
        path: where the segment goes.
        rate: pictures a second (``scheduler.timeline``); None: each frame at its own time.
        source_fmt: FFmpeg's name of the format in which `_picture` gives frames.
        device_fmt: what the codec is told where it gets frames in a GPU's memory, as they are;
            it is then opened with the first of them, which brings the device.

    Raises:
        SettingInvalid: see ``encoder_pix_fmt``; also a preset or quality the codec refuses.
        DiskFull, StorageUnwritable: the file cannot be written.
    """

    def __init__(
        self,
        index: VideoIndex,
        settings: EncoderSettings,
        path: str | Path,
        rate: Fraction | None = None,
        *,
        source_fmt: str,
        device_fmt: str = "",
    ) -> None:
        self._index = index
        self._result = result_of(index, rate, settings.scale)
        self._shows = shown_frames(index, rate)
        self._settings = settings
        self._format = picture_format(index)
        self._source_fmt = source_fmt
        self._pix_fmt = encoder_pix_fmt(self._result, settings)
        self._device_fmt = device_fmt
        if device_fmt:
            self._pix_fmt = source_fmt
        self._turned = self._pix_fmt.startswith("yuv") and self._format.matrix == "rgb"
        self._scaled = settings.scale != 1.0
        matrix = index.colour.matrix
        self._matrix = _MATRICES[self._format.matrix] if matrix in (2, 3) else matrix
        self._unit = Fraction(1, self._result.time_base.denominator)
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
            if not device_fmt:
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

    @abstractmethod
    def _picture(self, frame: F) -> VideoFrame:
        """A copy of a frame's planes."""

    def encode(self, frame: F) -> None:
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
        picture = self._converted(self._picture(frame))
        result, ticks = self._result, self._result.time_base.numerator
        for shown in range(bisect_left(self._shows, number), bisect_right(self._shows, number)):
            picture.pts = (result.pts[shown] - result.pts[self._first_picture]) * ticks
            picture.duration = result.durations[shown] * ticks
            picture.time_base = self._unit
            self._write(picture)

    @property
    def _first_picture(self) -> int:
        """Of the result: the first that shows the segment's first frame."""
        assert self._first is not None
        return bisect_left(self._shows, self._first)

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
        first, result, ticks = self._first_picture, self._result, self._result.time_base.numerator
        stop = bisect_left(self._shows, self._next)
        wanted = [(pts - result.pts[first]) * ticks for pts in result.pts[first:stop]]
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
            frames=self._next - self._first,
            first_pts=result.pts[first],
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
        index, settings, tags = self._result, self._settings, self._index.colour
        stream = container.add_stream(settings.codec, rate=index.average_rate)
        assert isinstance(stream, VideoStream)
        context = stream.codec_context
        context.width, context.height = index.width, index.height
        context.pix_fmt = self._device_fmt or self._pix_fmt
        context.time_base = self._unit
        context.sample_aspect_ratio = index.sample_aspect_ratio
        context.thread_count = settings.threads
        # With slice threads x264 would cut pictures in as many slices.
        context.thread_type = "SLICE" if settings.codec == "ffv1" else "FRAME"
        if is_hardware(settings.codec) or settings.codec == "libvpx-vp9":
            context.bit_rate = 0  # the quality decides alone
        context.color_primaries = tags.primaries
        context.color_trc = tags.transfer
        # A conversion between RGB and YUV, asked for by pix_fmt, makes BT.709 limited range of RGB.
        turned = self._turned
        is_rgb = self._pix_fmt.startswith(("gbr", "bgr", "rgb"))
        # Players guess a matrix that nobody names by the size: another size must name it.
        matrix = self._matrix if self._scaled else tags.matrix
        context.colorspace = 1 if turned else 0 if is_rgb else matrix
        context.color_range = 2 if is_rgb or (self._format.full_range and not turned) else 1
        options = codec_options(index, settings)
        if tags.chroma_location and self._pix_fmt.startswith(("yuv4", "nv12", "p010")):
            options["chroma_sample_location"] = _CHROMA_LOCATIONS[tags.chroma_location - 1]
        context.options = options
        if index.interlaced and settings.codec == "libx264":
            context.flags |= Flags.interlaced_dct | Flags.interlaced_me
        return stream

    def _open(self) -> None:
        settings = self._settings
        try:
            with usual_scheduling():
                self._stream.codec_context.open(strict=False)
        except (av.FFmpegError, ValueError) as error:
            self.abort()
            if is_hardware(settings.codec):
                raise no_device(settings.codec, str(error)) from error
            raise SettingInvalid(
                f"{settings.codec} refused preset {settings.preset!r}, quality {settings.quality} "
                f"or {self._index.width}x{self._index.height} {self._pix_fmt} ({error})",
                "settings that the codec knows",
                "leave preset and quality at their defaults, or choose another encoder",
            ) from error

    def _converted(self, picture: VideoFrame) -> VideoFrame:
        """The frame in the codec's format, with the film's range and matrix."""
        context = self._stream.codec_context
        to_rgb = self._pix_fmt.startswith(("gbr", "bgr", "rgb"))
        picture.colorspace = self._matrix if to_rgb else self._index.colour.matrix
        picture.color_range = 2 if self._format.full_range else 1
        if self._pix_fmt != self._source_fmt or self._scaled:
            picture = self._reformatter.reformat(
                picture,
                width=self._result.width,
                height=self._result.height,
                format=self._pix_fmt,
                interpolation=Interpolation.LANCZOS if self._scaled else None,
                dst_colorspace=context.colorspace if self._turned else None,
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
        place = packet - _DELAY
        if place < 0:
            return place  # PTS start at 0
        pts, ticks, first = self._result.pts, self._result.time_base.numerator, self._first_picture
        return (pts[first + place] - pts[first]) * ticks

    def _write(self, picture: VideoFrame | None) -> None:
        assert self._container is not None
        try:
            with writing(self._temp):
                for packet in self._packets_of(picture):
                    packet.dts = self._dts(self._packets)
                    self._packets += 1
                    self._container.mux(packet)
        except BaseException:
            self.abort()
            raise

    def _packets_of(self, picture: VideoFrame | None) -> list[Any]:
        if self._stream.codec_context.is_open:
            return self._stream.encode(picture)
        try:
            return self._stream.encode(picture)
        except (av.FFmpegError, ValueError) as error:
            raise no_device(self._settings.codec, str(error)) from error


class Encoder(SegmentEncoder[Frame]):
    """Encodes frames that lie in host memory. See `SegmentEncoder` for the arguments."""

    def __init__(
        self,
        index: VideoIndex,
        settings: EncoderSettings,
        path: str | Path,
        rate: Fraction | None = None,
    ) -> None:
        source_fmt = pix_fmt_of(picture_format(index))
        super().__init__(index, settings, path, rate, source_fmt=source_fmt)

    def _picture(self, frame: Frame) -> VideoFrame:
        picture = VideoFrame(self._format.width, self._format.height, self._source_fmt)
        copied = plane_views(picture, self._format)
        for target, plane in zip(copied.planes, frame.picture.planes, strict=True):
            np.copyto(target, plane)
        return picture
