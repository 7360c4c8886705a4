"""A film file as libavformat sees it: opening it, choosing its picture stream, decoding in order.

The prober, the decoder and the muxer read films through these functions, so that all three see the
same packets, the same timestamps and the same shown frames.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.stream import Discard, Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from scheduler.errors import (
    GpuUnavailable,
    MediaMissing,
    MediaUnreadable,
    MediaUnsupported,
    MediaWithoutVideo,
)

# libavformat shows any text file with a .txt, .nfo or .asc name as a picture of its letters.
_TEXT_CODECS: Final = frozenset({"ansi", "bintext", "idf", "xbin"})
_STILL: Final = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image


def open_film(path: str | Path, hwaccel: HWAccel | None = None) -> InputContainer:
    """Open a film for reading; the caller closes it.

    libavformat fills in PTS that a packet lacks from its DTS (PyAV asks it to). Metadata that is
    not UTF-8 is kept byte by byte (surrogate escapes).

    Args:
        hwaccel: decodes its pictures; None: the CPU.

    Raises:
        MediaMissing: there is nothing at ``path``.
        MediaUnreadable: a directory, no permission, or no demuxer makes sense of it.
        GpuUnavailable: ``hwaccel`` finds no device, or no driver.
    """
    where = Path(path).absolute()
    if not where.exists():
        raise MediaMissing(
            f"no file at {where}", "a film file", "check the path; a relative one starts here"
        )
    if not where.is_file():
        raise MediaUnreadable(
            f"{where} is not a regular file", "one film file", "name the film itself"
        )
    try:
        return av.open(str(where), "r", metadata_errors="surrogateescape", hwaccel=hwaccel)
    except av.FFmpegError as error:
        of_gpu = hwaccel is not None and not isinstance(error, av.InvalidDataError)
        if of_gpu and os.access(where, os.R_OK):
            raise GpuUnavailable(
                f"FFmpeg cannot open the GPU ({error.strerror or error})",
                "an NVIDIA GPU that this process sees, and its driver",
                "see what nvidia-smi -L says, or work on the CPU",
            ) from error
        raise _unreadable(where, error) from error


def _unreadable(where: Path, error: av.FFmpegError) -> MediaUnreadable:
    if isinstance(error, PermissionError):
        return MediaUnreadable(
            f"{where} may not be read ({error.strerror})", "a readable film", "change its mode"
        )
    return MediaUnreadable(
        f"{where} is not a film that can be read ({error.strerror or error})",
        "a whole video file in a format FFmpeg knows",
        "play it, or copy or download it again: it may be cut off or of another kind",
    )


def is_still(stream: VideoStream) -> bool:
    """True for cover art and thumbnails, which are no video."""
    return bool(stream.disposition & _STILL)


def picture_stream(container: InputContainer, wanted: int | None = None) -> VideoStream:
    """The stream that is worked on, with all others discarded at the demuxer.

    Args:
        wanted: index of the stream; None: the first that is marked as default, else the first.

    Raises:
        MediaWithoutVideo: only sound, cover art or nothing.
        MediaUnsupported: no decoder for the stream.
    """
    films = [s for s in container.streams.video if not is_still(s)]
    if wanted is not None:
        films = [s for s in films if s.index == wanted]
    if not films or getattr(films[0].codec_context, "name", "") in _TEXT_CODECS:
        kinds = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
        raise MediaWithoutVideo(
            f"{container.name} holds {kinds} but no moving pictures",
            "a file with a video stream",
            "name the film itself; cover art does not count as video",
        )
    stream = next((s for s in films if s.disposition & Disposition.default), films[0])
    if stream.codec_context is None:
        raise MediaUnsupported(
            f"no decoder for video stream {stream.index} of {container.name}",
            "a codec this FFmpeg decodes",
            "convert the film first, for example to H.264",
        )
    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all
    return stream


def frames_of(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Every frame the decoder shows from here on, in presentation order.

    A packet that the decoder refuses is passed over, as players do; the frames it would have given
    are missing, which the caller notices by their PTS.
    """
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            continue
        except EOFError:
            return
        yield from frames
