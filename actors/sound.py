"""Encode a film's sound anew, sample for sample at its own times."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Final, cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.layout import AudioLayout
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.codec import Codec
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream
from numpy.typing import NDArray

from scheduler.errors import EncoderUnavailable, OutputInvalid, SettingInvalid
from scheduler.output import SoundSettings
from scheduler.timeline import Span

_SAME: Final = {
    "aac": "aac",
    "mp3": "libmp3lame",
    "opus": "libopus",
    "flac": "flac",
    "pcm_s16le": "pcm_s16le",
    "pcm_s32le": "pcm_s32le",
}
"""Codec of a stream: the encoder that makes it again, for a changed volume alone."""
_RATES: Final = {"aac": (32, 160), "libmp3lame": (32, 160), "libopus": (16, 128)}
"""Kilobits a second and channel at quality 0 and 100."""
_JUMP: Final = 0.05
"""Seconds by which sound may be early or late before silence is put in or sound left out: less is
a container's rounding."""


class SoundEncoder:
    """Encodes one stream of sound into one stream of the result.

    The samples keep their times: where the film's sound has a gap, there is silence; a trim is
    exact to the sample. Sampling rate and channels stay where the codec has them (Opus takes
    48 kHz, MP3 two channels).

    Args:
        source: stream of the film.
        output: container to add the stream to.
        settings: encoder, quality and volume.
        span: what is kept of the film; None: all.

    Raises:
        EncoderUnavailable: see ``encoder_of``.
    """

    def __init__(
        self,
        source: AudioStream,
        output: OutputContainer,
        settings: SoundSettings,
        span: Span | None,
    ) -> None:
        codec = encoder_of(source, settings)
        self._volume = settings.volume / 100
        self._rate = sampling_rate(codec, source.rate)
        self._layout = _layout(codec, source)
        self._format = _sample_format(codec, source)
        added = output.add_stream(codec, rate=self._rate, layout=self._layout)
        assert isinstance(added, AudioStream)
        self._stream = added
        context = added.codec_context
        context.format = self._format
        context.time_base = Fraction(1, self._rate)
        context.thread_count = 1
        channels = AudioLayout(self._layout).nb_channels
        if codec in _RATES:
            low, high = _RATES[codec]
            rate = (low + (high - low) * settings.quality / 100) * channels
            most = 320 if codec == "libmp3lame" else 512
            context.bit_rate = round(min(rate, most)) * 1000
        added.time_base = context.time_base
        self._channels = channels
        self._resampler = AudioResampler(self._format, self._layout, self._rate)
        self._first = self._sample(span.begin - span.shift) if span else None
        self._end = self._sample(span.end - span.shift) if span else None
        self._shift = span.shift if span else Fraction(0)
        self._clock: int | None = None
        """Of the film's next sample, on the result's clock."""
        self._next: int | None = None
        """Of the next sample to encode."""
        self._encoded = False
        self._waiting: list[NDArray[Any]] = []
        self._held = 0

    @property
    def stream(self) -> Stream:
        """The result's stream."""
        return self._stream

    @classmethod
    def check(cls, source: AudioStream, name: str, settings: SoundSettings) -> tuple[str, ...]:
        """Whether it can be done and the container takes it; asked before any work is done.

        Returns:
            Sentences for the user about what will not be as in the source.

        Raises:
            EncoderUnavailable, SettingInvalid: see ``encoder_of``.
            OutputInvalid: the container does not hold the codec.
        """
        codec = encoder_of(source, settings)
        try:
            with av.open(io.BytesIO(), "w", format=name) as trial:
                encoder = cls(source, trial, settings, None)
                trial.start_encoding()
        except (ValueError, av.FFmpegError) as error:
            raise OutputInvalid(
                f"sound by {codec} cannot be put into a {name} file",
                "a codec and a container that go together: aac fits mp4 and mov, libopus webm, "
                "all fit mkv",
                "choose another --output-audio-encoder, or give the output the suffix .mkv",
            ) from error
        label, notes = f"audio stream {source.index}", []
        if encoder._rate != source.rate:
            notes.append(f"{label}: {codec} takes {encoder._rate} Hz, not {source.rate}")
        if encoder._channels != source.channels:
            notes.append(f"{label}: {codec} takes 2 channels, not {source.channels}")
        return tuple(notes)

    def take(self, packet: Packet[Any]) -> Iterator[Packet[Stream]]:
        """What comes out when a packet of the film goes in. Damaged packets leave silence."""
        try:
            frames = cast(list[AudioFrame], packet.decode())
        except av.InvalidDataError:
            return
        for frame in frames:
            for part in self._resampler.resample(frame):
                yield from self._add(part)

    def finish(self) -> Iterator[Packet[Stream]]:
        """What was held back; the sound of a trimmed film ends with its last picture."""
        for part in self._resampler.resample(None):
            yield from self._add(part)
        if self._held:
            yield from self._encode(np.concatenate(self._waiting))
        yield from self._packets(None)

    def _sample(self, seconds: Fraction) -> int:
        return round(seconds * self._rate)

    def _add(self, frame: AudioFrame) -> Iterator[Packet[Stream]]:
        values: NDArray[Any] = frame.to_ndarray()
        samples = values.T if frame.format.is_planar else values.reshape(-1, self._channels)
        at = self._clock or 0
        if frame.pts is not None and frame.time_base is not None:
            due = self._sample(frame.pts * frame.time_base - self._shift)
            # Times that a container has rounded do not move sound that goes on.
            if self._clock is None or abs(due - at) > _JUMP * self._rate:
                at = due
        self._clock = at + len(samples)
        if self._next is None:
            self._next = at if self._first is None else max(at, self._first)
        missing = at - self._next - self._held
        while missing > 0 and not self._over:
            silence = np.zeros((min(missing, self._rate), self._channels), samples.dtype)
            missing -= len(silence)
            yield from self._push(silence)
        yield from self._push(samples[max(0, -missing) :])
        if not (self._held or self._encoded):
            self._next = None  # nothing yet: it may start late

    @property
    def _over(self) -> bool:
        return self._end is not None and (self._next or 0) + self._held >= self._end

    def _push(self, samples: NDArray[Any]) -> Iterator[Packet[Stream]]:
        if self._end is not None:
            samples = samples[: max(0, self._end - (self._next or 0) - self._held)]
        if not len(samples):
            return
        if self._volume != 1.0:
            louder = samples * self._volume
            whole = np.issubdtype(samples.dtype, np.integer)
            samples = (np.rint(louder) if whole else louder).astype(samples.dtype)
        self._waiting.append(samples)
        self._held += len(samples)
        size = self._stream.codec_context.frame_size or 4096
        if self._held >= size:
            yield from self._blocks(size)

    def _blocks(self, size: int) -> Iterator[Packet[Stream]]:
        samples = np.concatenate(self._waiting)
        whole = len(samples) - len(samples) % size
        self._waiting, self._held = [samples[whole:]], len(samples) - whole
        for start in range(0, whole, size):
            yield from self._encode(samples[start : start + size])

    def _encode(self, samples: NDArray[Any]) -> Iterator[Packet[Stream]]:
        planar = self._format.endswith("p")
        values = samples.T if planar else samples.reshape(1, -1)
        frame = AudioFrame.from_ndarray(
            np.ascontiguousarray(values), format=self._format, layout=self._layout
        )
        frame.sample_rate = self._rate
        frame.time_base = Fraction(1, self._rate)
        frame.pts = self._next
        self._encoded = True
        assert self._next is not None
        self._next += len(samples)
        yield from self._packets(frame)

    def _packets(self, frame: AudioFrame | None) -> Iterator[Packet[Stream]]:
        for packet in self._stream.encode(frame):
            yield cast("Packet[Stream]", packet)


