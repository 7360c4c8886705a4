"""What became of each face in each frame: swapped, or left as it was, and why.

Nothing is guessed from pictures: the stitched table says who was to be swapped, the render says
what it pasted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from scheduler.records import JobRecord

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
