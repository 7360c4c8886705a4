"""Smoothing has no lag, no memory, no border and bounded corrections."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from scheduler.points import IBUG, MESH
from scheduler.smooth import MAX_SHIFT, MAX_TURN, MAX_ZOOM, REACH, Smoother, smoothed
from scheduler.tracks import FaceObservation, from_table, to_table
from tests.support.plain_smoothing import plainly_smoothed

Array = NDArray[np.float64]
IOD = 100.0
LIDS = [159, 386]


def shape() -> Array:
    """[468, 2] vertices scattered anywhere, but eyes, nose and temples where they belong."""
    points = np.random.default_rng(1).uniform(-0.7, 0.8, (MESH.count, 2))
    known = {
        33: (-0.5, 0), 133: (-0.19, 0), 362: (0.19, 0), 263: (0.5, 0), 10: (0, -0.6), 1: (0, 0.38),
        234: (-0.75, 0.25), 454: (0.75, 0.25), 159: (-0.35, -0.05), 386: (0.35, -0.05),
    }  # fmt: skip
    points[list(known)] = list(known.values())
    return points


SHAPE = shape()


def face(frame: int, points: Array, track: int = 0) -> FaceObservation:
    landmarks = points.astype(np.float32)
    box = np.concatenate([landmarks.min(axis=0), landmarks.max(axis=0)])
    return FaceObservation(
        frame=frame, track=track, box=box, landmarks=landmarks, score=0.9, visible=1.0
    )


def placed(x: float, y: float, turn: float = 0.0, zoom: float = 1.0) -> Array:
    cos, sin = zoom * IOD * np.cos(turn), zoom * IOD * np.sin(turn)
    return SHAPE @ np.array([[cos, sin], [-sin, cos]]) + [x, y]


def film(path: Callable[[int], Array], frames: int = 30) -> list[FaceObservation]:
    return [face(at, path(at)) for at in range(frames)]


def run(faces: list[FaceObservation], cuts: tuple[int, ...] = ()) -> list[FaceObservation]:
    return [row for part in smoothed([to_table(faces)], cuts=cuts) for row in from_table(part)]


def away(one: FaceObservation, other: FaceObservation) -> float:
    """Greatest distance of two meshes over the distance between the eyes."""
    return float(np.hypot(*(one.landmarks - other.landmarks).T).max()) / IOD


def noisy(path: Callable[[int], Array], size: float) -> Callable[[int], Array]:
    random = np.random.default_rng(5)
    noise = random.normal(0, size * IOD, (200, MESH.count, 2))
    return lambda at: path(at) + noise[at]


def test_a_parabola_comes_out_as_it_went_in() -> None:
    def path(at: int) -> Array:
        t = at - 12.0
        return placed(
            300 + 9 * t - 0.4 * t * t, 200 - 5 * t + 0.2 * t * t, 0.01 * t, np.exp(0.004 * t)
        )

    faces = film(path)
    for before, after in zip(faces, run(faces), strict=True):
        assert np.abs(after.landmarks - before.landmarks).max() < 2e-4


def test_even_a_shape_that_changes_like_a_parabola() -> None:
    change = np.random.default_rng(2).normal(0, 1e-4, (MESH.count, 2)) * IOD
    change -= change.mean(axis=0)
    faces = film(lambda at: placed(100, 100) + change * (at - 15.0) ** 2)
    # The similarity that fits best turns a little with the shape: no longer quite a parabola.
    assert max(away(a, b) for a, b in zip(faces, run(faces), strict=True)) < 2e-4


def test_trembling_goes_and_what_is_under_it_stays() -> None:
    def path(at: int) -> Array:
        return placed(320 + 60 * np.sin(0.16 * at), 200, 0.1 * np.sin(0.09 * at))

    faces = film(noisy(path, 0.001), 80)
    result = run(faces)
    truth = [path(at) for at in range(80)]
    wrong = np.array([f.landmarks - t for f, t in zip(result, truth, strict=True)]) / IOD
    before = np.array([f.landmarks - t for f, t in zip(faces, truth, strict=True)]) / IOD
    second = [np.diff(each, 2, axis=0)[3:-3].std() for each in (wrong, before)]
    assert second[0] < 0.15 * second[1]
    assert wrong.std() < 0.65 * before.std()
    speed = np.gradient(np.array(truth), axis=0) / IOD
    assert abs((wrong * speed).sum() / (speed * speed).sum()) < 0.01, "no lag"


def test_faces_of_68_points_are_smoothed_by_their_own_parts() -> None:
    shape = np.random.default_rng(1).uniform(-0.7, 0.8, (IBUG.count, 2))
    shape[list(IBUG.bones)] = list(IBUG.bones.values())
    random = np.random.default_rng(4)
    noise = random.normal(0, 0.001 * IOD, (60, IBUG.count, 2))
    upper = [37, 38, 43, 44]

    def path(at: int) -> Array:
        cos, sin = np.cos(0.01 * at) * IOD, np.sin(0.01 * at) * IOD
        points = shape @ np.array([[cos, sin], [-sin, cos]]) + [200 + 3 * at, 150]
        points[upper, 1] += 0.1 * IOD * (at in (30, 31))
        return points

    faces = [face(at, path(at) + noise[at]) for at in range(60)]
    result = run(faces)
    wrong, before = (
        np.array([row.landmarks - path(at) for at, row in enumerate(rows)]) / IOD
        for rows in (result, faces)
    )
    still = [at for at in range(4, 56) if abs(at - 30) > REACH + 1]
    second = [np.diff(each, 2, axis=0)[still[:-4]].std() for each in (wrong, before)]
    assert second[0] < 0.3 * second[1]
    assert wrong[still].std() < 0.7 * before[still].std()
    lids = [result[at].landmarks[upper, 1].mean() - path(29)[upper, 1].mean() for at in (29, 30)]
    assert lids[1] - lids[0] > 0.08 * IOD, "a blink stays a blink"


def test_a_face_that_jumps_is_hardly_corrected_and_never_beyond_the_bounds() -> None:
    # The corners of the pose's bounds in one frame: turn, shift and size of a single wrong face.
    for wrong in (placed(300, 200, 0.5), placed(400, 200), placed(300, 200, 0.0, 1.6)):
        faces = film(lambda at, wrong=wrong: wrong if at == 25 else placed(300, 200), 50)
        result = run(faces)
        for before, after in zip(faces, result, strict=True):
            size = 1.6 if before.frame == 25 else 1.0
            assert away(before, after) < size * (MAX_SHIFT + MAX_TURN + MAX_ZOOM + 0.02)
        shift = [away(after, before) for after, before in zip(result, faces, strict=True)]
        assert max(s for at, s in enumerate(shift) if abs(at - 25) > 4) < 1e-3, "a long window"
        assert max(s for at, s in enumerate(shift) if abs(at - 25) > REACH) < 1e-5, "any window"


def test_fast_motion_is_left_alone() -> None:
    def path(at: int) -> Array:
        return placed(320 + 60 * np.sin(0.9 * at), 200)

    faces = film(path, 60)
    assert max(away(a, b) for a, b in zip(faces, run(faces), strict=True)) < 0.01


def test_a_blink_stays_a_blink() -> None:
    def path(at: int) -> Array:
        points = placed(300, 200)
        points[LIDS, 1] += (
            0.1 * IOD * max(0.0, np.cos(np.pi * (at - 15) / 6)) ** 2 * (abs(at - 15) < 3)
        )
        return points

    faces = film(noisy(path, 0.002))
    before, after = (
        rows[15].landmarks[LIDS, 1].mean() - rows[3].landmarks[LIDS, 1].mean()
        for rows in (faces, run(faces))
    )
    assert after > 0.9 * before > 8


def test_nothing_passes_a_cut_a_gap_or_the_end_of_a_track() -> None:
    def shot(first: int, last: int, x: float, track: int) -> list[FaceObservation]:
        path = noisy(lambda at: placed(x + at, 200), 0.004)
        return [face(at, path(at), track) for at in range(first, last)]

    apart = [shot(0, 10, 100, 0), shot(10, 20, 130, 0), shot(22, 31, 160, 0), shot(31, 40, 165, 1)]
    alone = [row for each in apart for row in run(each)]
    together = run([row for each in apart for row in each], cuts=(10,))
    assert [a.landmarks.tobytes() for a in together] == [a.landmarks.tobytes() for a in alone]


@settings(max_examples=10, deadline=None)
@given(borders=st.sets(st.integers(1, 69), max_size=12), empty=st.booleans())
def test_where_the_tables_were_parted_cannot_be_seen(borders: set[int], empty: bool) -> None:
    first = noisy(lambda at: placed(100 + at, 200, 0.01 * at), 0.004)
    second = noisy(lambda at: placed(500 - at, 210), 0.003)
    rows = [
        each
        for at in range(70)
        for each in (face(at, first(at)), face(at, second(at), 1))
        if at % 17 or each.track
    ]
    edges = [0, *sorted(borders), 70]
    parts = [to_table([r for r in rows if a <= r.frame < b]) for a, b in pairwise(edges)]
    if empty:
        parts.insert(len(parts) // 2, to_table([]))
    whole = pa.concat_tables(smoothed([to_table(rows)], cuts=[50]))
    parted = pa.concat_tables(smoothed(parts, cuts=[50]))
    assert parted.combine_chunks() == whole.combine_chunks()
    for ours, theirs in zip(from_table(parted), from_table(whole), strict=True):
        assert ours.landmarks.tobytes() == theirs.landmarks.tobytes()
        assert ours.box.tobytes() == theirs.box.tobytes()


@pytest.mark.parametrize("seed", range(3))
def test_it_is_what_its_description_says(seed: int) -> None:
    """Against the same, one frame after the other and by other means: turns over half a circle,
    gaps, cuts, blinks, faces without form, runs of any length."""
    random = np.random.default_rng(seed)
    speed, size = random.uniform(0.02, 0.3), random.uniform(0.0005, 0.006)
    shaky = noisy(lambda at: placed(300 + 40 * np.sin(speed * at), 200, 3 + speed * at / 4), size)
    rows = [
        face(at, np.full((MESH.count, 2), 7.0) if random.random() < 0.01 else shaky(at), track)
        for at in range(90)
        for track in range(2)
        if random.random() > 0.04
    ]
    for row in rows[20:24]:
        row.landmarks[LIDS, 1] += 0.06 * IOD
    cuts = tuple(random.integers(0, 90, 3).tolist())
    plain = plainly_smoothed(rows, cuts)
    moved = [not np.array_equal(a.landmarks, b.landmarks) for a, b in zip(rows, plain, strict=True)]
    assert sum(moved) > 120
    for ours, theirs in zip(run(rows, cuts), plain, strict=True):
        assert (ours.frame, ours.track) == (theirs.frame, theirs.track)
        assert np.abs(ours.landmarks - theirs.landmarks).max() < 1e-4, "a float32's last bits"
        assert np.abs(ours.box - theirs.box).max() < 1e-4


def test_every_row_comes_out_in_its_place_with_its_box_around_it() -> None:
    rows = [
        face(at, noisy(lambda t: placed(100 + t, 200), 0.004)(at), track)
        for at in range(12)
        for track in (0, 1)
    ]
    result = run(rows)
    assert [(r.frame, r.track, r.score) for r in result] == [
        (r.frame, r.track, np.float32(r.score)) for r in rows
    ]
    for row in result:
        low, high = row.landmarks.min(axis=0), row.landmarks.max(axis=0)
        assert np.array_equal(row.box, np.concatenate([low, high]))


def test_faces_that_are_points_are_left_as_they_are() -> None:
    rows = [face(at, np.full((MESH.count, 2), 7.0)) for at in range(12)]
    assert [r.landmarks.tobytes() for r in run(rows)] == [r.landmarks.tobytes() for r in rows]


def test_rows_that_were_not_stitched_are_refused() -> None:
    smoother = Smoother()
    with pytest.raises(ValueError, match="wanted stitched rows"):
        smoother.extend(to_table([face(0, SHAPE, -1)]))
    smoother.extend(to_table([face(5, SHAPE)]))
    with pytest.raises(ValueError, match="frame 4"):
        smoother.extend(to_table([face(4, SHAPE)]))
    with pytest.raises(ValueError, match="twice in frame 5"):
        smoother.extend(to_table([face(5, SHAPE)]))


def test_what_wanders_slowly_is_held_by_the_long_window() -> None:
    """Noise that lasts some frames, as a network's does, goes where the shape is about still."""
    noise = np.random.default_rng(6).normal(0, 1, (130, MESH.count, 2))
    slow = np.stack([noise[at : at + 4].mean(axis=0) for at in range(100)])
    slow *= 0.0003 * IOD / slow.std()
    faces = film(lambda at: placed(300, 200, 0.1 * np.sin(0.05 * at)) + slow[at], 100)
    truth = [placed(300, 200, 0.1 * np.sin(0.05 * at)) for at in range(100)]
    before, after = (
        np.array([f.landmarks - t for f, t in zip(rows, truth, strict=True)]).std()
        for rows in (faces, run(faces))
    )
    assert after < 0.75 * before, "nine frames alone leave nine tenths"


def test_memory_does_not_grow() -> None:
    smoother, path = Smoother(), noisy(lambda at: placed(100 + at, 200), 0.004)
    tables = [to_table([face(10 * n + k, path(k), n) for k in range(10)]) for n in range(40)]
    for table in tables:
        smoother.extend(table)
        assert len(smoother._tracks) <= 3
