"""Join segments into the film's container, with everything else that the film holds."""

from __future__ import annotations

import io
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from fractions import Fraction
from math import lcm
from pathlib import Path
from typing import Final, cast

import av
from av.codec import Codec
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import AttachmentStream, Discard, Stream
from av.video.stream import VideoStream

from actors.encoder import encoder_pix_fmt
from actors.film import is_still, open_film
from actors.segments import SegmentPackets, read_segment, sync_file, writing
from scheduler.errors import FramesLost, OutputInvalid, SegmentMismatch
from scheduler.jobs import EncoderSettings, Segment
from scheduler.media import VideoIndex

FORMATS: Final = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
}
"""Output containers by suffix."""

_MILLISECONDS: Final = frozenset({"matroska", "webm"})
_OWN_METADATA: Final = frozenset(
    {"major_brand", "minor_version", "compatible_brands", "encoder", "duration", "vendor_id"}
)
"""Keys that describe the source file and its maker, not the film."""

_OPTIONS: Final = {
    "mp4": {"movflags": "faststart"},
    "mov": {"movflags": "faststart"},
    "matroska": {"default_mode": "passthrough", "avoid_negative_ts": "disabled"},
    "webm": {"default_mode": "passthrough", "avoid_negative_ts": "disabled"},
}


def container_format(suffix: str) -> str:
    """FFmpeg's name of the container for an output suffix such as ``.mp4``.

    Raises:
        OutputInvalid: another suffix.
    """
    try:
        return FORMATS[suffix.lower()]
    except KeyError:
        raise OutputInvalid(
            f"an output with the suffix {suffix!r}",
            f"one of {' '.join(FORMATS)}",
            "give the output one of these suffixes; .mkv holds almost everything",
        ) from None


def check_container(index: VideoIndex, output: Path, settings: EncoderSettings) -> tuple[str, ...]:
    """Whether a film, its codec and its other streams fit together; asked before any work is done.

    Args:
        output: path of the result; its suffix names the container.

    Returns:
        Sentences for the user about what will not be exactly as in the source.

    Raises:
        OutputInvalid: unknown suffix, or the container cannot hold the codec or a stream.
        SettingInvalid: the codec does not exist or does not take the film's pixel format.
    """
    name = container_format(output.suffix)
    encoder_pix_fmt(index, settings)
    try:
        with av.open(io.BytesIO(), "w", format=name) as trial:
            trial.add_stream(settings.codec)
    except ValueError as error:
        raise _cannot_hold(name, f"video by {settings.codec}") from error
    with open_film(index.path) as film:
        plan = _plan(film, index, name)[1]
    return (*_changes(index, name, Codec(settings.codec, "w").canonical_name), *plan)


def join(
    index: VideoIndex,
    segments: Sequence[Segment],
    output_temp: Path,
    *,
    marking: dict[str, str],
    suffix: str = "",
) -> tuple[str, ...]:
    """Join all segments of a film into ``output_temp`` without re-encoding.

    Every frame gets the PTS that it has in the source (Matroska and WebM round to milliseconds).
    DTS are made anew for the whole film: the n-th packet's is the n-th PTS less the largest reorder
    depth of any segment. All other streams are copied packet by packet with their PTS; chapters,
    attachments, cover art, languages, dispositions, metadata, sample aspect ratio, colour tags and
    rotation stay. Segments are read twice, first to check them; what is held in memory is a few
    packets and the PTS. The file is synced; the caller renames it.

    Args:
        segments: one for each chunk, in any order.
        output_temp: where to write; overwritten.
        marking: container metadata that says what was altered and by what. Where the film has
            the same key, its text stays in front.
        suffix: of the final output, which decides the container; default that of ``output_temp``.

    Returns:
        Sentences for the user, see ``check_container``.

    Raises:
        SegmentMismatch: a segment is missing or changed, or codec headers differ.
        FramesLost: together they are not the film's frames.
        OutputInvalid: the container cannot hold a stream.
        DiskFull, StorageUnwritable, EncoderFailed: writing failed.
    """
    ordered = sorted(segments, key=lambda s: s.chunk)
    found = _checked(index, ordered)
    name = container_format(suffix or output_temp.suffix)
    try:
        with open_film(index.path) as film:
            notes = _write(index, ordered, found, film, output_temp, name, marking)
        with writing(output_temp):
            sync_file(output_temp)
    except BaseException:
        output_temp.unlink(missing_ok=True)
        raise
    return (*_changes(index, name, found[0].codec), *notes)


