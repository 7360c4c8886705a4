"""Tracking over a film of which everything is known: keyframes, gaps, cuts, any chunk."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from actors.follower import FaceFollower
from actors.landmarker import EYE_LEFT, EYE_RIGHT
from actors.tracker import Tracker, held_back, reach
from scheduler.tracks import FaceObservation
from tests.unit.actors.known_faces import KnownFaces, KnownFilm, Motion, ring

FRAMES = 44
CUT = 20


def slide(x: float, y: float, dx: float, first: int = 0, stop: int = FRAMES):
    def motion(at: int) -> NDArray[np.float64] | None:
        if not first <= at < stop:
            return None
        return np.array([[1.0, 0, x + dx * at], [0, 1, y + 3 * np.sin(at / 4)]])

    return motion


def jumps(at: int) -> NDArray[np.float64]:
    """Here before the cut, there after it."""
    return np.array([[1.0, 0, 20 + 1.5 * at if at < CUT else 150 - at], [0, 1, 40 + 0.5 * at]])


FILM = KnownFilm([jumps, slide(170, 10, 0, 27), slide(175, 80, -0.5, stop=33)], FRAMES, (CUT,))


def run(
    observer: KnownFaces,
    film: KnownFilm = FILM,
    start: int = 0,
    stop: int = FRAMES,
    interval: int = 6,
    expression: bool = True,
) -> dict[int, list[FaceObservation]]:
    """Faces of frames [start, stop) by frame; checks what holds for every run."""
    tracker = Tracker(
        observer, FaceFollower(np.eye(2, 3)), interval=interval, expression=expression
    )
    slots = ring(held_back(interval))
    halo = reach(interval)
    faces, seen = {}, []
    for tracked in tracker.track(film.decode(start - halo, stop + halo, slots), start, stop):
        at = tracked.frame.handle.frame_index
        assert np.array_equal(tracked.frame.picture.planes[0], film.picture(at))
        seen.append(at)
        if start <= at < stop:
            faces[at] = tracked.faces
        else:
            assert tracked.faces == []
        slots.release(tracked.frame.handle.slot)
    assert seen == list(range(max(start - halo, 0), min(stop + halo, film.frames)))
    assert len(set(observer.asked)) == len(observer.asked), "the detector is asked once a frame"
    slots.close()
    return faces


def errors(faces: dict[int, list[FaceObservation]], film: KnownFilm = FILM) -> list[float]:
    """Distance of each face from the nearest true one, in % of that one's eye distance."""
    found = []
    for at, rows in faces.items():
        for row in rows:
            missed = [
                100
                * np.linalg.norm(row.landmarks - truth, axis=1).mean()
                / np.hypot(*(truth[EYE_LEFT] - truth[EYE_RIGHT]))
                for _, truth in film.truth(at)
            ]
            found.append(float(min(missed)))
    return found


def rows(faces: dict[int, list[FaceObservation]]) -> list[tuple[object, ...]]:
    return [
        (face.frame, face.landmarks.tobytes(), face.box.tobytes(), face.score, face.visible)
        for _, found in sorted(faces.items())
        for face in found
    ]


WHOLE = rows(run(KnownFaces(FILM)))


def test_every_face_in_every_frame_from_few_detections() -> None:
    observer = KnownFaces(FILM)
    faces = run(observer)
    assert {at: len(found) for at, found in faces.items()} == {
        at: len(FILM.truth(at)) for at in range(FRAMES)
    }
    assert observer.asked == [0, 6, 12, 18, 19, 20, 24, 30, 36, 42, 43]
    assert max(errors(faces)) < 0.2
    assert all(
        face.frame == at and face.track == -1 and face.score == pytest.approx(0.8)
        for at, found in faces.items()
        for face in found
    )
    centres = [[f.box.reshape(2, 2).mean(axis=0)[0] for f in found] for found in faces.values()]
    assert all(found == sorted(found) for found in centres)


def test_flow_alone_is_near_and_asks_no_mesh_where_both_keyframes_agree() -> None:
    film = KnownFilm([slide(20, 40, 3)], 25)
    observer = KnownFaces(film)
    faces = run(observer, film, stop=25, expression=False)
    assert observer.looked == []
    assert [len(found) for found in faces.values()] == [1] * 25
    assert max(errors(faces, film)) < 1.0


def test_every_frame_can_be_a_keyframe() -> None:
    observer = KnownFaces(FILM)
    faces = run(observer, interval=1)
    assert observer.asked == list(range(FRAMES))
    assert max(errors(faces)) < 1e-4


def test_a_face_that_the_detector_misses_once_is_not_lost() -> None:
    film = KnownFilm([slide(20, 40, 3)], 25)
    for missed in (0, 6, 12, 18, 24):
        faces = run(KnownFaces(film, missed=frozenset({(0, missed)})), film, stop=25)
        assert [len(found) for found in faces.values()] == [1] * 25
        assert max(errors(faces, film)) < 0.2


def test_a_face_lives_one_interval_beyond_its_last_detection() -> None:
    film = KnownFilm([slide(20, 40, 3)], 25)
    faces = run(KnownFaces(film, missed=frozenset({(0, 12), (0, 18), (0, 24)})), film, stop=25)
    assert [at for at, found in faces.items() if found] == list(range(13))


def test_it_ends_where_the_mesh_sees_none_and_comes_back_with_the_next_detection() -> None:
    film = KnownFilm([slide(20, 40, 3)], 25)
    gone = frozenset((0, at) for at in range(9, 15))
    faces = run(KnownFaces(film, hidden=gone), film, stop=25)
    assert [at for at, found in faces.items() if not found] == list(range(9, 15))
    blink = frozenset({(0, 9)})
    faces = run(KnownFaces(film, hidden=blink), film, stop=25)
    assert [at for at, found in faces.items() if not found] == [9]


