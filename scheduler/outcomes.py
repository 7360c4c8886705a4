"""What became of each face in each frame: swapped, or left as it was, and why.

Nothing is guessed from pictures: the stitched table says who was to be swapped, the render says
what it pasted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scheduler.records import JobRecord
from scheduler.runs import overlaps

FADED: Final = 0.9
"""A blend mask whose largest value is below lets the old face shine through."""
COVERED: Final = 0.05
"""Share of the blend mask behind a hand from which on a face counts as partly hidden."""


class Outcome(StrEnum):
    """Of one face in one frame."""

    SWAPPED = "swapped"
    FADED = "faded"
    """Swapped, but the old face shines through: it is turned far aside."""
    COVERED = "covered"
    """Swapped where it can be seen; some of it is behind a hand."""
    TURNED = "turned"
    """Left alone: turned too far aside for the swapper."""
    HIDDEN = "hidden"
    """Left alone: wholly behind a hand."""
    OUTSIDE = "outside"
    """Left alone: outside the picture."""
    EMPTY = "empty"
    """Chosen, but no pixel was touched."""
    NOT_CAST = "not-cast"
    """Left alone: this person has no role in the job."""
    NOT_REFERENCE = "not-reference"
    """Left alone: not the person of the reference."""
    NOT_FIRST = "not-first"
    """Left alone: one face a frame was asked for, and another came first."""
    UNKNOWN = "unknown"
    """Left alone: too small, blurred or turned to say whose face it is."""
    LOST = "lost"
    """Left alone: not found in this frame, though in frames before and after."""

    @property
    def swapped(self) -> bool:
        return self in (Outcome.SWAPPED, Outcome.FADED, Outcome.COVERED)

    @property
    def by_choice(self) -> bool:
        """Left alone because nobody asked for it."""
        return self in (
            Outcome.NOT_CAST, Outcome.NOT_REFERENCE, Outcome.NOT_FIRST, Outcome.UNKNOWN,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Pasted:
    """What the render did with one face."""

    touched: bool
    """Whether any pixel was."""
    strength: float
    """Largest value of the swapper's blend mask, 0..1."""
    hidden: float
    """Share of the mask that was taken away for what is before the face."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Frames [start, stop) of a track with one outcome."""

    start: int
    stop: int
    outcome: Outcome

    @property
    def frames(self) -> int:
        return self.stop - self.start


def outcome_of(
    pasted: Pasted | None,
    person: int,
    letter: str,
    box: Sequence[float],
    size: tuple[int, int],
    record: JobRecord,
) -> Outcome:
    """What became of a face.

    Args:
        pasted: what the render did; None: nothing, for it was not to be swapped.
        person: who was put on it; -1: nobody.
        letter: of the identity that its track belongs to; empty: unknown.
        box: x0 y0 x1 y1 in coded pixels.
        size: width and height of the picture.
    """
    if person < 0:
        return _unchosen(letter, record)
    if pasted is None:
        return Outcome.EMPTY
    if pasted.touched:
        if pasted.hidden >= COVERED:
            return Outcome.COVERED
        return Outcome.SWAPPED if pasted.strength >= FADED else Outcome.FADED
    if box[2] <= 0 or box[3] <= 0 or box[0] >= size[0] or box[1] >= size[1]:
        return Outcome.OUTSIDE
    if pasted.strength <= 0:
        return Outcome.TURNED
    return Outcome.HIDDEN if pasted.hidden >= COVERED else Outcome.EMPTY


def _unchosen(letter: str, record: JobRecord) -> Outcome:
    if record.choice.mode == "one":
        return Outcome.NOT_FIRST
    if not letter:
        return Outcome.UNKNOWN
    return Outcome.NOT_CAST if record.roles else Outcome.NOT_REFERENCE


def spans(outcomes: Mapping[int, Outcome]) -> tuple[Span, ...]:
    """A track's frames as spans without gaps, from its first frame to its last.

    Args:
        outcomes: by frame, rising; frames that lack between are ``Outcome.LOST``, but in the
            middle of frames that nobody asked for, which are like these.
    """
    found: list[Span] = []
    for frame, outcome in outcomes.items():
        if found and found[-1].stop < frame:
            same = outcome.by_choice and found[-1].outcome is outcome
            _grow(found, found[-1].stop, frame, outcome if same else Outcome.LOST)
        _grow(found, frame, frame + 1, outcome)
    return tuple(found)


def _grow(found: list[Span], start: int, stop: int, outcome: Outcome) -> None:
    if found and found[-1].outcome is outcome:
        start = found.pop().start
    found.append(Span(start=start, stop=stop, outcome=outcome))


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """A place where a face may have become somebody else."""

    frame: int
    kind: str
    """person: the face put on a track changes; handover: a face goes on under another track and
    gets another face; looks: a track before and after looks like two people."""
    track: int
    to: int
    """The track that goes on; the same for the other kinds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackEnd:
    """One end of a track."""

    frame: int
    box: NDArray[np.float64]
    """[4] x0 y0 x1 y1."""
    person: int


def person_switches(track: int, frames: Sequence[int], persons: Sequence[int]) -> list[Switch]:
    """Frames in which the face put on a track is another one than in its frame before."""
    return [
        Switch(frame=now, kind="person", track=track, to=track)
        for (_, before), (now, person) in pairwise(zip(frames, persons, strict=True))
        if before != person
    ]


HANDOVER: Final = 12
"""Frames that may lie between a track's end and the one that goes on in its place."""
OVERLAP: Final = 0.3
"""Least intersection over union of the two ends' boxes."""


def handovers(
    firsts: Mapping[int, TrackEnd], lasts: Mapping[int, TrackEnd], cuts: Sequence[int]
) -> list[Switch]:
    """Where one track ends and another begins in its place, with another face put on it.

    A track that breaks and goes on with the same face is no switch: nothing is to be seen of it.

    Args:
        firsts, lasts: first and last row of each track.
        cuts: rising frames that start a shot; nothing goes on over a cut.
    """
    shots = np.asarray(cuts, np.int64)
    begins = sorted(firsts.items(), key=lambda item: (item[1].frame, item[0]))
    starts = np.array([end.frame for _, end in begins])
    found = []
    for track, end in sorted(lasts.items()):
        low, high = np.searchsorted(starts, [end.frame + 1, end.frame + HANDOVER + 1])
        near = []
        for other, begin in begins[low:high]:
            overlap = _overlap(end.box, begin.box)
            same_shot = np.searchsorted(shots, end.frame, "right") == np.searchsorted(
                shots, begin.frame, "right"
            )
            if same_shot and overlap >= OVERLAP:
                near.append((begin.frame, -overlap, other))
        if near:
            frame, _, other = min(near)
            if firsts[other].person != end.person:
                found.append(Switch(frame=frame, kind="handover", track=track, to=other))
    return found


APART: Final = 0.6
"""Distance of the mean embeddings before and after from which on they show two people."""


def looks_switch(
    track: int, frames: Sequence[int], embeddings: NDArray[np.floating]
) -> Switch | None:
    """Where a track begins to look like somebody else, if it does.

    Args:
        frames: [n] rising.
        embeddings: [n, 128] of the *source's* face in these frames.
    """
    best, at = 0.0, 0
    for split in range(2, len(frames) - 1):
        before, after = embeddings[:split].mean(axis=0), embeddings[split:].mean(axis=0)
        distance = float(np.linalg.norm(before - after))
        if distance > best:
            best, at = distance, split
    if best < APART:
        return None
    return Switch(frame=frames[at], kind="looks", track=track, to=track)


def _overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(overlaps(a[None], b[None])[0, 0])
