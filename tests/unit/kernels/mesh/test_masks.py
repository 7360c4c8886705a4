"""The regions: soft, symmetrical, apart where they must be."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from kernels.mesh.canonical import OVAL, canonical_face
from kernels.mesh.masks import FaceMasks, face_masks

FACE = canonical_face()


@pytest.fixture(scope="module", params=[320, 448])
def masks(request: pytest.FixtureRequest) -> FaceMasks:
    return face_masks(FACE, request.param)


def test_all_are_shares_and_symmetrical(masks: FaceMasks) -> None:
    for field in fields(masks):
        mask = getattr(masks, field.name)
        assert mask.dtype == np.float32, field.name
        assert mask.min() >= 0, field.name
        assert mask.max() <= 1 + 1e-6, field.name
        assert mask.max() > 0.5, field.name
        assert np.abs(mask - mask[:, ::-1]).mean() < 0.004, field.name


def test_the_blend_ends_inside_the_outline(masks: FaceMasks) -> None:
    n = len(masks.blend)
    at = np.clip(np.rint(FACE.layout[list(OVAL)] * n - 0.5).astype(int), 0, n - 1)
    assert masks.blend[at[:, 1], at[:, 0]].max() < 0.02
    assert masks.blend[n // 2, n // 2] == pytest.approx(1, abs=1e-3)


def test_bare_skin_has_no_features(masks: FaceMasks) -> None:
    for mask in (masks.brows, masks.eyes, masks.lips, masks.mouth, masks.nostrils):
        assert (masks.skin * mask).max() < 0.3
        assert masks.skin[mask > 0.9].max(initial=0) < 0.05


def test_brow_regions_are_nested(masks: FaceMasks) -> None:
    assert (masks.brow_hair >= masks.brows - 0.05).all()
    assert (masks.brow_zone >= masks.brow_hair - 0.05).all()
