"""The source face as a texture in the canonical layout: what lies on its skin, without light."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from kernels.mesh.masks import FaceMasks
from kernels.mesh.shading import log_light, smooth_skin

Floats = NDArray[np.float32]

LOW: Final = 0.10
"""Sigma of the low-frequency skin, as a share of the layout's side."""
SHADE: Final = np.array([0.89, 1.02, 1.09], np.float32)
"""How much R', G' and B' of skin fall where its light falls by 1."""
DEEPEST: Final = np.float32(0.9)
"""Where the darkening of a feature levels off: of skin at 0.6 it leaves 0.22."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FaceTexture:
    """What one or more pictures of a person tell."""

    detail: Floats
    """[n, n, 3] logarithm of the source over its own smooth skin: 0 is bare skin."""
    weight: Floats
    """[n, n] 0..1 how far that is to be trusted: 0 under hair and where nothing was seen."""


def face_texture(rgb: Floats, seen: Floats, masks: FaceMasks) -> FaceTexture:
    """Take the light off a source face.

    The light that stays in the logarithm over smooth skin is a lamp's: shadows on one side and
    gloss. Faces are symmetrical enough to tell: on bare skin both sides become the same, nearer to
    the lighter one, and what hair covers on one side comes from the other.

    Args:
        rgb: [n, n, 3] the source in the canonical layout, R'G'B' 0..1.
        seen: [n, n] 0..1, how squarely the source was seen there.
        masks: of the same size.
    """
    n = len(rgb)
    light = log_light(rgb)
    hair = _hair(light, masks)
    bare = masks.skin * np.clip(1 - 1.6 * _blur(hair, 0.012), 0, 1) * seen
    detail = light - smooth_skin(light, bare, LOW * n, 0.25)

    trust = np.clip(1 - 1.6 * _blur(hair, 0.012), 0, 1) * seen
    other_side = np.clip((_mirrored(trust) - trust) / 0.3, 0, 1)
    # A fringe near one brow spoils it before it covers it.
    near = _blur(hair, 0.04)
    other_brow = masks.brows * np.clip((near - _mirrored(near)) / 0.1, 0, 1)
    swap = _blur(np.maximum(other_side, other_brow), 0.01)[..., None]
    detail += swap * (_mirrored(detail) - detail)
    trust = np.maximum(trust, _mirrored(trust))

    skin, nose = masks.skin[..., None], masks.nose[..., None]
    mid = smooth_skin(detail, bare + 1e-4, 0.012 * n)
    even = (mid + _mirrored(mid)) / 2 + 0.1 * np.abs(mid - _mirrored(mid))
    detail += skin * (even - mid)
    detail += nose * (np.maximum(detail, _mirrored(detail)) - detail)
    glossy = np.maximum.reduce([skin, masks.lips[..., None], masks.lids[..., None]])
    gloss = np.maximum(detail, 0)
    detail += glossy * (0.08 * np.tanh(gloss / 0.08) - gloss)
    # A lit forehead between a brow and a fringe is no part of the brow, nor wet gloss of the lips.
    lit = np.maximum(0.4 * masks.brow_hair, 0.6 * masks.lips)[..., None]
    detail -= lit * np.maximum(detail, 0)
    # Most of a contrast in colour is the lamp's and the camera's; skin that darkens gets warmer.
    luma = detail.mean(axis=2, keepdims=True)
    detail = luma * SHADE + 0.4 * (detail - luma)
    # Thin brows are lost on a small picture; those of a hard print would look painted.
    depth = -float(np.percentile(detail.mean(axis=2)[masks.brows > 0.5], 5))
    detail *= 1 + np.float32(np.clip(0.8 - depth, 0, 0.5)) * masks.brow_hair[..., None]
    detail = np.where(detail < 0, DEEPEST * np.tanh(detail / DEEPEST), detail)
    return FaceTexture(detail=_without_hollows(detail, masks), weight=trust)


def merge(textures: Sequence[FaceTexture], says: Sequence[float]) -> FaceTexture:
    """Several pictures of one person: the mean, weighted by how well each saw each place.

    Args:
        textures: at least one, all of one size.
        says: weight of each picture as a whole, above 0.
    """
    weights = np.stack(
        [
            np.float32(say) * (texture.weight + np.float32(1e-4))
            for texture, say in zip(textures, says, strict=True)
        ]
    )
    shares = (weights / weights.sum(axis=0))[..., None]
    detail = (np.stack([texture.detail for texture in textures]) * shares).sum(axis=0)
    return FaceTexture(detail=detail, weight=np.max([t.weight for t in textures], axis=0))


def _mirrored(values: Floats) -> Floats:
    return values[:, ::-1]


def _blur(mask: Floats, by: float) -> Floats:
    return cast(Floats, cv2.GaussianBlur(mask, (0, 0), by * len(mask)))


def _hair(light: Floats, masks: FaceMasks) -> Floats:
    """[n, n] 1 where forehead and rim do not look like the skin of cheeks and nose."""
    n = len(light)
    middle = np.zeros((n, n), np.bool_)
    middle[int(0.4 * n) : int(0.75 * n), int(0.25 * n) : int(0.75 * n)] = True
    skin = np.median(light[middle & (masks.skin > 0.5)], axis=0)
    off = cv2.GaussianBlur(light, (0, 0), 0.004 * n) - skin
    luma = off.mean(axis=2)
    tint = np.abs(off - luma[..., None]).max(axis=2)
    strange = np.clip(np.maximum((-luma - 0.35) / 0.25, (tint - 0.18) / 0.12), 0, 1)
    rim = np.maximum(masks.forehead, 1 - np.clip((masks.blend - 0.6) / 0.4, 0, 1))
    return cast(Floats, cv2.dilate(strange, np.ones((5, 5), np.uint8)) * rim)


def _without_hollows(detail: Floats, masks: FaceMasks) -> Floats:
    """Fill eyes and mouth from lids and lips.

    Those are the target's. Where it shuts them, the source's teeth and the white of its eyes must
    not shine through the seam.
    """
    mouth = cv2.dilate(masks.mouth, np.ones((3, 3), np.uint8))
    hollow = np.clip(np.maximum(mouth, masks.eyes) * 1.5, 0, 1)
    edge = cast(Floats, (masks.lips + masks.lids) * (1 - hollow))
    around = smooth_skin(detail, edge, 0.02 * len(detail))
    return (detail + hollow[..., None] * (around - detail)).astype(np.float32)
