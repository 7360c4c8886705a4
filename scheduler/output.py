"""What becomes of the film beside its faces: which frames, which size, which sound."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

SOFTWARE_ENCODERS: Final = ("libx264", "libx264rgb", "libx265", "libsvtav1", "libvpx-vp9", "ffv1")
HARDWARE_ENCODERS: Final = ("h264_nvenc", "hevc_nvenc", "h264_qsv", "hevc_qsv")
"""Those that need a device of their own."""
VIDEO_ENCODERS: Final = (*SOFTWARE_ENCODERS, *HARDWARE_ENCODERS)
"""All of them go into MP4 segments, which keep every PTS exactly (Matroska would round)."""
AUDIO_ENCODERS: Final = (
    "copy",
    "flac",
    "aac",
    "libmp3lame",
    "libopus",
    "libvorbis",
    "pcm_s16le",
    "pcm_s32le",
)
STILLS: Final = (".png", ".jpg", ".jpeg", ".webp", ".tiff", ".tif", ".bmp")
"""Endings of files that are one picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CutSettings:
    """Which of the film's frames the result shows, and when."""

    start: int = 0
    """First frame of the film that is shown."""
    stop: int | None = None
    """The frame after the last one that is shown; None: behind the film's last."""
    rate: Fraction | None = None
    """Frames a second of the result; None: each frame at its own time."""

    @property
    def whole(self) -> bool:
        """The whole film, frame for frame."""
        return self == CutSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundSettings:
    """What becomes of the film's sound."""

    encoder: str = "copy"
    """One of AUDIO_ENCODERS; copy: packet by packet, as it is."""
    quality: int = 80
    """0..100, of encoders with loss."""
    volume: int = 100
    """Percent of the film's."""

    @property
    def copied(self) -> bool:
        return self.encoder == "copy" and self.volume == 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSettings:
    """The result where the target is a picture."""

    quality: int = 95
    """0..100, of formats with loss."""
    scale: float = 1.0
    """Size of the result over the picture's."""