def _write(
    index: VideoIndex,
    segments: list[Segment],
    found: list[SegmentPackets],
    film: InputContainer,
    target: Path,
    name: str,
    marking: dict[str, str],
) -> tuple[str, ...]:
    unit = Fraction(1, index.time_base.denominator)
    copied, notes = _plan(film, index, name)
    options = dict(_OPTIONS[name])
    # MP4 has either free metadata keys or cover art; with cover art all marks go into the comment.
    free_keys = name in _MILLISECONDS or not any(is_still(s) for s in film.streams.video)
    if name in ("mp4", "mov"):
        options["movflags"] += "+use_metadata_tags" if free_keys else ""
        options["video_track_timescale"] = str(unit.denominator)
        options["movie_timescale"] = str(_movie_timescale(film, copied, unit))
    with (
        writing(target),
        av.open(
            str(target),
            "w",
            format=name,
            container_options=options,
            metadata_errors="surrogateescape",
        ) as output,
    ):
        _describe(output, film, marking if free_keys else _as_comment(marking))
        outputs: dict[int, Stream] = {}
        video: VideoStream | None = None
        for stream in film.streams:
            if stream.index == index.stream:
                with av.open(segments[0].path) as first:
                    video = output.add_stream_from_template(first.streams.video[0], opaque=True)
                _dress(video, index, stream, unit, name)
            elif stream.index in copied:
                added = _add_copy(output, stream, name)
                if added is not None:
                    outputs[stream.index] = added
        assert video is not None
        depth = max(s.reorder for s in found)
        with closing(_video_packets(index, segments, video, unit, depth)) as pictures:
            for packet in _merged(pictures, _other_packets(film, outputs)):
                output.mux(packet)
    return notes


def _movie_timescale(film: InputContainer, copied: set[int], unit: Fraction) -> int:
    """A unit for edit lists in which every stream's start is a whole number.

    With the muxer's own, a millisecond, a stream that starts late would be up to half of one off.
    """
    bases = [film.streams[i].time_base for i in copied]
    scale = lcm(unit.denominator, *(b.denominator for b in bases if b))
    return scale if scale < 2**31 else unit.denominator


def _checked(index: VideoIndex, segments: list[Segment]) -> list[SegmentPackets]:
    """What the segments hold, once it is sure that they are this film's and fit together."""
    if [s.chunk for s in segments] != list(range(len(segments))) or not segments:
        raise SegmentMismatch(
            f"segments of the chunks {[s.chunk for s in segments]}",
            "one segment of each chunk",
            "run the job again; finished segments are kept",
        )
    found: list[SegmentPackets] = []
    start = 0
    unit = Fraction(1, index.time_base.denominator)
    for segment in segments:
        packets = read_segment(segment.path)
        header = packets.extradata_sha256
        if found and (header, packets.codec) != (found[0].extradata_sha256, found[0].codec):
            raise SegmentMismatch(
                f"the codec header of segment {segment.chunk} differs from that of segment 0",
                "segments made with the same settings by the same encoder",
                "remove the job folder and run again on machines with the same av version",
            )
        stop = start + len(packets.pts)
        pts, ticks = index.pts[start:stop], index.time_base.numerator
        wanted = [(value - pts[0]) * ticks for value in pts]
        if (
            packets.time_base != unit
            or sorted(packets.pts) != wanted
            or segment.first_pts != pts[0]
        ):
            raise FramesLost(
                f"segment {segment.chunk} holds other frames than [{start}, {stop}) of the film",
                "the frames of its chunk with the film's PTS",
                "remove the job folder and run again",
            )
        found.append(packets)
        start = stop
    if start != index.frames:
        raise FramesLost(
            f"{start} frames in all segments", f"the film's {index.frames}", "run the job again"
        )
    return found


