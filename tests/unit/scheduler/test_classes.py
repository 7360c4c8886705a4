from __future__ import annotations

import pytest

from scheduler.classes import AGES, GENDERS, RACES, ClassFilter, FaceClass, agree

WOMAN = FaceClass(gender=1, age=3, race=4)


def test_words() -> None:
    assert str(WOMAN) == "female, asian, 20 to 29"
    assert (len(AGES), len(RACES), GENDERS[1]) == (9, 7, "female")
    assert [low for low, _ in AGES[1:]] == [high + 1 for _, high in AGES[:-1]], (
        "no year is left out"
    )


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        (ClassFilter(), True),
        (ClassFilter(gender="female"), True),
        (ClassFilter(gender="male"), False),
        (ClassFilter(race="asian"), True),
        (ClassFilter(race="white"), False),
        (ClassFilter(ages=(29, 60)), True),
        (ClassFilter(ages=(30, 60)), False),
        (ClassFilter(ages=(0, 20)), True),
        (ClassFilter(ages=(0, 19)), False),
        (ClassFilter(ages=(22, 24)), True),
        (ClassFilter(ages=(22, 24), gender="female", race="indian"), False),
    ],
)
def test_filters(wanted: ClassFilter, kept: bool) -> None:
    assert wanted.keeps(WOMAN) == kept
    assert wanted.any == (wanted != ClassFilter())


def test_several_pictures_agree_by_votes_and_the_middle_age() -> None:
    seen = [
        FaceClass(gender=1, age=5, race=2),
        FaceClass(gender=0, age=2, race=3),
        FaceClass(gender=0, age=3, race=3),
        FaceClass(gender=1, age=8, race=0),
    ]
    assert agree(seen) == FaceClass(gender=1, age=3, race=3), "of equal votes the best picture's"
    assert agree(seen[:1]) == seen[0]


def test_as_the_source_looks() -> None:
    wanted = ClassFilter(gender="auto", race="auto", ages=(20, 30))
    assert wanted.any
    assert wanted.auto
    assert not wanted.keeps(WOMAN), "it must be asked first how the source looks"
    assert wanted.like(WOMAN) == ClassFilter(gender="female", race="asian", ages=(20, 30))
    half = ClassFilter(gender="male", race="auto")
    assert half.like(WOMAN) == ClassFilter(gender="male", race="asian")
    assert not half.like(WOMAN).auto
