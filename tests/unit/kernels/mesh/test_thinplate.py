"""The thin-plate operator: planes stay planes, control points are met, smoothing smooths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.mesh.canonical import canonical_face
from kernels.mesh.thinplate import ThinPlate

number = st.floats(-100, 100, allow_nan=False)


@settings(deadline=None)
@given(number, number, number, st.sampled_from([0.0, 1e-4, 1e-2, 1.0]))
def test_planes_pass_unbent(a: float, b: float, c: float, smoothing: float) -> None:
    rng = np.random.default_rng(1)
    control, queries = rng.random((40, 2)), rng.random((30, 2)) * 2 - 0.5
    sheet = ThinPlate(control, queries, smoothing)
    np.testing.assert_allclose(
        sheet.at((control @ [a, b] + c)[:, None])[:, 0], queries @ [a, b] + c, atol=1e-6, rtol=1e-6
    )


def test_without_smoothing_control_values_are_met() -> None:
    rng = np.random.default_rng(2)
    control, values = rng.random((60, 2)), rng.random((60, 3))
    sheet = ThinPlate(control, control, 0.0)
    np.testing.assert_allclose(sheet.at(values), values, atol=1e-8)


def test_it_is_the_surface_of_least_bending() -> None:
    """Against the textbook solution for one set of values: kernel weights plus a plane."""
    rng = np.random.default_rng(3)
    control, values, query = rng.random((25, 2)), rng.random(25), rng.random((9, 2))

    def kernel(p: np.ndarray, q: np.ndarray) -> np.ndarray:
        r = np.linalg.norm(p[:, None] - q[None], axis=2)
        return np.where(r > 0, r**2 * np.log(np.where(r > 0, r, 1)), 0)

    plane = np.column_stack([np.ones(25), control])
    full = np.block(
        [[kernel(control, control) + 0.01 * np.eye(25), plane], [plane.T, np.zeros((3, 3))]]
    )
    weights = np.linalg.solve(full, np.concatenate([values, np.zeros(3)]))
    wanted = kernel(query, control) @ weights[:25] + weights[25] + query @ weights[26:]
    np.testing.assert_allclose(
        ThinPlate(control, query, 0.01).at(values[:, None])[:, 0], wanted, atol=1e-9
    )


def test_the_sheet_through_a_face_stays_near_its_vertices() -> None:
    face = canonical_face()
    sheet = ThinPlate(face.layout, face.layout, 1e-4)
    # A 256-px crop shows the face about 160 pixels high.
    miss = np.linalg.norm(sheet.at(face.vertices[:, :2]) - face.vertices[:, :2], axis=1) * 160
    assert miss.mean() < 0.8


def test_the_quick_way_agrees() -> None:
    face = canonical_face()
    sheet = ThinPlate(face.layout, np.random.default_rng(4).random((500, 2)), 1e-4)
    values = face.vertices[:, :2] * 160 + 128
    np.testing.assert_allclose(sheet.quick(values), sheet.at(values), atol=0.02)


def test_points_on_a_line_determine_no_surface() -> None:
    line = np.column_stack([np.linspace(0, 1, 9), np.linspace(0, 1, 9)])
    with pytest.raises(ValueError, match="no surface"):
        ThinPlate(line, line, 0.0)
