"""Which faces get which person's face: a pure choice over tracks, never over single frames.

The words are those that users of other tools know (many, one, reference; left-right, ...). With
"one", a track's rank is its place, size or score on average over the track, and a frame's face is
the first in rank of those that it has: the choice does not jump between two faces of about one
size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scheduler.classes import ClassFilter, FaceClass
from scheduler.errors import IdentityUnknown
from scheduler.identities import EmbeddingSpace, Identity
from scheduler.jobs import FaceChoice, Role

MODES: Final = ("many", "one", "reference")
ORDERS: Final[Mapping[str, tuple[str, int]]] = {
    "left-right": ("x", 1),
    "right-left": ("x", -1),
    "top-bottom": ("y", 1),
    "bottom-top": ("y", -1),
    "small-large": ("area", 1),
    "large-small": ("area", -1),
    "best-worst": ("score", -1),
    "worst-best": ("score", 1),
}
"""Words of an order: the fact of a track that it sorts by, and 1 for rising."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackFacts:
    """A track on average over its rows, or a face in one frame."""

    x: float
    """Centre of the box in upright display pixels."""
    y: float
    area: float
    score: float
    """The detector's."""


def cast_people(roles: Sequence[Role], identities: Sequence[Identity]) -> dict[int, int]:
    """{track: number of the role} for the tracks of identities that have one.

    Raises:
        IdentityUnknown: a role for a letter that nobody in the film has.
    """
    by_letter = {identity.letter: identity for identity in identities}
    people: dict[int, int] = {}
    for number, role in enumerate(roles):
        if role.identity not in by_letter:
            raise IdentityUnknown(
                f"--swap {role.identity}=...: the film has no {role.identity}",
                f"one of {', '.join(by_letter)}" if by_letter else "a film with faces",
                "see who is who with `farm faces VIDEO`",
            )
        people |= dict.fromkeys(by_letter[role.identity].tracks, number)
    return people


def refer(
    references: NDArray[np.floating], identities: Sequence[Identity], distance: float
) -> dict[int, int]:
    """{track: 0} for the tracks of identities that look like the reference.

    Args:
        references: [n, d] embeddings of pictures of one person; the nearest counts.
        distance: largest distance that is still the person.

    Raises:
        IdentityUnknown: nobody in the film is near enough.
    """
    far = {
        identity.letter: float(
            np.sqrt(np.square(references - identity.embedding).sum(axis=1)).min()
        )
        for identity in identities
    }
    found = [identity for identity in identities if far[identity.letter] <= distance]
    if not found:
        shown = ", ".join(f"{letter} {value:.2f}" for letter, value in far.items())
        raise IdentityUnknown(
            "nobody in the film looks like the reference"
            + (f" (distances: {shown})" if shown else ": it has no faces"),
            f"a distance of at most {distance:g}",
            "see who is who with `farm faces VIDEO`, or raise --reference-distance",
        )
    return {track: 0 for identity in found for track in identity.tracks}


def refer_to_frame(
    choice: FaceChoice,
    rows: Sequence[tuple[int, TrackFacts]],
    identities: Sequence[Identity],
    space: EmbeddingSpace,
) -> dict[int, int]:
    """{track: 0} for the person that a frame shows at a position, and for those who look alike.

    Args:
        choice: with a ``reference_frame``.
        rows: (track, facts of this frame) of the frame's faces that may be swapped.
        identities: of the film.
        space: of their embeddings.

    Raises:
        IdentityUnknown: the frame shows fewer faces.
    """
    fact, sign = ORDERS[choice.order]
    ranked = sorted(rows, key=lambda row: (sign * getattr(row[1], fact), row[0]))
    if choice.reference_position >= len(ranked):
        raise IdentityUnknown(
            f"frame {choice.reference_frame} of the film shows {len(ranked)} faces to choose from",
            f"a face at position {choice.reference_position} from 0, by {choice.order}",
            "choose another --reference-frame-number or --reference-face-position",
        )
    track = ranked[choice.reference_position][0]
    for identity in identities:
        if track in identity.tracks:
            distance = space.same if choice.distance is None else choice.distance
            return refer(identity.embedding[None], identities, distance)
    return {track: 0}  # never seen well enough to be anybody: at least itself


def keep_classes(
    people: Mapping[int, int], classes: Mapping[int, FaceClass], wanted: ClassFilter
) -> dict[int, int]:
    """Those of {track: person} whose track fits the filter; all when it asks nothing.

    Args:
        classes: by track; a track without one fits no filter.

    Raises:
        IdentityUnknown: nobody fits.
    """
    if not wanted.any:
        return dict(people)
    kept = {
        track: person
        for track, person in people.items()
        if track in classes and wanted.keeps(classes[track])
    }
    if not kept:
        seen = sorted({str(classes[track]) for track in people if track in classes})
        raise IdentityUnknown(
            "nobody in the film looks like what the filter asks for"
            + (f" (there are: {'; '.join(seen)})" if seen else ": it has no faces"),
            str(wanted),
            "widen the ages, gender or race of --face-selector-..., or leave them out",
        )
    return kept


def rank(tracks: Mapping[int, TrackFacts], order: str) -> dict[int, int]:
    """{track: its rank in an order of ``ORDERS``, 0 first}; ties go to the earlier track."""
    fact, sign = ORDERS[order]
    ranked = sorted(tracks, key=lambda track: (sign * getattr(tracks[track], fact), track))
    return {track: place for place, track in enumerate(ranked)}


def choose_people(
    choice: FaceChoice,
    frames: NDArray[np.int64],
    tracks: NDArray[np.int32],
    people: Mapping[int, int] | None,
    ranks: Mapping[int, int],
) -> NDArray[np.int32]:
    """The person of each row, -1 where the face stays as it is.

    Args:
        choice: which of the faces that may be swapped are.
        frames, tracks: [n] of the rows, frames rising and whole.
        people: {track: person} of the faces that may be swapped; None: all, with person 0.
        ranks: from ``rank``, for the mode "one".
    """
    if people is None:
        persons = np.zeros(len(tracks), np.int32)
    else:
        persons = np.array([people.get(track, -1) for track in tracks.tolist()], np.int32)
    if choice.mode != "one":
        return persons
    best: dict[int, tuple[int, int]] = {}
    for at, (frame, track) in enumerate(zip(frames.tolist(), tracks.tolist(), strict=True)):
        if persons[at] >= 0:
            best[frame] = min(best.get(frame, (len(ranks), at)), (ranks[track], at))
    chosen = np.full(len(tracks), -1, np.int32)
    first = [at for _, at in best.values()]
    chosen[first] = persons[first]
    return chosen