def _changes(index: VideoIndex, name: str, codec: str) -> tuple[str, ...]:
    """Sentences about what of the pictures cannot be exactly as in the source."""
    notes = []
    base = index.time_base
    uneven = any(pts * base.numerator * 1000 % base.denominator for pts in index.pts)
    if name in _MILLISECONDS and uneven:
        notes.append(
            f"{name} stores whole milliseconds: times are rounded to them; .mp4 keeps them exactly"
        )
    if name in _MILLISECONDS and index.sample_aspect_ratio != 1 and codec in ("av1", "ffv1"):
        notes.append(f"{name} with {codec} does not say the sample aspect ratio; .mp4 does")
    if index.interlaced and codec != "h264":
        notes.append(f"{codec} output is not marked as interlaced; libx264 keeps the mark")
    return tuple(notes)


def _plan(film: InputContainer, index: VideoIndex, name: str) -> tuple[set[int], tuple[str, ...]]:
    """Indices of the streams to copy, and sentences about those that cannot be."""
    copied: set[int] = set()
    notes: list[str] = []
    chapters = film.chapters()
    for stream in film.streams:
        if stream.index == index.stream or _made_by_muxer(stream, name, bool(chapters)):
            continue
        label = f"{stream.type} stream {stream.index} ({stream.name or 'unknown codec'})"
        if _holds(name, stream):
            copied.add(stream.index)
            if isinstance(stream, VideoStream) and not is_still(stream):
                notes.append(f"{label} is copied as it is: its faces are not altered")
        elif stream.type in ("audio", "subtitle"):
            raise _cannot_hold(name, label)
        else:
            notes.append(f"{label} is left out: {name} cannot hold it")
    return copied, tuple(notes)


def _made_by_muxer(stream: Stream, name: str, chapters: bool) -> bool:
    """Time code and chapter tracks, which FFmpeg writes by itself from the metadata."""
    if stream.type != "data":
        return False
    return "timecode" in stream.metadata or (chapters and stream.name in ("bin_data", "text"))


def _holds(name: str, stream: Stream) -> bool:
    """Ask the muxer, by writing a header for this stream alone into memory."""
    try:
        with av.open(io.BytesIO(), "w", format=name, metadata_errors="surrogateescape") as trial:
            if _add_copy(trial, stream, name) is None:
                return False
            trial.start_encoding()
    except (ValueError, av.FFmpegError):
        return False
    return True


def _add_copy(output: OutputContainer, stream: Stream, name: str) -> Stream | None:
    if isinstance(stream, VideoStream) and is_still(stream) and name in _MILLISECONDS:
        return _picture_as_attachment(output, stream) if name == "matroska" else None
    added: Stream = output.add_stream_from_template(stream, opaque=True)
    added.metadata.update(_kept(stream.metadata))
    added.disposition = stream.disposition
    return added


def _picture_as_attachment(output: OutputContainer, stream: VideoStream) -> Stream | None:
    """Matroska keeps cover art as an attached file."""
    kind = {"mjpeg": ("jpg", "image/jpeg"), "png": ("png", "image/png")}.get(stream.name or "")
    if kind is None:
        return None
    assert isinstance(stream.container, InputContainer)
    with open_film(stream.container.name) as film:
        packet = next(film.demux(film.streams[stream.index]))
        title = stream.metadata.get("filename", f"cover.{kind[0]}")
        mime = stream.metadata.get("mimetype", kind[1])
        return output.add_attachment(title, mime, bytes(packet))


