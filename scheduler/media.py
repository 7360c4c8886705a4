"""A film's exact index: every frame's PTS, the key frames, the colour and the streams.

The index is made by one demux pass (``actors.prober``) and is the only thing the plan knows of a
film. PTS are integers in units of the time base; they are never turned into floats.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class ColourTags:
    """Colour of the video stream as its numbers say (ITU-T H.273 code points; 2 = unspecified)."""

    primaries: int = 2
    transfer: int = 2
    matrix: int = 2
    full_range: bool = False
    chroma_location: int = 0
    """FFmpeg's AVChromaLocation: 0 unspecified, 1 left, 2 centre, ..."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoIndex:
    """All that the plan and the lanes know of a film."""

    path: str
    """Absolute path of the file."""
    container: str
    stream: int
    """Index of the video stream that is worked on."""
    codec: str
    width: int
    height: int
    """Coded picture size in pixels, before rotation and aspect ratio."""
    pix_fmt: str
    """FFmpeg's name of the format that the decoder gives."""
    time_base: Fraction
    pts: tuple[int, ...]
    """PTS of every shown frame in presentation order, strictly rising, in time-base units."""
    durations: tuple[int, ...]
    """Duration of every frame in time-base units, same order as ``pts``."""
    keyframes: tuple[int, ...]
    """Rising frame indices at which decoding can start (packets flagged as key frames)."""
    average_rate: Fraction
    """Nominal frames a second; for display and defaults only, never for timing."""
    colour: ColourTags
    sample_aspect_ratio: Fraction = Fraction(1)
    rotation: int = 0
    """Clockwise degrees (0, 90, 180, 270) by which a player turns the coded picture."""
    interlaced: bool = False
    top_field_first: bool = True
    """Of an interlaced film: which field is shown first."""
    display_matrix: tuple[int, ...] = ()
    """The container's nine 16.16 and 2.30 fixed-point numbers (FFmpeg's display matrix), if any."""
    mastering_display: str = ""
    """HDR10 mastering display as x265 writes it, ``G(x,y)B(x,y)R(x,y)WP(x,y)L(max,min)``."""
    content_light: str = ""
    """HDR10 light level, ``MaxCLL,MaxFALL`` in candela per square metre."""
    counted: bool = False
    """True where the file has no PTS that can be trusted (AVI with B-frames, raw streams): ``pts``
    was made from the frame rate, and a frame is found by counting from the film's start."""
    entries: tuple[int, ...] = ()
    """Of an index without all of its file's frames: the PTS of every key frame of the file."""
    made_pts: tuple[int, ...] = ()
    """Of such an index that is ``counted``: the PTS that were made for all frames of the file."""

    @property
    def frames(self) -> int:
        return len(self.pts)

    @property
    def seconds(self) -> float:
        """Length for display: last PTS plus its duration, minus the first PTS."""
        return float((self.pts[-1] + self.durations[-1] - self.pts[0]) * self.time_base)

    def time(self, frame: int) -> Fraction:
        """Exact seconds from the first frame's PTS to that of ``frame``."""
        return (self.pts[frame] - self.pts[0]) * self.time_base

    def keyframe_before(self, frame: int) -> int:
        """The last key frame at or before ``frame``; frame 0 where there is none."""
        at = bisect_right(self.keyframes, frame)
        return self.keyframes[at - 1] if at else 0
