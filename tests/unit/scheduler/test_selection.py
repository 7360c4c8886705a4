from __future__ import annotations

import numpy as np
import pytest

from scheduler.errors import IdentityUnknown
from scheduler.identities import Identity
from scheduler.jobs import FaceChoice, Role
from scheduler.selection import ORDERS, TrackFacts, cast_people, choose_people, rank, refer

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
