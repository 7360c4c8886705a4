"""Points followed over known motion, and what is concluded from them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kernels import flow
from kernels.flow import carry, fit_similarity, flow_luma, follow, luma_step, spread
from kernels.geometry import apply
from kernels.mesh.canonical import canonical_face
from kernels.picture import Picture, PictureFormat

WIDTH, HEIGHT = 320, 240
NOISE = np.random.default_rng(7)
OCTAVES = [cv2.GaussianBlur(NOISE.normal(0, s, (480, 640)), (0, 0), s) for s in (2.0, 6.0, 18.0)]
TEXTURE = 128 + 45 * np.sum(OCTAVES, axis=0) / np.std(np.sum(OCTAVES, axis=0))
POINTS = np.stack(np.meshgrid(np.linspace(110, 210, 9), np.linspace(70, 170, 9)), -1).reshape(-1, 2)


def move(angle: float, size: float, shift: tuple[float, float]) -> NDArray[np.float64]:
    """Turn (degrees) and scale about the middle of the points, then shift."""
    cos, sin = size * np.cos(np.radians(angle)), size * np.sin(np.radians(angle))
    linear = np.array([[cos, -sin], [sin, cos]])
    middle = POINTS.mean(axis=0)
    return np.column_stack([linear, middle - linear @ middle + shift])


def shot(affine: NDArray[np.float64], noise: float = 0.0, seed: int = 0) -> NDArray[np.uint8]:
    """The texture, moved, as a camera with that much noise sees it."""
    corner = np.array([[1.0, 0, -160], [0, 1, -120]])
    whole = affine @ np.vstack([corner, [0, 0, 1]])
    seen = cv2.warpAffine(TEXTURE, whole, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC)
    seen += np.random.default_rng(seed).normal(0, noise, seen.shape)
    return np.clip(np.rint(seen), 0, 255).astype(np.uint8)


STILL = shot(move(0, 1, (0, 0)))


@pytest.mark.parametrize(
    ("angle", "size", "shift"),
    [(0, 1, (0.3, -0.4)), (2, 1.02, (6.2, -3.1)), (-4, 0.97, (-20.5, 9)), (0, 1, (29, 0))],
)
def test_points_are_found_where_they_went(
    angle: float, size: float, shift: tuple[float, float]
) -> None:
    affine = move(angle, size, shift)
    moved, weights = follow(STILL, shot(affine), POINTS, 1.0)
    missed = np.linalg.norm(moved - apply(affine, POINTS), axis=1)
    # A window's content turns and grows with it: single points are a little off, all together not.
    assert np.median(missed) < 0.2
    assert missed[weights > 0.5].max() < 0.6
    fit = fit_similarity(POINTS, moved, weights, 1.0)
    assert np.abs(apply(fit, POINTS) - apply(affine, POINTS)).max() < 0.1
    assert weights.mean() > 0.9


def test_noise_moves_points_a_little_and_weights_softly() -> None:
    affine = move(3, 1.02, (5, 2))
    moved, weights = follow(STILL, shot(affine, 3.0, 1), POINTS, 1.0)
    other, _ = follow(STILL, shot(affine, 3.0, 2), POINTS, 1.0)
    assert 0 < np.median(np.linalg.norm(moved - other, axis=1)) < 0.1
    assert (weights > 0.8).mean() > 0.9
    fit = fit_similarity(POINTS, moved, weights, 1.0)
    assert np.abs(apply(fit, POINTS) - apply(affine, POINTS)).max() < 0.06


def test_what_is_gone_has_no_weight() -> None:
    elsewhere = np.random.default_rng(3).integers(0, 255, STILL.shape).astype(np.uint8)
    _, weights = follow(STILL, elsewhere, POINTS, 1.0)
    assert weights.mean() < 0.1
    _, weights = follow(STILL, STILL, POINTS + np.array([5000, 0]), 1.0)
    assert (weights == 0).all()
    _, weights = follow(STILL[:1, :1], STILL[:1, :1], POINTS, 1.0)
    assert (weights == 0).all()


def test_pixels_far_from_the_points_do_not_matter_to_the_last_bit() -> None:
    wide = np.full((800, 1200), 90, np.uint8)
    after = wide.copy()
    wide[280:520, 440:760] = STILL
    after[280:520, 440:760] = shot(move(2, 1, (7, 3)))
    points = POINTS + np.array([440, 280])
    one = follow(wide, after, points, 1.0)
    noise = np.random.default_rng(5).integers(0, 255, (800, 300)).astype(np.uint8)
    wide[:, :300] = noise
    after[:, -250:] = noise[:, :250]
    other = follow(wide, after, points, 1.0)
    assert one[0].tobytes() == other[0].tobytes()
    assert one[1].tobytes() == other[1].tobytes()


@settings(deadline=None, max_examples=40)
@given(
    angle=st.floats(-180, 180),
    size=st.floats(0.3, 3),
    x=st.floats(-300, 300),
    y=st.floats(-300, 300),
)
def test_a_similarity_is_recovered_exactly(angle: float, size: float, x: float, y: float) -> None:
    affine = move(angle, size, (x, y))
    fit = fit_similarity(POINTS, apply(affine, POINTS), np.full(len(POINTS), 0.3), 1.0)
    assert fit == pytest.approx(affine, abs=1e-9, rel=1e-9)


def test_a_third_of_wild_points_does_not_bend_the_fit() -> None:
    affine = move(5, 1.1, (12, -4))
    target = apply(affine, POINTS)
    target[::3] += [14, 9]
    fit = fit_similarity(POINTS, target, np.ones(len(POINTS)), 1.0)
    assert np.abs(apply(fit, POINTS) - apply(affine, POINTS)).max() < 0.5
    plain = fit_similarity(POINTS, target, np.ones(len(POINTS)), 1e6)
    assert np.abs(apply(plain, POINTS) - apply(affine, POINTS)).max() > 4


def test_more_rounds_would_change_little(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(11)
    target = apply(move(5, 1.1, (12, -4)), POINTS) + noise.normal(0, 0.5, POINTS.shape)
    target[:20] += [6, 3]
    few = apply(fit_similarity(POINTS, target, np.ones(len(POINTS)), 2.0), POINTS)
    monkeypatch.setattr(flow, "ROUNDS", 50)
    many = apply(fit_similarity(POINTS, target, np.ones(len(POINTS)), 2.0), POINTS)
    assert 0 < np.abs(few - many).max() < 0.05


def test_without_weight_or_extent_there_is_no_fit() -> None:
    with pytest.raises(ValueError, match="no point has weight"):
        fit_similarity(POINTS, POINTS, np.zeros(len(POINTS)), 1.0)
    with pytest.raises(ValueError, match="coincide"):
        fit_similarity(np.ones((5, 2)), np.ones((5, 2)), np.ones(5), 1.0)


def test_a_face_is_carried_with_what_bends_smoothly() -> None:
    vertices = canonical_face().vertices
    picks = spread(vertices, 68)
    near = np.exp(-np.square(vertices[:, None] - vertices[picks]).sum(axis=2) / 0.02)
    face = 200 * vertices[:, :2] + 300
    bent = face + np.stack([3 * np.sin(face[:, 1] / 60), np.zeros(len(face))], axis=1)
    target = apply(move(4, 1.05, (10, 5)), bent)
    seen = target[picks].copy()
    weights = np.ones(len(picks))
    carried = carry(face, face[picks], seen, weights, near, 4.0)
    rigid = apply(fit_similarity(face[picks], seen, weights, 4.0), face)
    error, without = (np.linalg.norm(p - target, axis=1).mean() for p in (carried, rigid))
    assert error < 0.35 * without
    # One point that runs off alone moves hardly anything, one without weight nothing at all.
    seen[10] += [60, 0]
    wild = carry(face, face[picks], seen, weights, near, 4.0)
    assert np.abs(wild - carried).max() < 2
    weights[10] = 0
    seen[10] = np.array([-999, 999])
    gone = carry(face, face[picks], seen, weights, near, 4.0)
    assert np.abs(gone - carried).max() < 0.7


def test_picks_are_spread_and_fixed() -> None:
    vertices = canonical_face().vertices
    picks = spread(vertices, 68)
    assert len(set(picks)) == 68
    gaps = np.linalg.norm(vertices[picks][:, None] - vertices[picks], axis=2)
    np.fill_diagonal(gaps, 9)
    nearest = np.linalg.norm(vertices[:, None] - vertices[picks], axis=2).min(axis=1)
    assert nearest.max() <= gaps.min()


@pytest.mark.parametrize(
    ("width", "height", "step"), [(96, 64, 1), (640, 360, 1), (1279, 719, 1), (3840, 2160, 6)]
)
def test_luma_of_wide_films_is_taken_small(width: int, height: int, step: int) -> None:
    y, x = np.mgrid[:height, :width]
    plane = ((x * 3 + y * 5) % 1021).astype(np.uint16)
    fmt = PictureFormat(width=width, height=height, depth=10, planes=1)
    luma = flow_luma(Picture(format=fmt, planes=(plane,)))
    assert luma_step(Picture(format=fmt, planes=(plane,))) == step
    assert luma.dtype == np.uint8
    assert luma.shape == (height // step, width // step)
    first = plane[:step, :step].mean() / 4
    assert abs(int(luma[0, 0]) - first) <= 1


def test_a_film_as_flat_as_a_line_has_luma() -> None:
    fmt = PictureFormat(width=4000, height=2, planes=1)
    picture = Picture(format=fmt, planes=(np.full((2, 4000), 7, np.uint8),))
    assert flow_luma(picture).shape == (1, 666)
