"""A film's other streams on their way into the result: copied, trimmed, or encoded anew."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import AttachmentStream, Discard, Stream
from av.video.stream import VideoStream

from actors.film import is_still, open_film
from actors.sound import SoundEncoder
from scheduler.errors import OutputInvalid
from scheduler.media import VideoIndex
from scheduler.output import SoundSettings
from scheduler.timeline import Span

MILLISECONDS: Final = frozenset({"matroska", "webm"})
"""Containers that store whole milliseconds."""
_PREROLL: Final = Fraction(1, 10)
"""Seconds of sound before a trim that go along where an edit list hides them: what decoders need
to settle."""
_AFTER: Final = 10
"""Seconds behind a trim's end after which no stream has anything left of it."""
_OWN_METADATA: Final = frozenset(
    {"major_brand", "minor_version", "compatible_brands", "encoder", "duration", "vendor_id"}
)
"""Keys that describe the source file and its maker, not the film."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPlan:
    """What becomes of each stream but the one that is worked on."""

    copied: frozenset[int]
    recoded: frozenset[int]
    """Sound that is encoded anew."""
    notes: tuple[str, ...]
    """Sentences for the user about what will not be as in the source."""


def plan_streams(
    film: InputContainer,
    index: VideoIndex,
    name: str,
    sound: SoundSettings,
    span: Span | None,
) -> StreamPlan:
    """Decide it, by asking the muxer.

    Args:
        name: of the container, as FFmpeg has it.
        span: what is kept of the film; None: all.

    Raises:
        OutputInvalid: the container cannot hold a stream of sound or subtitles.
        EncoderUnavailable, SettingInvalid: see ``actors.sound``.
    """
    copied: set[int] = set()
    recoded: set[int] = set()
    notes: list[str] = []
    chapters = bool(film.chapters())
    for stream in film.streams:
        if stream.index == index.stream or _made_by_muxer(stream, name, chapters):
            continue
        label = f"{stream.type} stream {stream.index} ({stream.name or 'unknown codec'})"
        moving = isinstance(stream, VideoStream) and not is_still(stream)
        if isinstance(stream, AudioStream) and not sound.copied:
            notes += SoundEncoder.check(stream, name, sound)
            recoded.add(stream.index)
        elif moving and span is not None:
            notes.append(f"{label} is left out: only the altered pictures can be trimmed")
        elif _holds(name, stream):
            copied.add(stream.index)
            if moving:
                notes.append(f"{label} is copied as it is: its faces are not altered")
        elif stream.type in ("audio", "subtitle"):
            raise cannot_hold(name, label)
        else:
            notes.append(f"{label} is left out: {name} cannot hold it")
    if span is not None and any("timecode" in s.metadata for s in film.streams):
        notes.append("the time code is left out: it names the first frame of the whole film")
    return StreamPlan(copied=frozenset(copied), recoded=frozenset(recoded), notes=tuple(notes))


def _made_by_muxer(stream: Stream, name: str, chapters: bool) -> bool:
    """Time code and chapter tracks, which FFmpeg writes by itself from the metadata."""
    if stream.type != "data":
        return False
    return "timecode" in stream.metadata or (chapters and stream.name in ("bin_data", "text"))


def _holds(name: str, stream: Stream) -> bool:
    """Ask the muxer, by writing a header for this stream alone into memory."""
    try:
        with av.open(io.BytesIO(), "w", format=name, metadata_errors="surrogateescape") as trial:
            if add_copy(trial, stream, name) is None:
                return False
            trial.start_encoding()
    except (ValueError, av.FFmpegError):
        return False
    return True


def add_copy(output: OutputContainer, stream: Stream, name: str) -> Stream | None:
    """A stream of ``output`` that takes the packets of ``stream``; None: the container has none."""
    if isinstance(stream, VideoStream) and is_still(stream) and name in MILLISECONDS:
        return _picture_as_attachment(output, stream) if name == "matroska" else None
    added: Stream = output.add_stream_from_template(stream, opaque=True)
    added.metadata.update(kept(stream.metadata))
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


def kept(metadata: dict[str, str], *, trimmed: bool = False) -> dict[str, str]:
    """The metadata that the result has, too."""
    gone = _OWN_METADATA | ({"timecode"} if trimmed else set())
    return {key: value for key, value in metadata.items() if key.lower() not in gone}


def chapters_of(film: InputContainer, span: Span | None) -> list[Any]:
    """The film's chapters, those that reach into ``span`` cut to it and moved with it."""
    chapters: list[Any] = list(film.chapters())
    if span is None:
        return chapters
    out = []
    for chapter in chapters:
        base: Fraction = chapter["time_base"] or Fraction(1)
        start = max(chapter["start"] * base, span.begin)
        end = min(chapter["end"] * base, span.end)
        if start < end:
            moved = [round((when - span.shift) / base) for when in (start, end)]
            out.append({**chapter, "start": moved[0], "end": moved[1]})
    return out