class Guessing(KnownFaces):
    """With a landmarker whose points are a guess where its network does not see the face well."""

    @property
    def guesses(self) -> bool:
        return True


def test_a_face_on_both_keyframes_stays_where_only_a_guess_would_do() -> None:
    film = KnownFilm([slide(20, 40, 3)], 25)
    blurred = frozenset((0, at) for at in (8, 9, 10))
    faces = run(KnownFaces(film, hidden=blurred), film, stop=25)
    assert [at for at, found in faces.items() if not found] == [8, 9, 10]
    faces = run(Guessing(film, hidden=blurred), film, stop=25)
    assert all(faces.values())
    assert max(errors({at: faces[at] for at in (8, 9, 10)}, film)) < 2.0, "carried by flow"
    gone = frozenset((0, at) for at in range(9, 25))
    faces = run(Guessing(film, hidden=gone), film, stop=25)
    assert [at for at, found in faces.items() if found] == list(range(9)), "no guess lives on"


def test_nobody_costs_nothing() -> None:
    film = KnownFilm([slide(20, 40, 3)], 20)
    observer = KnownFaces(film, missed=frozenset((0, at) for at in range(20)))
    assert not any(run(observer, film, stop=20).values())
    assert observer.looked == []
    assert observer.asked == [0, 6, 12, 18, 19]


def stutter(motion: Motion, times: int) -> Motion:
    """Each frame of a motion several times."""
    return lambda at: motion(at // times)


@pytest.mark.parametrize("expression", [True, False])
@pytest.mark.parametrize("times", [2, 3, 50])
def test_a_frame_that_repeats_the_one_before_has_its_faces(times: int, expression: bool) -> None:
    film = KnownFilm([stutter(slide(20, 40, 3), times), stutter(slide(150, 60, -2), times)], 50)
    observer = KnownFaces(film)
    whole = run(observer, film, stop=50, expression=expression)
    assert [len(found) for found in whole.values()] == [2] * 50
    for at in range(1, 50):
        # A keyframe is looked at for itself; the same picture then gives the same.
        same = at % times and (at % 6 or times >= 50) and at != 49
        for one, other in zip(whole[at - 1], whole[at], strict=True):
            if same:
                assert np.array_equal(one.landmarks, other.landmarks)
                assert (one.score, one.visible) == (other.score, other.visible)
            assert other.frame == at
    plain = KnownFaces(KnownFilm([slide(20, 40, 3), slide(150, 60, -2)], 50))
    run(plain, plain._film, stop=50, expression=expression)
    if expression:
        assert len(observer.looked) < 0.7 * len(plain.looked)
    if times == 50:
        assert (observer.asked, len(observer.looked)) == ([0], 2 if expression else 0)
    # Where a chunk starts and stops changes nothing, in the midst of a repetition either.
    for start, stop in ((0, 8), (11, 20), (43, 50)):
        part = run(KnownFaces(film), film, start=start, stop=stop, expression=expression)
        assert list(part) == list(range(start, stop))
        for at, found in part.items():
            for one, other in zip(found, whole[at], strict=True):
                assert np.array_equal(one.landmarks, other.landmarks)
                assert (one.score, one.visible) == (other.score, other.visible)


def test_a_face_on_one_keyframe_lives_through_repetitions() -> None:
    film = KnownFilm([stutter(slide(20, 40, 3), 2)], 25)
    observer = KnownFaces(film, missed=frozenset({(0, 12)}))
    whole = run(observer, film, stop=25)
    assert [len(found) for found in whole.values()] == [1] * 25
    assert len([at for at in observer.looked if 6 < at < 18]) <= 9, "half of them and a few"
    for start in (5, 10, 15):
        part = run(KnownFaces(film, missed=frozenset({(0, 12)})), film, start=start, stop=start + 5)
        for at, found in part.items():
            assert np.array_equal(found[0].landmarks, whole[at][0].landmarks)


@pytest.mark.parametrize("frames", [1, 2, 3, 6, 7])
def test_short_films(frames: int) -> None:
    film = KnownFilm([slide(20, 40, 3)], frames)
    faces = run(KnownFaces(film), film, stop=frames)
    assert [len(found) for found in faces.values()] == [1] * frames


def test_no_interval_is_an_error() -> None:
    with pytest.raises(ValueError, match="keyframes every 0 frames"):
        Tracker(KnownFaces(FILM), FaceFollower(np.eye(2, 3)), interval=0)


def test_any_chunk_gives_the_same_bits() -> None:
    for length in (6, 13):
        parts: list[tuple[object, ...]] = []
        for start in range(0, FRAMES, length):
            parts += rows(run(KnownFaces(FILM), start=start, stop=min(start + length, FRAMES)))
        assert parts == WHOLE, length


SHORT = KnownFilm([slide(20, 40, 3), slide(170, 50, -1, 14)], 26, (11,))


@settings(deadline=None, max_examples=8)
@given(
    interval=st.sampled_from([2, 5, 6]),
    border=st.integers(1, 25),
    missed=st.frozensets(st.tuples(st.integers(0, 1), st.integers(0, 25)), max_size=12),
    hidden=st.frozensets(st.tuples(st.integers(0, 1), st.integers(0, 25)), max_size=6),
)
def test_no_failure_is_seen_differently_from_another_chunk(
    interval: int,
    border: int,
    missed: frozenset[tuple[int, int]],
    hidden: frozenset[tuple[int, int]],
) -> None:
    def part(start: int, stop: int) -> list[tuple[object, ...]]:
        return rows(run(KnownFaces(SHORT, missed, hidden), SHORT, start, stop, interval))

    assert part(0, border) + part(border, 26) == part(0, 26)
