"""Inverse maps: exact on smooth maps, and on the near side of a turned face."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.mesh.canonical import canonical_face
from kernels.mesh.thinplate import ThinPlate
from kernels.mesh.warp import grid_nodes, invert, jacobian, resample, spread, texel_nodes

GRID, SIZE = 64, 96


def turned_face(degrees: float) -> np.ndarray:
    """[GRID, GRID, 2] the canonical face, turned aside, on a grid of SIZE nodes."""
    face = canonical_face()
    angle = np.radians(degrees)
    x = face.vertices[:, 0] * np.cos(angle) + face.vertices[:, 2] * np.sin(angle)
    seen = np.column_stack([x, face.vertices[:, 1]]) * 60 + [48, 40]
    return ThinPlate(face.layout, grid_nodes(GRID), 1e-4).quick(seen).reshape(GRID, GRID, 2)


def test_the_inverse_of_a_smooth_map_leads_back() -> None:
    v, u = np.mgrid[0:GRID, 0:GRID].astype(np.float32)
    field = np.stack(
        [1.1 * u + 12 + 3 * np.sin(v / 9), 1.05 * v + 14 + 2 * np.cos(u / 7)], axis=2
    ).astype(np.float32)
    found, miss = invert(field, SIZE)
    inside = slice(26, 70)
    assert miss[inside, inside].max() < 0.06
    back = resample(field, found[..., 0], found[..., 1])[inside, inside]
    y, x = np.mgrid[inside, inside]
    np.testing.assert_allclose(back, np.stack([x, y], axis=2), atol=0.06)


@pytest.mark.parametrize("degrees", [-50, -25, 0, 25, 50])
def test_a_turned_face_is_found_on_its_near_side(degrees: float) -> None:
    field = turned_face(degrees)
    found, miss = invert(field, SIZE)
    # Places over the nose's bridge and both cheeks, seen by construction when in front.
    slopes = jacobian(field)
    front = spread(slopes) > 0.15
    v, u = np.nonzero(front)
    face = np.hypot(u / 63 - 0.5, v / 63 - 0.5) < 0.33
    at = np.rint(field[v[face], u[face]]).astype(int)
    inside = ((at >= 0) & (at < SIZE)).all(axis=1)
    at = at[inside]
    assert len(at) > 500
    assert np.quantile(miss[at[:, 1], at[:, 0]], 0.97) < 0.25
    here = found[at[:, 1], at[:, 0]]
    area = spread(resample(slopes, here[:, None, 0], here[:, None, 1]))[:, 0]
    # Far aside the nose hides part of the cheek: there two places are right at once.
    assert (area > 0).mean() > (0.97 if abs(degrees) < 30 else 0.9)


def test_what_the_grid_does_not_cover_is_reported() -> None:
    found, miss = invert(turned_face(0), SIZE)
    assert miss[0, 0] > 5
    assert (found >= 0).all()
    assert (found <= GRID - 1).all()


def test_the_answer_has_one_value() -> None:
    first, again = invert(turned_face(20), SIZE), invert(turned_face(20), SIZE)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])


def test_the_jacobian_is_the_slope_of_the_field() -> None:
    v, u = np.mgrid[0:8, 0:8].astype(np.float32)
    slopes = jacobian(np.stack([2 * u + 3 * v, -u + 5 * v], axis=2))
    np.testing.assert_allclose(slopes, np.broadcast_to([2, 3, -1, 5], slopes.shape))
    np.testing.assert_allclose(spread(slopes), 13)


def test_texels_sit_in_the_middle_of_their_share_of_the_grid() -> None:
    x, y = texel_nodes(10, 11)
    np.testing.assert_allclose(x[0], np.arange(10) + 0.5, rtol=1e-6)
    np.testing.assert_array_equal(x.T, y)
