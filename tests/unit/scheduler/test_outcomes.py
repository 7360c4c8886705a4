"""What became of faces, for cases that are known."""

from __future__ import annotations

import pytest

from scheduler.outcomes import Outcome, Pasted, Span, outcome_of, spans
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
