"""Faces laid flat and found again."""

import numpy as np

from kernels.geometry import apply
from kernels.mesh.canonical import canonical_face
from kernels.mesh.unwrap import GRID, WINDOW, Unwrapper, window

FACE = canonical_face()
FRONT = FACE.vertices[:, :2]


def turned(degrees: float) -> np.ndarray:
    angle = np.radians(degrees)
    x, z = FACE.vertices[:, 0], FACE.vertices[:, 2] - 0.3
    return np.column_stack([np.cos(angle) * x + np.sin(angle) * z, FACE.vertices[:, 1]])


def test_a_window_just_holds_the_face() -> None:
    points = 300 * FRONT + [400, 120]
    inside = apply(window(points, WINDOW), points)
    low, high = inside.min(axis=0), inside.max(axis=0)
    assert low.min() > 0
    assert high.max() < WINDOW - 1
    assert np.isclose((high - low).max(), WINDOW / 1.05)


def test_pixels_know_their_place_on_the_face() -> None:
    unwrapper = Unwrapper()
    for degrees in (0, 25):
        points = turned(degrees)
        points = apply(window(points, WINDOW), points)
        places = unwrapper.places(points, WINDOW)
        for vertex in (1, 50, 280, 151, 199):
            x, y = points[vertex].round().astype(int)
            u, v = FACE.layout[vertex] * (GRID - 1)
            assert places.inside[y, x]
            assert abs(places.u[y, x] - u) < 1
            assert abs(places.v[y, x] - v) < 1
        assert not places.inside[2, 2]
        assert not (places.skin & places.changing).any()


def test_a_painted_side_stays_on_its_side() -> None:
    unwrapper = Unwrapper()
    points = apply(window(FRONT, WINDOW), FRONT)
    picture = np.zeros((WINDOW, WINDOW, 3), np.uint8)
    picture[:, : WINDOW // 2] = (250, 0, 0)
    flat = unwrapper.flatten(picture, points)
    seen = flat[..., 3] > 0
    assert seen[unwrapper.skin].mean() > 0.95
    assert (flat[:, :14, 0][seen[:, :14]] == 250).all()
    assert (flat[:, 18:, 0][seen[:, 18:]] == 0).all()


def test_the_side_that_turns_away_is_not_seen() -> None:
    unwrapper = Unwrapper()
    points = turned(60)
    points = apply(window(points, WINDOW), points)
    seen = unwrapper.flatten(np.zeros((WINDOW, WINDOW, 3), np.uint8), points)[..., 3] > 0
    left, right = seen[:, :10].sum(), seen[:, -10:].sum()
    assert max(left, right) > 3 * min(left, right)
