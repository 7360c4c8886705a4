"""Who is in the film: tracks that show the same person are one identity, over all cuts.

Average-linkage clustering of the tracks' embeddings (Sokal & Michener, 1958; the distances of
merged groups by Lance & Williams, 1967), bottom up, until no two groups are nearer than a
threshold. Tracks that share frames are two people and never meet in one identity. Ties go to the
earlier track, so the answer is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

GOOD: Final = 0.2
"""Portrait quality below which a track joins an identity but never makes one."""
TOGETHER: Final = 3
"""Frames that two tracks must share to be two people; fewer may be one face found twice. A track
without a good portrait joins nobody with whom it shares even one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingSpace:
    """How far the embeddings of a recogniser lie apart, by Euclidean distance."""

    same: float
    """Of two pictures, at which they show one person as likely as not; below it, a track without a
    good portrait joins the nearest identity."""
    cluster: float
    """Mean of two groups, below which they are one identity. Two letters for one person can be
    given one face by the user, one letter for two people cannot be taken apart: so less than
    ``same``."""
    stranger: float
    """Of two faces that are never one track, wherever they are."""
    unit: bool
    """Embeddings have length 1: only their direction says something."""

    def euclidean(self, share: float) -> float:
        """The distance here that FaceFusion's users write as a number of 0..1: half of 1 - cosine.

        Of embeddings that are not of length 1 there is none; its default 0.3 is ``same`` then.
        """
        return 2 * float(np.sqrt(share)) if self.unit else share / 0.3 * self.same

    def mean(self, embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
        """One embedding [n] for several [m, n] of one person."""
        mean: NDArray[np.float64] = np.mean(embeddings, axis=0, dtype=np.float64)
        return mean / max(float(np.linalg.norm(mean)), 1e-12) if self.unit else mean


SPACES: Final[Mapping[str, EmbeddingSpace]] = {
    # dlib's author takes two pictures below 0.6 for one person. On the sample clips pictures of one
    # person are 0.43 apart on average and 0.52 for shots with and without a hand on the face,
    # pictures of two people 0.80 (nearest 0.63, but for two sisterly ones 0.50).
    "dlib": EmbeddingSpace(same=0.6, cluster=0.55, stranger=0.8, unit=False),
    # Of unit vectors d = sqrt(2 (1 - cosine)). FaceFusion's default distance 0.3 is half of
    # 1 - cosine: 1.095 here. By the published scores of the network two strangers have a cosine
    # near 0, 1.41 apart; not measured with our portraits.
    "arcface": EmbeddingSpace(same=1.095, cluster=1.05, stranger=1.3, unit=True),
}
"""By the names of ``scheduler.jobs.JobSpec.recognizer``."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrackLooks:
    """What the clustering knows of a track."""

    track: int
    frames: int
    """In how many frames it is."""
    first: int
    """Its first frame."""
    quality: float
    """Of its best portrait; 0 without one."""
    embedding: NDArray[np.float64] | None
    """Mean over its best portraits; None without one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Identity:
    """One person of the film."""

    letter: str
    """A for the one who is seen longest, then B, ... Z, AA, ..."""
    tracks: tuple[int, ...]
    """Rising."""
    frames: int
    """Frames in which the person is seen."""
    first: int
    embedding: NDArray[np.float64]
    """Mean over the tracks, each by its portraits."""


def letters(number: int) -> str:
    """0 -> A, 25 -> Z, 26 -> AA."""
    name = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        name = chr(65 + rest) + name
    return name


def find_identities(
    tracks: Sequence[TrackLooks],
    together: Mapping[tuple[int, int], int],
    space: EmbeddingSpace = SPACES["dlib"],
) -> tuple[Identity, ...]:
    """The people of the film, the one seen longest first.

    Memory grows with the square of the tracks (8 bytes a pair: 32 MB for 2000 tracks).

    Args:
        tracks: of the whole film.
        together: how many frames two tracks share, by their numbers, the lower first.
        space: of the embeddings.

    Returns:
        Tracks without a usable portrait that are near no identity belong to none.
    """
    seen = [t for t in tracks if t.embedding is not None]
    makers = [t for t in seen if t.quality >= GOOD]
    apart = {pair for pair, frames in together.items() if frames >= TOGETHER}
    groups = [[makers[at] for at in group] for group in _cluster(makers, apart, space.cluster)]
    for track in sorted((t for t in seen if t.quality < GOOD), key=lambda t: t.track):
        free = [
            (_away(group, track, space), number)
            for number, group in enumerate(groups)
            if not any(
                (min(track.track, other.track), max(track.track, other.track)) in together
                for other in group
            )
        ]
        if free and min(free)[0] < space.same:
            groups[min(free)[1]].append(track)
    order = sorted(
        groups,
        key=lambda group: (-sum(t.frames for t in group), min(t.track for t in group)),
    )
    return tuple(
        Identity(
            letter=letters(number),
            tracks=tuple(sorted(t.track for t in group)),
            frames=sum(t.frames for t in group),
            first=min(t.first for t in group),
            embedding=_mean(group, space),
        )
        for number, group in enumerate(order)
    )


def _cluster(
    tracks: Sequence[TrackLooks], apart: set[tuple[int, int]], threshold: float
) -> list[list[int]]:
    """Groups of places in ``tracks``."""
    if not tracks:
        return []
    points = np.array([t.embedding for t in tracks]).reshape(len(tracks), -1)
    far = np.full((len(tracks), len(tracks)), np.inf)
    for at in range(1, len(tracks)):
        far[at, :at] = np.sqrt(np.square(points[:at] - points[at]).sum(axis=1))
        far[:at, at] = far[at, :at]
    place = {t.track: at for at, t in enumerate(tracks)}
    for one, other in apart:
        if one in place and other in place:
            far[place[one], place[other]] = far[place[other], place[one]] = np.inf
    members = [[at] for at in range(len(tracks))]
    partner, nearest = far.argmin(axis=1), far.min(axis=1)
    while True:
        one = int(np.argmin(nearest))
        if not nearest[one] < threshold:
            break
        one, other = sorted((one, int(partner[one])))
        a, b = len(members[one]), len(members[other])
        # An infinity stays one: who was never to meet a part never meets the whole.
        merged = (a * far[one] + b * far[other]) / (a + b)
        merged[[one, other]] = np.inf
        far[one], far[:, one] = merged, merged
        far[other], far[:, other] = np.inf, np.inf
        members[one] += members[other]
        members[other] = []
        # A mean is no less than the lesser of the two: only who was nearest to one of them looks
        # for another partner.
        for row in np.flatnonzero((partner == one) | (partner == other) | (nearest == np.inf)):
            partner[row], nearest[row] = far[row].argmin(), far[row].min()
        for row in np.array((one, other)):
            partner[row], nearest[row] = far[row].argmin(), far[row].min()
    return [sorted(group) for group in members if group]


def _mean(group: Sequence[TrackLooks], space: EmbeddingSpace) -> NDArray[np.float64]:
    good = [t.embedding for t in group if t.quality >= GOOD and t.embedding is not None]
    return space.mean(np.array(good))


def _away(group: Sequence[TrackLooks], track: TrackLooks, space: EmbeddingSpace) -> float:
    assert track.embedding is not None
    return float(np.linalg.norm(_mean(group, space) - track.embedding))
