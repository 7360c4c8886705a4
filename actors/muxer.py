"""Join segments into the film's container, with everything else that the film holds."""

from __future__ import annotations

import io
from bisect import bisect_left
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from fractions import Fraction
from math import lcm
from pathlib import Path
from typing import Final, cast

import av
from av.audio.stream import AudioStream
from av.codec import Codec
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from actors.codecs import check_device, encoder_pix_fmt
from actors.film import is_still, open_film
from actors.segments import SegmentPackets, read_segment, sync_file, writing
from actors.sound import SoundEncoder, encoder_of, sampling_rate
from actors.streams import (
    MILLISECONDS,
    StreamPlan,
    add_copy,
    cannot_hold,
    chapters_of,
    kept,
    other_packets,
    plan_streams,
)
from scheduler.errors import FramesLost, OutputInvalid, SegmentMismatch, SettingInvalid
from scheduler.jobs import EncoderSettings, Segment
from scheduler.media import VideoIndex
from scheduler.output import SoundSettings
from scheduler.timeline import Span

COPIED: Final = SoundSettings()

FORMATS: Final = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
}
"""Output containers by suffix."""

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


def check_container(
    index: VideoIndex,
    output: Path,
    settings: EncoderSettings,
    sound: SoundSettings = COPIED,
    span: Span | None = None,
) -> tuple[str, ...]:
    """Whether a film, its codec and its other streams fit together; asked before any work is done.

    Args:
        index: of the result.
        output: path of the result; its suffix names the container.

    Returns:
        Sentences for the user about what will not be exactly as in the source.

    Raises:
        OutputInvalid: unknown suffix, or the container cannot hold the codec or a stream.
        SettingInvalid: the codec does not exist or does not take the film's pixel format, or an
            interlaced film is to change its size.
        EncoderUnavailable: the codec needs a device that is not there.
    """
    name = container_format(output.suffix)
    encoder_pix_fmt(index, settings)
    check_device(settings.codec)
    if index.interlaced and settings.scale != 1.0:
        raise SettingInvalid(
            f"another size for {index.path}, which is interlaced",
            "whole pictures: fields cannot be scaled together",
            "leave --output-video-scale out, or deinterlace the film first",
        )
    try:
        with av.open(io.BytesIO(), "w", format=name) as trial:
            trial.add_stream(settings.codec)
    except ValueError as error:
        raise cannot_hold(name, f"video by {settings.codec}") from error
    with open_film(index.path) as film:
        plan = plan_streams(film, index, name, sound, span)
    codec = Codec(settings.codec, "w").canonical_name
    return (*_changes(index, name, codec), *plan.notes)


