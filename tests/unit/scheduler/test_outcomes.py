"""What became of faces, and where they became somebody else, for cases that are known."""

from __future__ import annotations

import numpy as np
import pytest

from scheduler.outcomes import (
    Outcome,
    Pasted,
    Span,
    TrackEnd,
    handovers,
    looks_switch,
    outcome_of,
    person_switches,
    spans,
)
from scheduler.records import JobRecord
from tests.unit.scheduler.known_jobs import CAST, ONE, RECORD, REFERENCE

BOX = (10.0, 10.0, 60.0, 60.0)


def pasted(touched: bool = True, strength: float = 1.0, hidden: float = 0.0) -> Pasted:
    return Pasted(touched=touched, strength=strength, hidden=hidden)


@pytest.mark.parametrize(
    ("done", "outcome"),
    [
        (pasted(), Outcome.SWAPPED),
        (pasted(hidden=0.01), Outcome.SWAPPED),
        (pasted(strength=0.4), Outcome.FADED),
        (pasted(hidden=0.7), Outcome.COVERED),
        (pasted(touched=False, strength=0.0), Outcome.TURNED),
        (pasted(touched=False, hidden=1.0), Outcome.HIDDEN),
        (pasted(touched=False), Outcome.EMPTY),
        (None, Outcome.EMPTY),
    ],
)
def test_faces_that_were_to_be_swapped(done: Pasted | None, outcome: Outcome) -> None:
    assert outcome_of(done, 0, "", BOX, (640, 360), RECORD) is outcome


def test_a_face_beyond_the_border_is_outside() -> None:
    for box in ((-50.0, 10.0, -1.0, 60.0), (640.0, 10.0, 700.0, 60.0), (10.0, 360.0, 60.0, 400.0)):
        done = pasted(touched=False, strength=0.0)
        assert outcome_of(done, 0, "", box, (640, 360), RECORD) is Outcome.OUTSIDE


@pytest.mark.parametrize(
    ("record", "letter", "outcome"),
    [
        (CAST, "B", Outcome.NOT_CAST),
        (CAST, "", Outcome.UNKNOWN),
        (REFERENCE, "B", Outcome.NOT_REFERENCE),
        (REFERENCE, "", Outcome.UNKNOWN),
        (ONE, "", Outcome.NOT_FIRST),
    ],
)
def test_faces_that_nobody_asked_to_swap(record: JobRecord, letter: str, outcome: Outcome) -> None:
    assert outcome_of(None, -1, letter, BOX, (640, 360), record) is outcome
    assert not outcome.swapped


def test_spans_have_no_gaps_and_gaps_are_lost_faces() -> None:
    outcomes = dict.fromkeys((3, 4, 5), Outcome.SWAPPED) | dict.fromkeys((8, 9), Outcome.TURNED)
    assert spans(outcomes) == (
        Span(start=3, stop=6, outcome=Outcome.SWAPPED),
        Span(start=6, stop=8, outcome=Outcome.LOST),
        Span(start=8, stop=10, outcome=Outcome.TURNED),
    )
    assert spans({}) == ()


def test_nobody_misses_a_face_that_was_not_asked_for() -> None:
    outcomes = {3: Outcome.NOT_CAST, 5: Outcome.NOT_CAST, 8: Outcome.SWAPPED, 9: Outcome.NOT_CAST}
    assert [(s.start, s.stop, s.outcome.value) for s in spans(outcomes)] == [
        (3, 6, "not-cast"), (6, 8, "lost"), (8, 9, "swapped"), (9, 10, "not-cast"),
    ]  # fmt: skip


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