def encoder_of(source: AudioStream, settings: SoundSettings) -> str:
    """FFmpeg's name of the encoder for a stream of sound.

    Raises:
        EncoderUnavailable: this FFmpeg does not have it.
        SettingInvalid: only the volume is to change, and nothing encodes the stream's own codec.
    """
    codec = settings.encoder
    if codec == "copy":
        own = source.codec_context.codec.canonical_name
        if own not in _SAME:
            raise SettingInvalid(
                f"--output-audio-volume {settings.volume} for sound by {own}",
                "an encoder: there is none for this codec",
                "name one with --output-audio-encoder, as in aac or flac",
            )
        codec = _SAME[own]
    try:
        Codec(codec, "w")
    except ValueError as error:
        raise EncoderUnavailable(
            f"this FFmpeg has no encoder {codec}",
            "one that the av wheel carries: aac, flac, libmp3lame, libopus, pcm_s16le, pcm_s32le",
            "choose another --output-audio-encoder, as in libopus",
        ) from error
    return codec


def sampling_rate(codec: str, wanted: int) -> int:
    """The source's where the codec has it, else the next higher one, else the highest."""
    rates = sorted(Codec(codec, "w").audio_rates or [wanted])
    return next((rate for rate in rates if rate >= wanted), rates[-1])


def _layout(codec: str, source: AudioStream) -> str:
    if codec == "libmp3lame" and source.channels > 2:
        return "stereo"
    if source.layout.name and not source.layout.name.endswith("channels"):
        return source.layout.name
    return {1: "mono", 2: "stereo"}.get(source.channels, source.layout.name)


def _sample_format(codec: str, source: AudioStream) -> str:
    """Of the codec's formats one that holds all of the source's."""
    offered = [f.name for f in Codec(codec, "w").audio_formats or []]
    if "fltp" in offered or "flt" in offered:
        return "fltp" if "fltp" in offered else "flt"
    narrow = source.format.name in ("s16", "s16p", "u8", "u8p")
    return "s16" if "s16" in offered and (narrow or len(offered) == 1) else offered[-1]
