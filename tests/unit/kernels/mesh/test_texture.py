"""The source as a texture: its light goes, its features stay, pictures of one person merge."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.mesh.canonical import canonical_face
from kernels.mesh.masks import FaceMasks, face_masks
from kernels.mesh.texture import FaceTexture, face_texture, merge

N = 320
SKIN = np.array([0.75, 0.55, 0.45], np.float32)


@pytest.fixture(scope="module")
def masks() -> FaceMasks:
    return face_masks(canonical_face(), N)


def painted(masks: FaceMasks, brows: float = 0.4) -> np.ndarray:
    """[N, N, 3] a plain face: skin, darker brows and lips, white teeth and eyes."""
    rgb = np.broadcast_to(SKIN, (N, N, 3)).copy()
    for mask, colour in (
        (masks.brows, SKIN * brows),
        (masks.lips, np.array([0.6, 0.3, 0.3])),
        (masks.mouth, np.array([0.95, 0.95, 0.9])),
        (masks.eyes, np.array([0.9, 0.9, 0.9])),
        (masks.nostrils, SKIN * 0.3),
    ):
        rgb += mask[..., None] * (colour - rgb).astype(np.float32)
    return rgb.astype(np.float32)


def seen_everywhere() -> np.ndarray:
    return np.ones((N, N), np.float32)


def test_plain_skin_has_no_detail_and_features_have(masks: FaceMasks) -> None:
    texture = face_texture(painted(masks), seen_everywhere(), masks)
    cheek = texture.detail[170:200, 70:100]
    assert np.abs(cheek).max() < 0.02
    assert texture.detail[masks.brows > 0.95].mean() < -0.4
    assert texture.detail[masks.lips > 0.95].mean() < -0.15


def test_teeth_and_eye_whites_are_filled_from_around(masks: FaceMasks) -> None:
    texture = face_texture(painted(masks), seen_everywhere(), masks)
    assert texture.detail[masks.mouth > 0.95].max() < 0.02
    assert texture.detail[masks.eyes > 0.95].max() < 0.05


def test_a_lamp_from_one_side_is_taken_away(masks: FaceMasks) -> None:
    lamp = np.ones((N, N, 1), np.float32)
    lamp[:, :150] = 0.75
    lit = face_texture(painted(masks) * lamp, seen_everywhere(), masks).detail
    bare = masks.skin > 0.95
    sides = np.abs(lit - lit[:, ::-1])[bare & bare[:, ::-1]]
    assert sides.mean() < 0.03


def test_hair_over_a_brow_is_not_trusted_and_the_other_brow_stands_in(masks: FaceMasks) -> None:
    rgb = painted(masks)
    fringe = np.zeros((N, N), bool)
    fringe[: N // 2, N // 2 :] = (masks.forehead > 0.3)[: N // 2, N // 2 :]
    rgb[fringe] = [0.12, 0.08, 0.05]
    plain = face_texture(painted(masks), seen_everywhere(), masks)
    covered = face_texture(rgb, seen_everywhere(), masks)
    brow = masks.brows > 0.95
    difference = np.abs(covered.detail - plain.detail).mean(axis=2)
    assert difference[brow].mean() < 0.12


def test_what_was_not_seen_has_no_weight(masks: FaceMasks) -> None:
    texture = face_texture(painted(masks), np.zeros((N, N), np.float32), masks)
    assert texture.weight.max() == 0
    assert np.isfinite(texture.detail).all()


def test_hard_prints_level_off(masks: FaceMasks) -> None:
    texture = face_texture(painted(masks, brows=0.02), seen_everywhere(), masks)
    assert texture.detail.min() >= -0.9
    thin = face_texture(painted(masks, brows=0.85), seen_everywhere(), masks)
    brow = masks.brows > 0.95
    assert thin.detail[brow].mean() < np.log(0.85) * 0.9


def test_merging_weighs_by_what_was_seen() -> None:
    left, right = np.zeros((4, 4), np.float32), np.zeros((4, 4), np.float32)
    left[:, :2], right[:, 2:] = 1, 1
    one = FaceTexture(detail=np.full((4, 4, 3), 0.5, np.float32), weight=left)
    two = FaceTexture(detail=np.full((4, 4, 3), -0.5, np.float32), weight=right)
    both = merge([one, two], [1.0, 1.0])
    np.testing.assert_allclose(both.detail[:, :2], 0.5, atol=1e-3)
    np.testing.assert_allclose(both.detail[:, 2:], -0.5, atol=1e-3)
    np.testing.assert_array_equal(both.weight, 1)
    alone = merge([one], [0.3])
    np.testing.assert_allclose(alone.detail, one.detail, rtol=1e-6)
    np.testing.assert_array_equal(alone.weight, one.weight)


def test_the_larger_picture_has_the_greater_say() -> None:
    weight = np.ones((2, 2), np.float32)
    big = FaceTexture(detail=np.ones((2, 2, 3), np.float32), weight=weight)
    small = FaceTexture(detail=np.zeros((2, 2, 3), np.float32), weight=weight)
    np.testing.assert_allclose(merge([big, small], [1.0, 0.25]).detail, 0.8, rtol=1e-6)