def join(
    index: VideoIndex,
    segments: Sequence[Segment],
    output_temp: Path,
    *,
    marking: dict[str, str],
    suffix: str = "",
    sound: SoundSettings = COPIED,
    span: Span | None = None,
) -> tuple[str, ...]:
    """Join all segments of a film into ``output_temp`` without re-encoding.

    Every frame gets the PTS that the index names (Matroska and WebM round to milliseconds), moved
    to the film's start where it is trimmed. DTS are made anew for the whole film: the n-th packet's
    is the n-th PTS less the largest reorder depth of any segment. All other streams are copied
    packet by packet with their PTS, unless the sound is to be encoded anew; chapters,
    attachments, cover art, languages, dispositions, metadata, sample aspect ratio, colour tags and
    rotation stay. Segments are read twice, first to check them; what is held in memory is a few
    packets and the PTS. The file is synced; the caller renames it.

    Args:
        index: of the result, at the film's times.
        segments: one for each chunk, in any order.
        output_temp: where to write; overwritten.
        marking: container metadata that says what was altered and by what. Where the film has
            the same key, its text stays in front.
        sound: what becomes of the film's sound.
        span: what is kept of the film; None: all.
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
            plan = plan_streams(film, index, name, sound, span)
            _write(index, ordered, found, film, output_temp, name, marking, plan, sound, span)
        with writing(output_temp):
            sync_file(output_temp)
    except BaseException:
        output_temp.unlink(missing_ok=True)
        raise
    return (*_changes(index, name, found[0].codec), *plan.notes)


def _write(
    index: VideoIndex,
    segments: list[Segment],
    found: list[SegmentPackets],
    film: InputContainer,
    target: Path,
    name: str,
    marking: dict[str, str],
    plan: StreamPlan,
    sound: SoundSettings,
    span: Span | None,
) -> None:
    unit = Fraction(1, index.time_base.denominator)
    options = dict(_OPTIONS[name])
    # MP4 has either free metadata keys or cover art; with cover art all marks go into the comment.
    free_keys = name in MILLISECONDS or not any(is_still(s) for s in film.streams.video)
    if name in ("mp4", "mov"):
        options["movflags"] += "+use_metadata_tags" if free_keys else ""
        options["video_track_timescale"] = str(unit.denominator)
        options["movie_timescale"] = str(_movie_timescale(film, plan, unit, sound))
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
        _describe(output, film, marking if free_keys else _as_comment(marking), span)
        outputs: dict[int, Stream] = {}
        encoders: dict[int, SoundEncoder] = {}
        video: VideoStream | None = None
        for stream in film.streams:
            if stream.index == index.stream:
                with av.open(segments[0].path) as first:
                    video = output.add_stream_from_template(first.streams.video[0], opaque=True)
                _dress(video, index, stream, unit, name, trimmed=span is not None)
            elif stream.index in plan.copied:
                added = add_copy(output, stream, name)
                if added is not None:
                    outputs[stream.index] = added
            elif isinstance(stream, AudioStream) and stream.index in plan.recoded:
                encoder = SoundEncoder(stream, output, sound, span)
                encoder.stream.metadata.update(kept(stream.metadata))
                encoder.stream.disposition = stream.disposition
                encoders[stream.index] = encoder
        assert video is not None
        depth = max(s.reorder for s in found)
        others = other_packets(film, outputs, encoders, name, span)
        shift = int(span.shift / unit) if span else 0
        # MP4 and MOV add up durations in the order of decoding: the last makes the length right.
        decoding = name in ("mp4", "mov")
        packets = _video_packets(index, segments, video, unit, depth, shift, decoding)
        with closing(packets) as pictures:
            for packet in _merged(pictures, others):
                output.mux(packet)


def _movie_timescale(
    film: InputContainer, plan: StreamPlan, unit: Fraction, sound: SoundSettings
) -> int:
    """A unit for edit lists in which every stream's start is a whole number.

    With the muxer's own, a millisecond, a stream that starts late would be up to half of one off.
    """
    bases = [film.streams[i].time_base for i in plan.copied]
    for stream in film.streams.audio:
        if stream.index in plan.recoded:
            bases.append(Fraction(1, sampling_rate(encoder_of(stream, sound), stream.rate)))
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
    if name in MILLISECONDS and uneven:
        notes.append(
            f"{name} stores whole milliseconds: times are rounded to them; .mp4 keeps them exactly"
        )
    if name in MILLISECONDS and index.sample_aspect_ratio != 1 and codec in ("av1", "ffv1"):
        notes.append(f"{name} with {codec} does not say the sample aspect ratio; .mp4 does")
    if index.interlaced and codec != "h264":
        notes.append(f"{codec} output is not marked as interlaced; libx264 keeps the mark")
    return tuple(notes)


def _describe(
    output: OutputContainer, film: InputContainer, marking: dict[str, str], span: Span | None
) -> None:
    output.metadata.update(kept(film.metadata, trimmed=span is not None))
    for key, value in marking.items():
        own = next((v for k, v in film.metadata.items() if k.lower() == key.lower()), "")
        for twin in [k for k in output.metadata if k.lower() == key.lower()]:
            del output.metadata[twin]
        output.metadata[key] = f"{own} | {value}" if own and value not in own else value
    output.set_chapters(chapters_of(film, span))


def _as_comment(marking: dict[str, str]) -> dict[str, str]:
    rest = [f"{key}: {value}" for key, value in marking.items() if key != "comment"]
    return {"comment": " | ".join([*filter(None, [marking.get("comment")]), *rest])}


def _dress(
    video: VideoStream,
    index: VideoIndex,
    source: Stream,
    unit: Fraction,
    name: str,
    *,
    trimmed: bool,
) -> None:
    """What the container, not the codec, says of the pictures."""
    video.time_base = unit
    video.metadata.update(kept(source.metadata, trimmed=trimmed))
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
    index: VideoIndex,
    segments: list[Segment],
    video: VideoStream,
    unit: Fraction,
    depth: int,
    shift: int,
    decoding: bool,
) -> Generator[Packet[Stream], None, None]:
    pts, ticks = index.pts, index.time_base.numerator
    step = index.durations[0] or 1
    start = place = 0
    for segment in segments:
        with av.open(segment.path) as container:
            for packet in container.demux(container.streams.video[0]):
                if packet.size == 0 or packet.pts is None:
                    continue
                rank = bisect_left(pts, packet.pts // ticks + pts[start])
                due = place - depth
                packet.pts = pts[rank] * ticks - shift
                packet.dts = (pts[due] if due >= 0 else pts[0] + due * step) * ticks - shift
                packet.duration = index.durations[rank] * ticks
                if decoding and place + 1 == index.frames:
                    length = (pts[-1] + index.durations[-1] - pts[0]) * ticks
                    decoded = packet.dts + shift - (pts[0] - depth * step) * ticks
                    packet.duration = max(1, length - decoded)
                packet.time_base = unit
                packet.stream = video
                place += 1
                yield cast("Packet[Stream]", packet)
        start = place


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
