"""The thin-plate operator: planes stay planes, control points are met, smoothing smooths."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kernels.mesh.canonical import canonical_face
from kernels.mesh.thinplate import thin_plate_operator

number = st.floats(-100, 100, allow_nan=False)


@given(number, number, number, st.sampled_from([0.0, 1e-4, 1e-2, 1.0]))
def test_planes_pass_unbent(a: float, b: float, c: float, smoothing: float) -> None:
    rng = np.random.default_rng(1)
    control, queries = rng.random((40, 2)), rng.random((30, 2)) * 2 - 0.5
    operator = thin_plate_operator(control, queries, smoothing)
    np.testing.assert_allclose(
        operator @ (control @ [a, b] + c), queries @ [a, b] + c, atol=1e-6, rtol=1e-6
    )


def test_without_smoothing_control_values_are_met() -> None:
    rng = np.random.default_rng(2)
    control, values = rng.random((60, 2)), rng.random((60, 3))
    operator = thin_plate_operator(control, control, 0.0)
    np.testing.assert_allclose(operator @ values, values, atol=1e-8)


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
        thin_plate_operator(control, query, 0.01) @ values, wanted, atol=1e-9
    )


def test_the_sheet_through_a_face_stays_near_its_vertices() -> None:
    face = canonical_face()
    operator = thin_plate_operator(face.layout, face.layout, 1e-4)
    # A 256-px crop shows the face about 160 pixels high.
    miss = np.linalg.norm(operator @ face.vertices[:, :2] - face.vertices[:, :2], axis=1) * 160
    assert miss.mean() < 0.8
