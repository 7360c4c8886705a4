"""Which frames the result has, and how it is encoded."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field, PlainSerializer

from farm.options.fields import Choice, Flag, Percent, Section
from scheduler.output import AUDIO_ENCODERS, VIDEO_ENCODERS


def _rate(value: object) -> object:
    """``25``, ``23.976`` and ``30000/1001`` as an exact number of frames a second.

    Rates written with a fraction of a thousandth are what they stand for: 23.976 is 24000/1001.
    """
    if value is None or isinstance(value, Fraction):
        return value
    try:
        rate = Fraction(str(value))
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError("must be a rate, as in 25, 23.976 or 30000/1001") from error
    film = Fraction(round(rate * Fraction(1001, 1000)) * 1000, 1001)
    rate = film if "/" not in str(value) and 0 < abs(rate - film) < Fraction(1, 1000) else rate
    if not Fraction(1, 10) <= rate <= 1000:
        raise ValueError("must be between 0.1 and 1000 frames a second")
    return rate


def _plain(value: Fraction | None) -> str | None:
    return None if value is None else str(value)


Rate = Annotated[Fraction | None, BeforeValidator(_rate), PlainSerializer(_plain)]
Scale = Annotated[float, Field(ge=0.25, le=8)]


class TrimFrame(Section):
    """Which of the film's frames are worked on."""

    panel: ClassVar[str] = "What is kept of the film"
    start: Annotated[
        int | None,
        Field(ge=0),
        Flag(
            ("--trim-frame-start",),
            "First frame of the result, counted from 0. Sound, subtitles and chapters are trimmed "
            "with it.",
            "N",
            unset="the first",
        ),
    ] = None
    end: Annotated[
        int | None,
        Field(ge=1),
        Flag(
            ("--trim-frame-end",),
            "The frame after the last one of the result.",
            "N",
            unset="behind the last",
        ),
    ] = None


class Encoder(Section):
    """How the pictures are encoded."""

    panel: ClassVar[str] = "How it is encoded"
    codec: Annotated[
        str,
        Choice(VIDEO_ENCODERS),
        Flag(("--encoder", "--output-video-encoder"), "The codec; ffv1 is lossless.", "CODEC"),
    ] = "libx264"
    preset: Annotated[
        str,
        Flag(
            ("--preset", "--output-video-preset"),
            "The codec's own word for speed, as in `veryfast` or `8`; x264's words serve all.",
            "WORD",
            unset="by the codec",
        ),
    ] = ""
    quality: Annotated[
        int | None,
        Field(ge=0, le=63),
        Flag(
            ("--quality", "-q"),
            "Constant rate factor on the codec's scale; lower is better.",
            "CRF",
            unset="by the codec; libx264: 18",
        ),
    ] = None
    pix_fmt: Annotated[
        str,
        Flag(
            ("--pix-fmt",),
            "Pixel format of the result, as in yuv420p10le.",
            "NAME",
            unset="the film's own",
        ),
    ] = ""
    threads: Annotated[
        int,
        Field(ge=1, le=64),
        Flag(("--encoder-threads",), "Of the encoder; other numbers may give other bytes.", "N"),
    ] = 1


class OutputVideo(Section):
    """What of the result is not as in the film."""

    panel: ClassVar[str] = "How it is encoded"
    quality: Annotated[
        int | None,
        Field(ge=0, le=100),
        Flag(
            ("--output-video-quality",),
            "Instead of --quality, on FaceFusion's scale: 0 to 100, higher is better.",
            "PERCENT",
        ),
    ] = None
    fps: Annotated[
        Rate,
        Flag(
            ("--output-video-fps",),
            "Frames a second of the result, as in 25 or 30000/1001. Frames are left out or shown "
            "again; the length stays.",
            "RATE",
            unset="the film's times, exactly",
        ),
    ] = None
    scale: Annotated[
        Scale,
        Flag(("--output-video-scale",), "Size of the result over the film's.", "FACTOR"),
    ] = 1.0


class OutputAudio(Section):
    """What becomes of the sound."""

    panel: ClassVar[str] = "How it is encoded"
    encoder: Annotated[
        str,
        Choice(AUDIO_ENCODERS),
        Flag(("--output-audio-encoder",), "copy: bit for bit as in the film.", "CODEC"),
    ] = "copy"
    quality: Annotated[
        Percent,
        Flag(("--output-audio-quality",), "Of sound that is encoded with loss.", "PERCENT"),
    ] = 80
    volume: Annotated[
        Percent,
        Flag(
            ("--output-audio-volume",),
            "Loudness over the film's; below 100 the sound is encoded anew.",
            "PERCENT",
        ),
    ] = 100


class OutputImage(Section):
    """The result where the target is a picture."""

    panel: ClassVar[str] = "How it is encoded"
    quality: Annotated[
        Percent, Flag(("--output-image-quality",), "Of a JPEG or WebP.", "PERCENT")
    ] = 95
    scale: Annotated[
        Scale, Flag(("--output-image-scale",), "Size of the result over the picture's.", "FACTOR")
    ] = 1.0
