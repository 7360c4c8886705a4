"""The faces of a film from frame to frame: detected on keyframes, followed between them.

Keyframes are the frames whose absolute number is a multiple of the interval, and the first and
last of each shot. There, and only there, the detector runs. Between two keyframes each face is
carried onward from the one before and back from the one after, both are blended by distance, and
the mesh looks at the place that this gives (or, where expression does not matter, the place
is the answer). A face that one of two keyframes misses lives from the other as far as flow and
mesh confirm it, and at most to the missing one.

A frame that repeats the one before, sample for sample, has that one's faces: nothing is computed
twice for it. That goes from keyframe to keyframe and no further.

So a frame's faces depend on nothing but the frames up to `reach` away, whatever chunk it is in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from actors.follower import FaceFollower, Place, meet
from actors.frames import Frame
from actors.landmarker import Mesh
from actors.observer import FaceObserver, observation
from kernels.cuts import REACH, luma_change, small_luma, starts_shot
from kernels.flow import Luma, flow_luma, luma_step
from kernels.picture import Picture
from scheduler.boxes import overlap
from scheduler.tracks import FaceObservation


def reach(interval: int) -> int:
    """Frames on each side of a chunk that decide its faces: one interval, and what tells cuts."""
    return interval + REACH


def held_back(interval: int) -> int:
    """The most frames that `Tracker.track` holds at once."""
    return interval + 1 + REACH


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrackedFrame:
    """A frame and what was seen in it."""

    frame: Frame
    change: float
    """``kernels.cuts.luma_change`` from the frame before; 0 for the first one."""
    faces: list[FaceObservation]
    """From left to right, ``track`` -1; none for frames outside the wanted ones."""
    detected: list[FaceObservation] | None
    """Those that the detector found in this frame by itself; None: it was not asked."""


@dataclass(slots=True)
class _Held:
    """A frame that is not given on yet."""

    frame: Frame
    change: float
    repeats: bool = False
    """It is the frame before, sample for sample."""
    shot: bool = False
    """It is the first of a shot."""
    keyed: list[FaceObservation] | None = None
    """What the detector gave; None: it was not asked."""
    again: dict[int, FaceObservation] = field(default_factory=dict)
    """What the mesh says of them, by their place, once it was asked."""
    found: list[FaceObservation] = field(default_factory=list)
    """What was found without it, best first."""

    @property
    def at(self) -> int:
        return self.frame.handle.frame_index


class Tracker:
    """Tracks the faces of a run of frames.

    Args:
        observer: finds faces in single frames.
        follower: finds them again in the next.
        interval: frames from one keyframe to the next, 1 or more.
        expression: whether the mesh looks at each frame. Without, landmarks between keyframes are
            carried: right for the pose, but a mouth or an eyelid moves less than it does.
        min_overlap: least intersection over union for a carried face and a detected one to be the
            same.
    """

    def __init__(
        self,
        observer: FaceObserver,
        follower: FaceFollower,
        *,
        interval: int = 6,
        expression: bool = True,
        min_overlap: float = 0.3,
    ) -> None:
        if interval < 1:
            raise ValueError(f"keyframes every {interval} frames; wanted 1 or more")
        self._observer = observer
        self._follower = follower
        self._interval = interval
        self._expression = expression
        self._min_overlap = min_overlap

    def track(self, frames: Iterable[Frame], start: int, stop: int) -> Iterator[TrackedFrame]:
        """All frames in order, with the faces of frames [start, stop).

        Args:
            frames: consecutive; exact from `reach` before ``start`` (or the film's first frame) to
                `reach` after ``stop`` (or its last). Up to `held_back` of them are in use at once.
        """
        held: list[_Held] = []
        for each in _with_shots(frames):
            if each.shot and held:
                yield from self._finish(held, start, stop)
                held = []
            held.append(each)
            if each.at % self._interval == 0 and len(held) > 1:
                self._between(held, start, stop)
                yield from (self._give(done, start, stop) for done in held[:-1])
                held = held[-1:]
        yield from self._finish(held, start, stop)

    def _finish(self, held: list[_Held], start: int, stop: int) -> Iterator[TrackedFrame]:
        """The last frames of a shot: the very last one is a keyframe, too."""
        if len(held) > 1:
            self._between(held, start, stop)
        elif held and start <= held[0].at < stop:
            self._key(held[0])
        yield from (self._give(done, start, stop) for done in held)

    def _give(self, held: _Held, start: int, stop: int) -> TrackedFrame:
        faces: list[FaceObservation] = []
        if start <= held.at < stop:
            keyed = [self._again(held, place) for place in range(len(held.keyed or ()))]
            faces = self._observer.apart([*keyed, *held.found])
        return TrackedFrame(frame=held.frame, change=held.change, faces=faces, detected=held.keyed)

    def _between(self, held: list[_Held], start: int, stop: int) -> None:
        """Finds the faces of the frames between two keyframes, the first and the last one."""
        first, last = held[0], held[-1]
        if last.at < start or first.at >= stop:
            return
        before = self._key(first)
        if last.keyed is None and same_picture(first.frame.picture, last.frame.picture):
            last.keyed = [replace(face, frame=last.at) for face in before]
            for place in range(len(before)):
                last.again[place] = replace(self._again(first, place), frame=last.at)
        after = self._key(last)
        if not before and not after:
            return
        step = luma_step(first.frame.picture)
        lumas: list[Luma] = []
        for each in held:
            again = each.repeats and bool(lumas)
            lumas.append(lumas[-1] if again else flow_luma(each.frame.picture))
        onward = self._follower.follow(before, lumas, step)
        back = [way[::-1] for way in self._follower.follow(after, lumas[::-1], step)]
        pairs = _pairs(onward, back, self._min_overlap)
        for one, other in pairs:
            # Of a repetition, what is found where it began, be that in the chunk or not.
            seen: dict[int, FaceObservation | None] = {}
            for at in range(1, len(held) - 1):
                if start <= held[at].at < stop:
                    origin = _origin(held, at)
                    if not origin:
                        seen[0] = self._again(first, one)
                    elif origin not in seen:
                        share = origin / (len(held) - 1)
                        there = meet(onward[one][origin], back[other][origin], share)
                        seen[origin] = self._find(
                            held[origin], there, before[one], after[other], share
                        )
                    face = seen[origin]
                    if face is not None:
                        held[at].found.append(replace(face, frame=held[at].at))
        for one in set(range(len(onward))) - {one for one, _ in pairs}:
            same = [each.repeats for each in held[1:]]
            self._outlive(held[1:], onward[one][1:], same, self._again(first, one))
        for other in set(range(len(back))) - {other for _, other in pairs}:
            same = [each.repeats for each in held[:0:-1]]
            self._outlive(held[-2::-1], back[other][-2::-1], same, self._again(last, other))

    def _find(
        self,
        held: _Held,
        place: Place,
        before: FaceObservation,
        after: FaceObservation,
        share: float,
    ) -> FaceObservation | None:
        """A face that is on both keyframes around a frame."""
        score = (1.0 - share) * before.score + share * after.score
        if self._expression or place.lost:
            seen = self._look(held, place, score)
            if seen is not None or place.lost or not self._observer.guesses:
                return seen
        presence = (1.0 - share) * before.visible + share * after.visible
        return observation(held.at, Mesh(landmarks=place.points, presence=presence), score)

    def _outlive(
        self,
        held: Sequence[_Held],
        places: Sequence[Place],
        same: Sequence[bool],
        face: FaceObservation,
    ) -> None:
        """Adds a face that is on one keyframe only, away from it for as long as it is confirmed.

        The landmarker looks at each frame, in the chunk or not: where it ends must not depend on
        that.

        Args:
            held, places: of the frames, in the order of the way.
            same: whether the picture is that of the frame before on the way.
            face: on the keyframe.
        """
        score = face.score
        for each, place, repeated in zip(held, places, same, strict=True):
            if repeated:
                face = replace(face, frame=each.at)
            else:
                seen = None if place.lost else self._look(each, place, score)
                if seen is None:
                    return
                face = seen
            each.found.append(face)

    def _look(self, held: _Held, place: Place, score: float) -> FaceObservation | None:
        """The mesh of the face at a place, unless there is none, or another's."""
        face = self._observer.look(held.frame.picture, held.at, place.points, score)
        if face is None or overlap(face.box, place.box) < self._min_overlap:
            return None
        return face

    def _again(self, held: _Held, place: int) -> FaceObservation:
        """A keyframe's face, looked at as those between keyframes are.

        The mesh answers a little differently for each square that it is shown. It shakes less
        when all squares come from where the face was thought to be, not some from the detector.
        """
        face = (held.keyed or [])[place]
        if self._interval == 1 or not self._expression:
            return face
        if place not in held.again:
            known = Place(points=face.landmarks.astype(np.float64), confidence=1.0)
            held.again[place] = self._look(held, known, face.score) or face
        return held.again[place]

    def _key(self, held: _Held) -> list[FaceObservation]:
        """The faces that the detector finds; it is asked once."""
        if held.keyed is None:
            held.keyed = self._observer.observe(held.frame.picture, held.at)
        return held.keyed


def _with_shots(frames: Iterable[Frame]) -> Iterator[_Held]:
    """The frames with their changes and whether a shot begins (known REACH frames later)."""
    waiting: deque[_Held] = deque()
    changes: deque[float] = deque([0.0] * (2 * REACH + 1), maxlen=2 * REACH + 1)
    before: Luma | None = None
    for frame in frames:
        luma = small_luma(frame.picture)
        change = 0.0 if before is None else luma_change(before, luma)
        before = luma
        repeats = change == 0.0 and bool(waiting)
        repeats = repeats and same_picture(waiting[-1].frame.picture, frame.picture)
        waiting.append(_Held(frame, change, repeats))
        changes.append(change)
        if len(waiting) > REACH:
            held = waiting.popleft()
            held.shot = starts_shot(changes)
            yield held
    while waiting:
        changes.append(0.0)
        held = waiting.popleft()
        held.shot = starts_shot(changes)
        yield held


def same_picture(one: Picture, other: Picture) -> bool:
    """Whether all samples of two pictures of one format are equal."""
    return all(map(np.array_equal, one.planes, other.planes))


def _origin(held: Sequence[_Held], at: int) -> int:
    """The first of the frames up to ``at`` that show the same picture without a break."""
    while at and held[at].repeats:
        at -= 1
    return at


def _pairs(
    onward: list[list[Place]], back: list[list[Place]], min_overlap: float
) -> list[tuple[int, int]]:
    """Which face of the first frame is which of the last: by overlap in both, best first."""
    overlaps = sorted(
        (
            (
                -sum(overlap(one[at].box, other[at].box) for at in (0, -1)) / 2,
                first,
                second,
            )
            for first, one in enumerate(onward)
            for second, other in enumerate(back)
        ),
    )
    pairs: list[tuple[int, int]] = []
    for negative, first, second in overlaps:
        if -negative < min_overlap:
            break
        if all(first != one and second != other for one, other in pairs):
            pairs.append((first, second))
    return pairs