def _describe(output: OutputContainer, film: InputContainer, marking: dict[str, str]) -> None:
    output.metadata.update(_kept(film.metadata))
    for key, value in marking.items():
        own = next((v for k, v in film.metadata.items() if k.lower() == key.lower()), "")
        for twin in [k for k in output.metadata if k.lower() == key.lower()]:
            del output.metadata[twin]
        output.metadata[key] = f"{own} | {value}" if own and value not in own else value
    output.set_chapters(film.chapters())


def _as_comment(marking: dict[str, str]) -> dict[str, str]:
    rest = [f"{key}: {value}" for key, value in marking.items() if key != "comment"]
    return {"comment": " | ".join([*filter(None, [marking.get("comment")]), *rest])}


def _kept(metadata: dict[str, str]) -> dict[str, str]:
    return {k: v for k, v in metadata.items() if k.lower() not in _OWN_METADATA}


def _dress(
    video: VideoStream, index: VideoIndex, source: Stream, unit: Fraction, name: str
) -> None:
    """What the container, not the codec, says of the pictures."""
    video.time_base = unit
    video.metadata.update(_kept(source.metadata))
    video.disposition = source.disposition
    context = video.codec_context
    context.sample_aspect_ratio = index.sample_aspect_ratio
    gaps = set(index.durations[:-1])
    # Matroska takes the rate as every frame's duration: right only where all are the same.
    context.framerate = index.average_rate if len(gaps) <= 1 else Fraction(0, 1)
    if context.codec.canonical_name == "hevc" and name in ("mp4", "mov"):
        context.codec_tag = "hvc1"  # the tag that Apple's players need
    if index.display_matrix:
        video.set_display_matrix(index.display_matrix)


def _video_packets(
    index: VideoIndex, segments: list[Segment], video: VideoStream, unit: Fraction, depth: int
) -> Generator[Packet[Stream], None, None]:
    pts, ticks = index.pts, index.time_base.numerator
    step = index.durations[0] or 1
    start = place = 0
    for segment in segments:
        with av.open(segment.path) as container:
            ranks = {
                (value - pts[start]) * ticks: rank
                for rank, value in enumerate(pts[start : start + segment.frames], start)
            }
            for packet in container.demux(container.streams.video[0]):
                if packet.size == 0 or packet.pts is None:
                    continue
                rank = ranks[packet.pts]
                due = place - depth
                packet.pts = pts[rank] * ticks
                packet.dts = (pts[due] if due >= 0 else pts[0] + due * step) * ticks
                packet.duration = index.durations[rank] * ticks
                packet.time_base = unit
                packet.stream = video
                place += 1
                yield cast("Packet[Stream]", packet)
        start += segment.frames


def _other_packets(film: InputContainer, outputs: dict[int, Stream]) -> Iterator[Packet[Stream]]:
    in_header = [i for i, out in outputs.items() if isinstance(out, AttachmentStream)]
    packets = [s for s in film.streams if s.index in outputs and s.index not in in_header]
    for stream in film.streams:
        if stream not in packets:
            stream.discard = Discard.all
    if not packets:
        return
    for packet in film.demux(packets):
        if packet.size == 0 and packet.pts is None:
            continue
        if packet.dts is None:
            packet.dts = packet.pts
        packet.stream = outputs[packet.stream_index]
        yield packet


def _merged(
    one: Iterator[Packet[Stream]], two: Iterator[Packet[Stream]]
) -> Iterator[Packet[Stream]]:
    """Both in order of their DTS, so that the muxer holds back only a few packets."""

    def when(packet: Packet[Stream]) -> Fraction:
        return Fraction(packet.dts or 0) * packet.time_base

    a, b = next(one, None), next(two, None)
    while a is not None or b is not None:
        if b is None or (a is not None and when(a) <= when(b)):
            assert a is not None
            yield a
            a = next(one, None)
        else:
            yield b
            b = next(two, None)


def _cannot_hold(name: str, what: str) -> OutputInvalid:
    return OutputInvalid(
        f"{what} cannot be put into a {name} file",
        "a container that holds all of the film's streams",
        "give the output the film's own suffix" + ("" if name == "matroska" else ", or .mkv"),
    )
