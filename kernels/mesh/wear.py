"""The source's texture, worn by the target: its detail in the target's light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from kernels.mesh.masks import FaceMasks
from kernels.mesh.shading import log_light, reduction, rgb_of, shrink, smooth_skin
from kernels.mesh.texture import LOW, FaceTexture

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Sample = TypeVar("Sample", np.float32, np.uint8)

GRAIN: Final = 0.4
"""Share of the target's grain and pores that is laid over the source's features."""
EMPHASIS: Final = 1.18
"""A feature loses contrast on its way through two skins that are both a little too smooth."""
LIPS: Final = 0.8
"""Share of the source in the lips' light and dark; their colour is the target's."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Costume:
    """A texture and the face's regions, packed for as few look-ups as can be."""

    paint: Floats
    """[n, n, 4] detail times share, and the share of the source."""
    regions: Bytes
    """[n, n, 4] skin, hollows (eyes and mouth), lips, nostrils; 255 is 1."""
    more: Bytes
    """[n, n, 4] lids, brow zone, gaze of the left eye, gaze of the right eye."""


def costume(texture: FaceTexture, masks: FaceMasks) -> Costume:
    """Pack a texture. Above the brows the target's own skin stays."""
    share = texture.weight * np.maximum(masks.features * (1 - masks.forehead), masks.brows)
    lids = masks.lids * (1 - masks.brow_hair)
    left = np.zeros_like(lids)
    left[:, : len(left) // 2] = 1

    def packed(*planes: Floats) -> Bytes:
        return np.ascontiguousarray(np.rint(np.dstack(planes) * 255).astype(np.uint8))

    return Costume(
        paint=np.dstack([np.float32(EMPHASIS) * texture.detail * share[..., None], share]).astype(
            np.float32
        ),
        regions=packed(masks.skin, np.maximum(masks.eyes, masks.mouth), masks.lips, masks.nostrils),
        more=packed(lids, masks.brow_zone, masks.gaze * left, masks.gaze * (1 - left)),
    )


def wear(
    target: Floats,
    paint: Floats,
    regions: Bytes,
    more: Bytes,
    seen: Floats,
    size: int,
) -> Floats:
    """Dress a target in a costume that already lies on it.

    In logarithms, where light adds: the target's smooth skin, plus the source's detail, plus what
    the source leaves of the target's own detail. The target's grain comes back over the source's
    features; its eyes, the inside of its mouth, shut lids, and dark things in front of its
    face (hair, glasses) stay.

    Args:
        target: [h, w, 3] R'G'B' 0..1, moved into the new shape.
        paint, regions, more: the costume's arrays, looked up at [h, w].
        seen: [h, w] 0..1, how squarely the face is seen.
        size: side of the whole crop; sets all lengths.

    Returns:
        [h, w, 3] R'G'B' 0..1.
    """
    scale = np.float32(1 / 255)
    skin, hollows, lips, nostrils = _planes(regions) * scale
    lids, zone, *gazes = _planes(more) * scale
    skin *= seen
    light = log_light(target)
    low = smooth_skin(light, skin, 0.62 * LOW * size, 0.35)
    own = _planes(light - low)
    packed = _planes(paint)
    result, share = packed[:3], packed[3]
    own_luma = own.mean(axis=0)

    rest = own * ((1 - share) * seen)
    # Where the target's brows may lie only what is light is kept of it.
    rest += zone * (np.maximum(rest, np.float32(-0.03)) - rest)
    result += rest
    lip_luma = own_luma + np.float32(LIPS) * (result.mean(axis=0) - own_luma)
    # Shadows between the lips have no colour to trust; lifted by the source they would glow.
    lip_colour = np.clip(own - own_luma, -0.15, 0.15)
    result += lips * (lip_colour + lip_luma - result)
    # How far one looks into the nostrils is a matter of the target's pose.
    result += nostrils * np.minimum(np.float32(0.1) * own - result, 0)
    result += _grain(light, share, zone, lips, size)

    kept = np.maximum.reduce(
        [
            hollows,
            lids * _closed(own_luma, gazes[0], gazes[1]),
            _covered(own_luma, skin, size),
            1 - seen,
        ]
    )
    result += kept * (own - result)
    result += _planes(low)
    return cast(Floats, cv2.merge(list(rgb_of(result))))


def _planes(picture: NDArray[Sample]) -> NDArray[Sample]:
    """[h, w, c] as [c, h, w], where a plane can be spread over the channels."""
    return cast(NDArray[Sample], np.stack(cv2.split(picture)))


def _closed(own_luma: Floats, left: Floats, right: Floats) -> Floats:
    """[w] how far the eye on each column's side of the nose is shut, 0..1.

    The mesh hardly follows lids, so the picture is asked: an open eye has an iris, which is much
    darker than skin, and a shut one shows its lid there.
    """
    totals = [float(gaze.sum()) for gaze in (left, right)]
    columns = np.arange(own_luma.shape[1], dtype=np.float32)
    if min(totals) < 4:
        # One eye is turned away; whether the other is shut is not worth a guess.
        return np.zeros_like(columns)
    dark = np.clip((np.float32(-0.45) - own_luma) / np.float32(0.3), 0, 1)
    middles, shut = [], []
    for gaze, total in zip((left, right), totals, strict=True):
        middles.append(float((gaze.sum(axis=0) * columns).sum()) / total)
        shut.append(min(max((0.26 - float((dark * gaze).sum()) / total) / 0.12, 0.0), 1.0))
    across = np.clip(5 * (columns - middles[0]) / max(middles[1] - middles[0], 1) - 2, 0, 1)
    return cast(Floats, (shut[0] + (shut[1] - shut[0]) * across).astype(np.float32))


def _grain(light: Floats, share: Floats, zone: Floats, lips: Floats, size: int) -> Floats:
    """[h, w] the target's grain where the source covers it; in the brows, the forehead's."""
    luma = cast(Floats, cv2.transform(light, np.full((1, 3), 1 / 3, np.float32)))
    side = 2 * max(1, round(size / 128)) + 1
    fine = luma - cv2.blur(luma, (side, side))
    down = round(0.08 * size)
    above = np.zeros_like(fine)
    above[down:] = np.clip(fine[:-down], -0.025, 0.025)
    fine = np.clip(fine, -0.06, 0.06)
    fine += zone * (above - fine)
    share = np.maximum(share, zone) * (1 - np.float32(0.5) * lips)
    return cast(Floats, fine * share * np.float32(GRAIN))


def _covered(own_luma: Floats, weight: Floats, size: int) -> Floats:
    """[h, w] 1 where skin is so dark that something must lie over it.

    Features are dark themselves; they count as covered when the skin around them is.
    """
    h, w = own_luma.shape
    factor = reduction(size / 40)
    dark = np.clip((np.float32(-0.45) - own_luma) / np.float32(0.3), 0, 1) * weight
    both = shrink(np.dstack([dark, weight]), factor)
    both = cast(Floats, cv2.GaussianBlur(both, (0, 0), 0.02 * size / factor))
    covered = np.clip((both[..., 0] / (both[..., 1] + 0.02) - 0.12) * 2.5, 0, 1)
    return cast(Floats, cv2.resize(covered, (w, h), interpolation=cv2.INTER_LINEAR))
