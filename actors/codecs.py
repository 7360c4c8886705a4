"""What each video codec takes: pixel formats, quality, speed and the options of its library."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

import av
from av.codec import Codec, CodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.format import VideoFormat

from actors.formats import picture_format, pix_fmt_of
from scheduler.errors import EncoderUnavailable, SettingInvalid
from scheduler.jobs import EncoderSettings
from scheduler.media import VideoIndex
from scheduler.output import HARDWARE_ENCODERS, VIDEO_ENCODERS

_REPACKED: Final = {
    ("ffv1", "gbrp"): "bgr0",
    ("libx264rgb", "gbrp"): "bgr0",
    ("h264_qsv", "yuv420p"): "nv12",
    ("hevc_qsv", "yuv420p"): "nv12",
    ("hevc_qsv", "yuv420p10le"): "p010le",
    ("h264_nvenc", "yuv420p10le"): "p010le",
    ("hevc_nvenc", "yuv420p10le"): "p010le",
}
"""Stand-ins, without loss, for formats that a codec stores under another layout only."""

_WHOLE_CHROMA: Final = frozenset(
    {"libx264", "libx265", "libvpx-vp9", "h264_nvenc", "hevc_nvenc", "h264_qsv", "hevc_qsv"}
)
"""Codecs that crop by whole chroma samples, so that odd sizes need 4:4:4."""

_COARSEST: Final = {"libsvtav1": 63, "libvpx-vp9": 63}
"""The largest CRF of each codec where it is not 51."""
_LOSSLESS: Final = frozenset({"ffv1"})

_VP9_SPEEDS: Final = {
    "ultrafast": "5",
    "superfast": "5",
    "veryfast": "5",
    "faster": "4",
    "fast": "4",
    "medium": "3",
    "slow": "2",
    "slower": "1",
    "veryslow": "0",
    "placebo": "0",
}
"""x264's names on libvpx's scale of speeds that look ahead."""
_NVENC_PRESETS: Final = {
    "ultrafast": "p1",
    "superfast": "p1",
    "veryfast": "p2",
    "faster": "p3",
    "fast": "p4",
    "medium": "p5",
    "slow": "p6",
    "slower": "p7",
    "veryslow": "p7",
}
"""x264's names on NVENC's scale."""

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


def encoder_pix_fmt(index: VideoIndex, settings: EncoderSettings) -> str:
    """FFmpeg's name of the pixel format that the codec is given.

    The film's own working format unless the settings name another, which swscale then converts to.

    Raises:
        SettingInvalid: unknown codec, a format or picture size that it does not take, or a quality
            off its scale.
    """
    if settings.codec not in VIDEO_ENCODERS:
        raise SettingInvalid(
            f"encoder {settings.codec!r}",
            f"one of {', '.join(VIDEO_ENCODERS)}",
            "choose one of these",
        )
    try:
        offered = [f.name for f in Codec(settings.codec, "w").video_formats or ()]
    except ValueError as error:
        raise SettingInvalid(
            f"this FFmpeg has no encoder {settings.codec}",
            f"one of {', '.join(VIDEO_ENCODERS)}",
            "choose another one, or install the av wheel from PyPI",
        ) from error
    own = settings.pix_fmt or pix_fmt_of(picture_format(index))
    if settings.codec == "libx264rgb" and own.startswith(("yuv", "gray")) and not settings.pix_fmt:
        own = "rgb24"  # who asks for this codec asks for the conversion
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
    most = _COARSEST.get(settings.codec, 51)
    if settings.codec not in _LOSSLESS and not 0 <= settings.quality <= most:
        raise SettingInvalid(
            f"quality {settings.quality} for {settings.codec}",
            f"a CRF from 0 to {most}, lower is better",
            "leave the quality at its default",
        )
    return chosen


def is_hardware(codec: str) -> bool:
    """Whether a codec needs a device of its own."""
    return codec in HARDWARE_ENCODERS


def no_device(codec: str, said: str) -> EncoderUnavailable:
    """The error for a hardware codec that does not open."""
    maker = "an NVIDIA GPU with an encoder and its driver" if "nvenc" in codec else "an Intel GPU"
    return EncoderUnavailable(
        f"{codec} finds no device on this machine ({said})",
        maker,
        "choose --encoder libx264 or libx265, or run on a machine that has one",
    )


def check_device(codec: str) -> None:
    """Open a hardware codec once, so that a missing device is known before any work is done.

    Raises:
        EncoderUnavailable: there is none.
    """
    if not is_hardware(codec):
        return
    try:
        trial = CodecContext.create(codec, "w")
        assert isinstance(trial, VideoCodecContext)
        trial.width, trial.height, trial.pix_fmt = 320, 256, "nv12"
        trial.time_base = Fraction(1, 25)
        trial.open()
    except (av.FFmpegError, ValueError) as error:
        raise no_device(codec, str(error)) from error


def codec_options(index: VideoIndex, settings: EncoderSettings) -> dict[str, str]:
    """The options of a codec's library for segments that can be joined, as FFmpeg names them."""
    quality, preset, threads = str(settings.quality), settings.preset, settings.threads
    hdr = []
    if index.mastering_display:
        hdr.append(("mastering-display", "master-display", index.mastering_display))
    if index.content_light:
        hdr.append(("cll", "max-cll", index.content_light))
    if settings.codec in ("libx264", "libx264rgb"):
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
    if settings.codec == "libvpx-vp9":
        speed = preset if preset.isdigit() else _VP9_SPEEDS.get(preset, preset)
        return {"crf": quality, "deadline": "good", "cpu-used": speed, "row-mt": "0"}
    if settings.codec.endswith("_nvenc"):
        speed = _NVENC_PRESETS.get(preset, preset)
        return {"rc": "vbr", "cq": quality, "preset": speed, "bf": "0", "forced-idr": "1"}
    if settings.codec.endswith("_qsv"):
        return {"global_quality": quality, "preset": preset, "bf": "0"}
    # The number of slices follows from the picture size, not from the threads.
    return {"level": "3", "slicecrc": "1", "g": "1"}
