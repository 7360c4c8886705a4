"""Where a face became somebody else: in what is put on it, or in the film itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scheduler.boxes import overlap

HANDOVER: Final = 12
"""Frames that may lie between a track's end and the one that goes on in its place."""
OVERLAP: Final = 0.3
"""Least intersection over union of the two ends' boxes."""
APART: Final = 0.6
"""Distance of the mean embeddings before and after from which on they show two people."""


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
            shared = overlap(end.box, begin.box)
            same_shot = np.searchsorted(shots, end.frame, "right") == np.searchsorted(
                shots, begin.frame, "right"
            )
            if same_shot and shared >= OVERLAP:
                near.append((begin.frame, -shared, other))
        if near:
            frame, _, other = min(near)
            if firsts[other].person != end.person:
                found.append(Switch(frame=frame, kind="handover", track=track, to=other))
    return found


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
