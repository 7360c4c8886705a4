"""How far the faces of a film are from the truth, and how they get there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from known_films import Film, Seen
from known_motion import LIDS, MOUTH, Array, Response

from scheduler.tracks import FaceObservation


@dataclass(frozen=True, slots=True, eq=False)
class _Sight:
    """One person in one frame. Lengths in parts of the distance between the eyes."""

    track: int
    wrong: Array
    """[468, 2] from the truth."""
    truth: Array
    """[468, 2]"""
    lips: float
    lids: float
    blink: float


@dataclass(slots=True, eq=False)
class Score:
    """What one contender made of one film."""

    film: Film
    sights: dict[int, dict[int, _Sight]] = field(default_factory=dict)
    """Person -> frame -> sight."""

    def add(self, who: Seen, face: FaceObservation, response: Response | None) -> None:
        truth = who.face.truth(who.pose, response)
        points = face.landmarks.astype(np.float64)
        self.sights.setdefault(who.person, {})[face.frame] = _Sight(
            track=face.track,
            wrong=(points - truth) / who.iod,
            truth=truth / who.iod,
            lips=_gap(points, MOUTH) / who.iod,
            lids=sum(_gap(points, pair) for pair in LIDS) / len(LIDS) / who.iod,
            blink=who.pose.blink,
        )

    def found(self) -> int:
        return sum(len(sights) for sights in self.sights.values())

    def there(self) -> int:
        """How many faces there are to be found."""
        frames = range(self.film.frames)
        return sum(not who.hidden for at in frames for who in self.film.scene(float(at))[1])

    def switches(self) -> int:
        """How often a person's track changes within a shot, or a track goes on with another."""
        count, owner = 0, {}
        for person, sights in self.sights.items():
            before = None
            for at, sight in sorted(sights.items()):
                shot = sum(cut <= at for cut in self.film.cuts)
                if before and before[0] == shot and before[1] != sight.track:
                    count += 1
                before = (shot, sight.track)
                count += owner.setdefault(sight.track, person) != person
        return count

    def triples(self) -> Iterable[tuple[_Sight, _Sight, _Sight]]:
        """Three frames in a row of one person in one shot."""
        for sights in self.sights.values():
            for at in sights:
                if {at, at + 1} & set(self.film.cuts) or not {at - 1, at + 1} <= sights.keys():
                    continue
                yield sights[at - 1], sights[at], sights[at + 1]


def error(scores: Sequence[Score]) -> float:
    """Percent of the distance between the eyes, root mean square."""
    wrong = [
        s.wrong for score in scores for person in score.sights.values() for s in person.values()
    ]
    return 100 * _rms(wrong)


def jitter(scores: Sequence[Score]) -> float:
    """Percent of the distance between the eyes, of the second difference of what is wrong."""
    return 100 * _rms(
        [a.wrong - 2 * b.wrong + c.wrong for score in scores for a, b, c in score.triples()]
    )


def lag(scores: Sequence[Score]) -> float:
    """Frames by which the motion is late: least squares of what is wrong on the true speed."""
    late = speed = 0.0
    for score in scores:
        for before, now, after in score.triples():
            motion = (after.truth - before.truth) / 2
            late -= float((now.wrong * motion).sum())
            speed += float((motion * motion).sum())
    return late / speed if speed else 0.0


def mouth_gain(scores: Sequence[Score], raw: Sequence[Score]) -> float:
    """How much the lips part when they part by 1 in raw: the slope of a line fitted to both."""
    mine, theirs = [], []
    for a, b in _both(scores, raw):
        mine.append(a.lips)
        theirs.append(b.lips)
    return float(np.polyfit(theirs, mine, 1)[0]) if mine else 1.0


def blink_kept(scores: Sequence[Score], raw: Sequence[Score]) -> float:
    """Depth of the blinks over their depth in raw."""
    both = list(_both(scores, raw))
    shut = [pair for pair in both if pair[0].blink > 0.9]
    open_ = [pair for pair in both if not pair[0].blink]
    if not shut or not open_:
        return 1.0
    depth = [
        np.mean([p[i].lids for p in open_]) - np.mean([p[i].lids for p in shut]) for i in (0, 1)
    ]
    return float(depth[0] / depth[1])


def _both(scores: Sequence[Score], raw: Sequence[Score]) -> Iterable[tuple[_Sight, _Sight]]:
    for mine, theirs in zip(scores, raw, strict=True):
        for person, sights in mine.sights.items():
            for at, sight in sights.items():
                if at in theirs.sights.get(person, {}):
                    yield sight, theirs.sights[person][at]


def _gap(points: Array, pair: tuple[int, int]) -> float:
    return float(np.hypot(*(points[pair[0]] - points[pair[1]])))


def _rms(parts: list[Array]) -> float:
    return float(np.sqrt(np.mean([(part * part).sum(axis=1) for part in parts]))) if parts else 0.0
