from __future__ import annotations

import numpy as np
import pytest

from scheduler.classes import ClassFilter, FaceClass
from scheduler.errors import IdentityUnknown
from scheduler.identities import SPACES, Identity
from scheduler.jobs import FaceChoice, Role
from scheduler.selection import (
    ORDERS,
    TrackFacts,
    cast_people,
    choose_people,
    keep_classes,
    rank,
    refer,
    refer_to_frame,
)

FRAMES = np.array([0, 0, 1, 2, 2, 2], np.int64)
TRACKS = np.array([0, 1, 1, 0, 2, 1], np.int32)


def identity(letter: str, at: float, *tracks: int) -> Identity:
    embedding = np.zeros(128)
    embedding[0] = at
    return Identity(letter=letter, tracks=tracks, frames=9, first=0, embedding=embedding)


PEOPLE = (identity("A", 0.0, 0, 2), identity("B", 1.0, 1))


def test_all_get_the_one_face() -> None:
    assert choose_people(FaceChoice(), FRAMES, TRACKS, None, {}).tolist() == [0] * 6


def test_a_cast_gives_each_their_own_and_leaves_others() -> None:
    roles = [Role(identity="B", sources=("b",))]
    assert cast_people(roles, PEOPLE) == {1: 0}
    both = [Role(identity="A", sources=("a",)), *roles]
    people = cast_people(both, PEOPLE)
    assert people == {0: 0, 2: 0, 1: 1}
    assert choose_people(FaceChoice(), FRAMES, TRACKS, people, {}).tolist() == [0, 1, 1, 0, 0, 1]
    assert choose_people(FaceChoice(), FRAMES, TRACKS, {1: 0}, {}).tolist() == [-1, 0, 0, -1, -1, 0]


@pytest.mark.parametrize("identities", [PEOPLE, ()])
def test_a_letter_that_nobody_has(identities: tuple[Identity, ...]) -> None:
    with pytest.raises(IdentityUnknown, match="no C"):
        cast_people([Role(identity="C", sources=("c",))], identities)


def test_a_reference_is_who_is_near_enough() -> None:
    looks = np.zeros((2, 128))
    looks[:, 0] = (0.7, 9.0)
    assert refer(looks, PEOPLE, 0.5) == {1: 0}
    assert refer(looks, PEOPLE, 0.8) == {0: 0, 2: 0, 1: 0}
    with pytest.raises(IdentityUnknown, match=r"A 0\.70, B 0\.30"):
        refer(looks, PEOPLE, 0.2)
    with pytest.raises(IdentityUnknown, match="no faces"):
        refer(looks, (), 0.2)


@pytest.mark.parametrize(
    ("order", "ranked"),
    [
        ("left-right", [0, 1, 2]),
        ("right-left", [2, 1, 0]),
        ("top-bottom", [1, 0, 2]),
        ("bottom-top", [2, 0, 1]),
        ("small-large", [0, 1, 2]),
        ("large-small", [1, 2, 0]),
        ("best-worst", [2, 1, 0]),
        ("worst-best", [0, 1, 2]),
    ],
)
def test_orders(order: str, ranked: list[int]) -> None:
    facts = {
        0: TrackFacts(x=1, y=5, area=10, score=0.1),
        1: TrackFacts(x=2, y=4, area=20, score=0.5),
        2: TrackFacts(x=3, y=6, area=20, score=0.9),
    }
    ranks = rank(facts, order)
    assert sorted(ranks, key=ranks.__getitem__) == ranked


def test_every_order_is_tested() -> None:
    assert len(ORDERS) == 8


def test_one_is_the_first_in_rank_of_those_in_the_frame() -> None:
    choice = FaceChoice(mode="one")
    ranks = {2: 0, 0: 1, 1: 2}
    assert choose_people(choice, FRAMES, TRACKS, None, ranks).tolist() == [0, -1, 0, -1, 0, -1]
    assert choose_people(choice, FRAMES, TRACKS, {1: 0}, ranks).tolist() == [-1, 0, 0, -1, -1, 0]


SHOWN = [
    (1, TrackFacts(x=50, y=9, area=10, score=0.5)),
    (2, TrackFacts(x=20, y=9, area=30, score=0.9)),
    (7, TrackFacts(x=80, y=9, area=20, score=0.7)),
]
"""Faces of one frame; nobody knows who track 7 is."""


@pytest.mark.parametrize(
    ("order", "position", "people"),
    [
        ("large-small", 0, {0: 0, 2: 0}),
        ("large-small", 2, {1: 0}),
        ("left-right", 1, {1: 0}),
        ("left-right", 2, {7: 0}),
    ],
)
def test_the_person_at_a_place_of_a_frame_is_swapped_in_the_whole_film(
    order: str, position: int, people: dict[int, int]
) -> None:
    choice = FaceChoice(
        mode="reference", order=order, reference_frame=3, reference_position=position
    )
    assert refer_to_frame(choice, SHOWN, PEOPLE, SPACES["dlib"]) == people


def test_who_looks_alike_goes_along_as_far_as_the_distance_reaches() -> None:
    choice = FaceChoice(mode="reference", reference_frame=3, distance=1.1)
    assert refer_to_frame(choice, SHOWN, PEOPLE, SPACES["dlib"]) == {0: 0, 1: 0, 2: 0}


@pytest.mark.parametrize("shown", [[], SHOWN])
def test_a_position_that_the_frame_does_not_have(shown: list[tuple[int, TrackFacts]]) -> None:
    choice = FaceChoice(mode="reference", reference_frame=3, reference_position=3)
    with pytest.raises(IdentityUnknown, match=f"frame 3 of the film shows {len(shown)} faces"):
        refer_to_frame(choice, shown, PEOPLE, SPACES["dlib"])


def test_a_filter_keeps_those_who_fit() -> None:
    classes = {
        0: FaceClass(gender=0, age=3, race=0),
        1: FaceClass(gender=1, age=3, race=0),
        2: FaceClass(gender=1, age=6, race=0),
    }
    people = {0: 0, 1: 1, 2: 0, 3: 0}
    assert keep_classes(people, classes, ClassFilter()) == people
    assert keep_classes(people, classes, ClassFilter(gender="female")) == {1: 1, 2: 0}
    assert keep_classes(people, classes, ClassFilter(ages=(20, 29))) == {0: 0, 1: 1}
    with pytest.raises(IdentityUnknown, match="are: female, white, 20 to 29; female, white, 50"):
        keep_classes(people, classes, ClassFilter(race="black"))
    with pytest.raises(IdentityUnknown, match="no faces"):
        keep_classes({}, {}, ClassFilter(gender="male"))
