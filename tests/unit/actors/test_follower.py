"""A face carried by the flow alone, over known motion."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from actors.follower import FaceFollower, Place, meet
from actors.landmarker import EYE_LEFT, EYE_RIGHT, Mesh
from actors.observer import observation
from kernels.geometry import apply, display_affine
from kernels.templates import IBUG_OF_MESH
from tests.unit.actors.known_faces import SIZE, KnownFilm


def turning(at: int) -> NDArray[np.float64]:
    """2 degrees, 3 % and (4, 1.5) pixels a frame."""
    angle, size = np.radians(2 * at), 1.1 * 1.03**at
    linear = size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.full(2, (SIZE - 1) / 2)
    return np.column_stack([linear, [80 + 4 * at, 70 + 1.5 * at] - linear @ middle])


FILM = KnownFilm([turning], 7)
LUMAS = [FILM.picture(at) for at in range(7)]
TRUTH = [FILM.truth(at)[0][1] for at in range(7)]
EYES = float(np.hypot(*(TRUTH[0][EYE_LEFT] - TRUTH[0][EYE_RIGHT])))


def error(place: Place, at: int) -> float:
    """Mean distance from the truth in % of the distance of the eyes' outer corners."""
    return 100 * float(np.linalg.norm(place.points - TRUTH[at], axis=1).mean()) / EYES


@pytest.mark.parametrize("back", [False, True])
def test_a_face_is_carried_six_frames_in_either_direction(back: bool) -> None:
    order = list(range(7))[:: -1 if back else 1]
    face = observation(order[0], Mesh(landmarks=TRUTH[order[0]], presence=1.0), 0.7)
    (places,) = FaceFollower(np.eye(2, 3)).follow([face], [LUMAS[at] for at in order], 1)
    assert [place.lost for place in places] == [False] * 7
    assert places[0].confidence == 1
    for at, place in zip(order, places, strict=True):
        assert error(place, at) < 1.0
    assert all(a.confidence >= b.confidence for a, b in pairwise(places))


def test_68_points_are_carried_by_those_inside_the_face() -> None:
    picks = list(IBUG_OF_MESH)
    face = observation(0, Mesh(landmarks=TRUTH[0][picks], presence=1.0), 0.7)
    (places,) = FaceFollower(np.eye(2, 3)).follow([face], LUMAS, 1)
    for at, place in enumerate(places):
        missed = np.linalg.norm(place.points - TRUTH[at][picks], axis=1)
        assert 100 * missed.mean() / EYES < 1.0


def test_the_same_picture_again_moves_nothing() -> None:
    face = observation(0, Mesh(landmarks=TRUTH[0], presence=1.0), 0.7)
    lumas = [LUMAS[0], LUMAS[0], LUMAS[1], LUMAS[1]]
    (places,) = FaceFollower(np.eye(2, 3)).follow([face], lumas, 1)
    assert places[1] is places[0]
    assert places[3] is places[2]
    (plain,) = FaceFollower(np.eye(2, 3)).follow([face], LUMAS[:2], 1)
    assert np.array_equal(places[2].points, plain[1].points)


def test_a_cut_loses_it_and_it_stays_where_it_was() -> None:
    other = KnownFilm([lambda at: None], 2).picture(0)
    face = observation(0, Mesh(landmarks=TRUTH[0], presence=1.0), 0.7)
    (places,) = FaceFollower(np.eye(2, 3)).follow([face], [LUMAS[0], LUMAS[1], other, other], 1)
    assert [place.lost for place in places] == [False, False, True, True]
    assert (places[3].points == places[1].points).all()


def test_faces_do_not_know_of_each_other() -> None:
    faces = [
        observation(0, Mesh(landmarks=TRUTH[0] + shift, presence=1.0), 0.7) for shift in (0, 20)
    ]
    follower = FaceFollower(np.eye(2, 3))
    alone = [follower.follow([face], LUMAS, 1)[0] for face in faces]
    both = follower.follow(faces, LUMAS, 1)
    for one, other in zip(alone, both, strict=True):
        assert [p.points.tobytes() for p in one] == [p.points.tobytes() for p in other]


@pytest.mark.parametrize("rotation", [0, 90, 180])
def test_turned_and_stretched_films(rotation: int) -> None:
    """What is a similarity for the viewer is none in coded pixels."""
    squeeze = np.array([[0.5, 0, 0], [0, 1, 0]])
    film = KnownFilm([lambda at: squeeze @ np.vstack([turning(at), [0, 0, 1]])], 7)
    truth = [film.truth(at)[0][1] for at in range(7)]
    face = observation(0, Mesh(landmarks=truth[0], presence=1.0), 0.7)
    display = display_affine(256, 160, 2.0, rotation)
    lumas = [film.picture(at) for at in range(7)]
    (places,) = FaceFollower(display).follow([face], lumas, 1)
    missed = np.linalg.norm(apply(display, places[6].points) - apply(display, truth[6]), axis=1)
    assert 100 * missed.mean() / EYES < 2.5


def test_no_face_is_no_work() -> None:
    assert FaceFollower(np.eye(2, 3)).follow([], LUMAS, 1) == []


def test_places_meet_by_distance_and_confidence() -> None:
    one = Place(points=np.zeros((468, 2)), confidence=1.0)
    other = Place(points=np.full((468, 2), 8.0), confidence=1.0)
    assert meet(one, other, 0.25).points[0, 0] == pytest.approx(2)
    doubtful = Place(points=other.points, confidence=0.5)
    assert meet(one, doubtful, 0.5).points[0, 0] == pytest.approx(8 / 3)
    lost = Place(points=other.points, confidence=0.0)
    assert meet(one, lost, 0.9).points[0, 0] < 0.1
    assert meet(lost, lost, 0.5).lost
