from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.points import MESH
from scheduler.stitch import Stitcher
from scheduler.tracks import FaceObservation, from_table, to_table


def face(frame: int, x: float, y: float = 10.0, side: float = 40.0) -> FaceObservation:
    box = np.array([x, y, x + side, y + side], np.float32)
    points = np.full((MESH.count, 2), x, np.float32)
    return FaceObservation(frame=frame, track=-1, box=box, landmarks=points, score=0.9, visible=1.0)


def tracks_of(tables: list[pa.Table], **settings: object) -> list[tuple[int, int]]:
    stitcher = Stitcher(**settings)  # type: ignore[arg-type]
    rows = [f for table in tables for f in from_table(stitcher.extend(table))]
    return [(f.frame, f.track) for f in rows]


def test_two_faces_that_pass_each_other_slowly_keep_their_tracks() -> None:
    film = [f for n in range(30) for f in (face(n, 10 + n), face(n, 200 - n))]
    assert tracks_of([to_table(film)]) == [(n, t) for n in range(30) for t in (0, 1)]


def test_no_track_goes_over_a_cut() -> None:
    film = [face(n, 10) for n in range(6)]
    assert [t for _, t in tracks_of([to_table(film)], cuts=[3])] == [0, 0, 0, 1, 1, 1]


def test_a_short_gap_is_bridged_and_a_long_one_is_not() -> None:
    near = [face(n, 10) for n in (0, 1, 9)]
    far = [face(n, 10) for n in (0, 1, 40)]
    assert [t for _, t in tracks_of([to_table(near)])] == [0, 0, 0]
    assert [t for _, t in tracks_of([to_table(far)])] == [0, 0, 1]


@settings(max_examples=50, deadline=None)
@given(
    borders=st.sets(st.integers(1, 39), max_size=6),
    xs=st.lists(st.floats(0, 400), min_size=1, max_size=4),
)
def test_where_the_chunks_were_cut_cannot_be_seen(borders: set[int], xs: list[float]) -> None:
    film = [face(n, x + 3 * n * (-1) ** i) for n in range(40) for i, x in enumerate(xs)]
    edges = [0, *sorted(borders), 40]
    parts = [to_table([f for f in film if a <= f.frame < b]) for a, b in pairwise(edges)]
    assert tracks_of(parts, cuts=[17]) == tracks_of([to_table(film)], cuts=[17])


def test_tables_out_of_order_are_refused() -> None:
    stitcher = Stitcher()
    stitcher.extend(to_table([face(5, 10)]))
    with pytest.raises(ValueError, match="frame 4 after frame 5"):
        stitcher.extend(to_table([face(4, 10)]))


def crossing(hidden: range, speed: float = 6.0) -> list[FaceObservation]:
    """Two faces that pass through each other; the second is not seen while ``hidden``."""
    film = []
    for n in range(60):
        one, two = face(n, speed * n), face(n, 59 * speed - speed * n, y=14.0)
        film += [one] if n in hidden else sorted([one, two], key=lambda f: f.box[0])
    return film


def names(film: list[FaceObservation], speed: float = 6.0) -> list[bool]:
    """Whether a row is the first face, which goes to the right."""
    return [f.box[1] == 10.0 for f in film]


@pytest.mark.parametrize("hidden", [range(28, 33), range(25, 36), range(30, 31), range(0)])
@pytest.mark.parametrize("speed", [2.0, 6.0, 14.0])
def test_two_who_cross_keep_their_tracks(hidden: range, speed: float) -> None:
    film = crossing(hidden, speed)
    tracks = [t for _, t in tracks_of([to_table(film)])]
    firsts = {t for t, first in zip(tracks, names(film), strict=True) if first}
    seconds = {t for t, first in zip(tracks, names(film), strict=True) if not first}
    assert (len(firsts), len(seconds)) == (1, 1)
    assert firsts != seconds


def test_looks_tell_who_came_back() -> None:
    # Both vanish behind something and come out elsewhere: by place alone they would be swapped.
    film = [f for n in range(10) for f in (face(n, 100), face(n, 130))]
    film += [f for n in range(15, 20) for f in (face(n, 100), face(n, 130))]
    a, b = np.zeros(128), np.full(128, 0.08)
    looks = {(0, 0): a, (0, 1): b, (15, 0): b, (15, 1): a}
    assert [t for n, t in tracks_of([to_table(film)], looks=looks) if n == 15] == [1, 0]
    assert [t for n, t in tracks_of([to_table(film)]) if n == 15] == [0, 1]
    strangers = {(0, 0): a, (0, 1): a, (15, 0): b * 9, (15, 1): b * 9}
    assert [t for n, t in tracks_of([to_table(film)], looks=strangers) if n == 15] == [2, 3]


def test_chunks_without_a_face_are_nothing() -> None:
    tables = [to_table([]), to_table([face(3, 10)]), to_table([]), to_table([face(5, 11)])]
    assert tracks_of(tables) == [(3, 0), (5, 0)]
    assert tracks_of([to_table([])]) == []
