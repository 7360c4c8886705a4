import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import geometry
from kernels.picture import PictureFormat, Roi

finite = st.floats(-1e3, 1e3)


@given(
    scale=st.floats(0.05, 20),
    angle=st.floats(-3.2, 3.2),
    x=finite,
    y=finite,
    seed=st.integers(0, 99),
)
def test_similarity_finds_what_made_the_points(scale, angle, x, y, seed):
    points = np.random.default_rng(seed).normal(size=(7, 2)) * 50
    made = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    affine = np.column_stack([made, [x, y]])
    found = geometry.similarity(points, geometry.apply(affine, points))
    assert np.allclose(found, affine, atol=1e-7 * max(1, abs(x), abs(y), scale * 50))
    assert geometry.scale(found) == pytest.approx(scale)


def test_similarity_is_the_least_squares_one():
    rng = np.random.default_rng(3)
    source, target = rng.normal(size=(30, 2)), rng.normal(size=(30, 2))
    best = geometry.similarity(source, target)
    error = np.square(geometry.apply(best, source) - target).sum()
    for step in np.eye(4) * 1e-3:
        for sign in (-1, 1):
            a, b, x, y = np.array([best[0, 0], best[1, 0], best[0, 2], best[1, 2]]) + sign * step
            near = np.array([[a, -b, x], [b, a, y]])
            assert np.square(geometry.apply(near, source) - target).sum() > error


def test_similarity_never_mirrors():
    points = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [3.0, 1.0]])
    found = geometry.similarity(points, points * (-1, 1))
    assert np.linalg.det(found[:, :2]) >= 0


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (np.zeros((4, 2)), np.eye(4, 2)),
        (np.eye(3, 2), np.eye(4, 2)),
        (np.eye(1, 2), np.eye(1, 2)),
        (np.array([[0, 0], [np.nan, 1]]), np.eye(2)),
    ],
)
def test_similarity_refuses_points_that_determine_none(source, target):
    with pytest.raises(ValueError, match=r"points|coincide"):
        geometry.similarity(source, target)


def test_invert_and_compose_undo_each_other():
    affine = np.array([[1.2, -0.4, 17.0], [0.3, 0.8, -5.0]])
    assert np.allclose(geometry.compose(geometry.invert(affine), affine), np.eye(2, 3))
    with pytest.raises(ValueError, match="inverted"):
        geometry.invert(np.array([[1.0, 2.0, 0.0], [2.0, 4.0, 0.0]]))
    with pytest.raises(ValueError, match="inverted"):
        geometry.invert(np.array([[1.0, 0.0, np.inf], [0.0, 1.0, 0.0]]))


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("ratio", [1.0, 64 / 45, 8 / 9])
def test_display_maps_outer_edges_onto_outer_edges(rotation, ratio):
    affine = geometry.display_affine(720, 576, ratio, rotation)
    width, height = geometry.display_size(720, 576, ratio, rotation)
    edges = np.array([[-0.5, -0.5], [719.5, -0.5], [719.5, 575.5], [-0.5, 575.5]])
    wanted = np.array(
        [[-0.5, -0.5], [width - 0.5, -0.5], [width - 0.5, height - 0.5], [-0.5, height - 0.5]]
    )
    # Turning the picture clockwise brings its top left corner to the next one clockwise.
    assert np.allclose(geometry.apply(affine, edges), np.roll(wanted, -rotation // 90, axis=0))


def test_display_refuses_what_no_player_does():
    with pytest.raises(ValueError, match="rotation 45"):
        geometry.display_affine(64, 64, 1.0, 45)
    with pytest.raises(ValueError, match="ratio"):
        geometry.display_size(64, 64, 0.0, 0)


def test_crop_roi_holds_every_pixel_that_the_crop_covers():
    affine = geometry.invert(np.array([[0.5, 0.2, 30.0], [-0.2, 0.5, 20.0]]))
    roi = geometry.crop_roi(affine, 64, 100, 80)
    y, x = np.mgrid[:80, :100]
    inside = np.abs(geometry.apply(affine, np.stack([x, y], -1)) - 31.5).max(-1) <= 32
    rows, columns = np.nonzero(inside)
    assert roi.x0 <= columns.min()
    assert columns.max() < roi.x1 <= 100
    assert roi.y0 <= rows.min()
    assert rows.max() < roi.y1 <= 80
    away = geometry.crop_roi(
        geometry.compose(np.array([[1.0, 0, 900], [0, 1, 0]]), affine), 64, 9, 9
    )
    assert away.empty
    assert away == Roi(x0=0, y0=0, x1=0, y1=0)


def test_chroma_sites():
    left = geometry.plane_affine(PictureFormat(width=8, height=8), 1)
    centre = geometry.plane_affine(PictureFormat(width=8, height=8, chroma_left=False), 2)
    full = geometry.plane_affine(PictureFormat(width=8, height=8, sub_x=0, sub_y=0), 1)
    assert geometry.apply(left, [0, 0]).tolist() == [0.0, 0.5]
    assert geometry.apply(left, [3, 1]).tolist() == [6.0, 2.5]
    assert geometry.apply(centre, [1, 1]).tolist() == [2.5, 2.5]
    assert np.array_equal(full, np.eye(2, 3))


def test_a_turned_square_becomes_the_upright_crop():
    angle = 0.6
    upright = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    middle = np.array([30.0, -12.0])
    affine = geometry.square_crop(upright, upright @ middle, 40.0, 224)
    assert np.allclose(geometry.apply(affine, middle), 111.5)
    corner = middle + upright.T @ np.array([-20.0, 20.0])
    assert np.allclose(geometry.apply(affine, corner), [-0.5, 223.5])