def other_packets(
    film: InputContainer,
    outputs: dict[int, Stream],
    encoders: dict[int, SoundEncoder],
    name: str,
    span: Span | None,
) -> Iterator[Packet[Stream]]:
    """All packets of the other streams, in the film's order.

    Args:
        outputs: stream of the result by index of the film's, of those that are copied.
        encoders: by index of the film's streams, of those that are encoded anew.
    """
    in_header = [i for i, out in outputs.items() if isinstance(out, AttachmentStream)]
    wanted = [
        stream
        for stream in film.streams
        if stream.index in encoders or (stream.index in outputs and stream.index not in in_header)
    ]
    for stream in film.streams:
        if stream not in wanted:
            stream.discard = Discard.all
    if not wanted:
        return
    for packet in film.demux(wanted):
        if packet.stream_index in encoders:
            yield from encoders[packet.stream_index].take(packet)
            continue
        if packet.size == 0 and packet.pts is None:
            continue
        if packet.dts is None:
            packet.dts = packet.pts
        if span is not None and not _trim(packet, span, name):
            if (packet.dts or 0) * packet.time_base > span.end + _AFTER:
                break
            continue
        packet.stream = outputs[packet.stream_index]
        yield packet
    for encoder in encoders.values():
        yield from encoder.finish()


def _trim(packet: Packet[Stream], span: Span, name: str) -> bool:
    """Move a packet to the trimmed film's times; False: it is not in it."""
    stream, base = packet.stream, packet.time_base
    if isinstance(stream, VideoStream):  # cover art
        return True
    if packet.pts is None or packet.dts is None:
        return False
    begin, end = packet.pts * base, (packet.pts + (packet.duration or 0)) * base
    if begin >= span.end:
        return False
    if stream.type == "audio":
        # An edit list hides what lies before the first picture, so the cut is exact. Where there is
        # none, sound begins with the first packet that lies inside.
        hidden = name in ("mp4", "mov")
        if (end <= span.begin - _PREROLL) if hidden else (begin < span.begin):
            return False
    elif begin < span.begin:
        if end <= span.begin:
            return False
        late = round((span.begin - begin) / base)
        packet.pts, packet.dts = packet.pts + late, packet.dts + late
        packet.duration = max(1, (packet.duration or 0) - late)
    if stream.type != "audio" and end > span.end and packet.duration:
        packet.duration = max(1, round(span.end / base) - packet.pts)
    shift = round(span.shift / base)
    packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
    return True


def cannot_hold(name: str, what: str) -> OutputInvalid:
    """The error for a stream that does not go into a container."""
    return OutputInvalid(
        f"{what} cannot be put into a {name} file",
        "a container that holds all of the film's streams",
        "give the output the film's own suffix" + ("" if name == "matroska" else ", or .mkv"),
    )
