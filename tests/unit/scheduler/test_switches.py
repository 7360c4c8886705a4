"""Where faces become somebody else, planted and found."""

from __future__ import annotations

import numpy as np

from scheduler.switches import TrackEnd, handovers, looks_switch, person_switches


def test_a_change_of_the_face_put_on_is_a_switch() -> None:
    found = person_switches(4, [1, 2, 3, 9], [0, 0, 1, -1])
    assert [(s.frame, s.kind, s.track) for s in found] == [(3, "person", 4), (9, "person", 4)]


def end(frame: int, x: float = 0.0, person: int = 0) -> TrackEnd:
    return TrackEnd(frame=frame, box=np.array([x, 0.0, x + 50, 50.0]), person=person)


def test_a_face_that_goes_on_with_another_face_is_a_switch() -> None:
    firsts = {0: end(0), 1: end(12, x=5, person=1), 2: end(12, x=300, person=1)}
    lasts = {0: end(10), 1: end(40, person=1), 2: end(40, person=1)}
    (found,) = handovers(firsts, lasts, cuts=())
    assert (found.frame, found.kind, found.track, found.to) == (12, "handover", 0, 1)
    assert handovers(firsts, lasts, cuts=(11,)) == [], "nobody goes on over a cut"
    assert handovers(firsts | {1: end(30, person=1)}, lasts, cuts=()) == [], "too late"
    same = firsts | {1: end(12, x=5, person=0)}
    assert handovers(same, lasts, cuts=()) == [], "broken, but with the same face: not to be seen"


def test_a_track_that_begins_to_look_like_somebody_else() -> None:
    rng = np.random.default_rng(5)
    one, other = rng.normal(0, 0.1, (2, 128))
    frames = list(range(0, 80, 10))

    def looks(first: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        people = np.where(np.arange(8)[:, None] < first, one, other)
        return people + rng.normal(0, 0.02, (8, 128))

    found = looks_switch(3, frames, looks(5))
    assert found is not None
    assert (found.frame, found.kind, found.track) == (50, "looks", 3)
    assert looks_switch(3, frames, looks(8)) is None
    assert looks_switch(3, frames[:3], looks(1)[:3]) is None, "one picture is no evidence"
