"""Wearing a texture: the target's light, eyes, mouth and glasses stay."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.mesh.canonical import canonical_face
from kernels.mesh.masks import FaceMasks, face_masks
from kernels.mesh.texture import FaceTexture
from kernels.mesh.wear import Costume, costume, wear

N = 320


@pytest.fixture(scope="module")
def masks() -> FaceMasks:
    return face_masks(canonical_face(), N)


def dress(target: np.ndarray, suit: Costume) -> np.ndarray:
    """The target is a face that already lies in the layout."""
    seen = np.ones((N, N), np.float32)
    return wear(target, suit.paint, suit.regions, suit.more, seen, N)


def suit_of(masks: FaceMasks, detail: float, weight: float = 1.0) -> Costume:
    texture = FaceTexture(
        detail=np.full((N, N, 3), detail, np.float32), weight=np.full((N, N), weight, np.float32)
    )
    return costume(texture, masks)


def skin(level: float = 0.5) -> np.ndarray:
    rng = np.random.default_rng(5)
    grain = rng.normal(0, 0.005, (N, N, 1)).astype(np.float32)
    return np.clip(np.array([1.1, 0.9, 0.8], np.float32) * level + grain, 0, 1).astype(np.float32)


def test_an_unseen_source_leaves_plain_skin_as_it_is(masks: FaceMasks) -> None:
    target = skin()
    rgb = dress(target, suit_of(masks, 0.0, weight=0.0))
    outside = masks.brow_zone < 0.01
    assert np.abs(rgb - target)[outside].max() < 0.03


def test_detail_darkens_in_the_targets_own_light(masks: FaceMasks) -> None:
    core = (masks.features > 0.95) & (masks.forehead < 0.01) & (masks.lips < 0.01)
    core &= (masks.eyes < 0.01) & (masks.mouth < 0.01) & (masks.nostrils < 0.01)
    for level in (0.2, 0.7):
        rgb = dress(skin(level), suit_of(masks, -0.3))
        plain = dress(skin(level), suit_of(masks, 0.0))
        assert rgb[core].mean() < 0.85 * plain[core].mean()


def test_eyes_and_mouth_are_the_targets(masks: FaceMasks) -> None:
    target = skin()
    kept = (masks.eyes > 0.999) | (masks.mouth > 0.999)
    target[kept] = np.random.default_rng(6).random((int(kept.sum()), 3))
    rgb = dress(target, suit_of(masks, -0.6))
    np.testing.assert_allclose(rgb[kept], target[kept], atol=0.01)


def test_shut_lids_are_the_targets_on_their_own_side(masks: FaceMasks) -> None:
    opened = skin()
    opened[masks.gaze > 0.1] = 0.1
    half = np.arange(N)[None, :] < N // 2 - 2
    winking = opened.copy()
    winking[(masks.gaze > 0.1) & half] = skin()[(masks.gaze > 0.1) & half]
    suit = suit_of(masks, -0.5)
    open_eyed, winked = dress(opened, suit), dress(winking, suit)
    lids = (masks.lids > 0.9) & (masks.brow_hair < 0.01) & (masks.eyes < 0.01)
    # Lids that are kept show none of the source's darkening.
    assert winked[lids & half].mean() > open_eyed[lids & half].mean() + 0.05
    np.testing.assert_allclose(winked[lids & ~half], open_eyed[lids & ~half], atol=1e-3)


def test_sunglasses_stay_in_front(masks: FaceMasks) -> None:
    target = skin(0.6)
    rows = slice(int(0.30 * N), int(0.42 * N))
    target[rows, int(0.2 * N) : int(0.8 * N)] = 0.03
    rgb = dress(target, suit_of(masks, 0.3))
    middle = rgb[int(0.34 * N) : int(0.39 * N), int(0.3 * N) : int(0.7 * N)]
    assert middle.mean() < 0.1


def test_old_brows_vanish_where_the_source_has_none(masks: FaceMasks) -> None:
    target = skin(0.6)
    target *= 1 - 0.7 * masks.brows[..., None]
    rgb = dress(target, suit_of(masks, 0.0))
    brow = masks.brows > 0.9
    assert target[brow].mean() < 0.25
    assert rgb[brow].mean() > 0.45


def test_black_and_white_targets_stay_in_range(masks: FaceMasks) -> None:
    for level in (0.0, 1.0):
        rgb = dress(np.full((N, N, 3), level, np.float32), suit_of(masks, 0.4))
        assert np.isfinite(rgb).all()
        assert rgb.min() >= 0
        assert rgb.max() <= 1
