"""The blend mask of a neural swapper: the smallest of the parts that the job asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from actors.inference.planes import resized
from actors.mask_networks import OcclusionNetwork, RegionNetwork
from actors.swapper import AlignedFace
from kernels.face_masks import area_mask, box_mask, hull_mask
from scheduler.errors import SettingInvalid
from scheduler.masks import MASK_TYPES, MaskSettings

Floats = NDArray[np.float32]

NARROW: Final = 0.1
"""Blur of the border that every mask has, box or not: at its edge a crop must have faded out."""


class FaceMasker:
    """Makes blend masks.

    Args:
        settings: which parts.
        size: side of the crops in pixels.
        occlusion: with the type ``occlusion``.
        regions: with the type ``region``.

    Raises:
        SettingInvalid: no type, or one that does not exist.
    """

    def __init__(
        self,
        settings: MaskSettings,
        size: int,
        occlusion: OcclusionNetwork | None = None,
        regions: RegionNetwork | None = None,
    ) -> None:
        unknown = [kind for kind in settings.types if kind not in MASK_TYPES]
        if unknown or not settings.types:
            raise SettingInvalid(
                f"the mask type {unknown[0]!r}" if unknown else "no mask type at all",
                "some of " + ", ".join(MASK_TYPES),
                "choose from these",
            )
        self._types = frozenset(settings.types)
        self._areas = settings.areas
        self._size = size
        self._occlusion = occlusion
        self._regions = regions
        if "box" in self._types:
            self._border = box_mask(size, settings.blur, settings.padding)
        else:
            self._border = box_mask(size, NARROW)

    @property
    def size(self) -> int:
        """Side of the crops in pixels."""
        return self._size

    @property
    def border(self) -> Floats:
        """float32 [size, size] that no mask is above; not to be written to."""
        return self._border

    @property
    def drawn_anew(self) -> bool:
        """Whether ``drawn`` is another one for each face."""
        return bool(self._types & {"hull", "area"})

    @property
    def takes_own(self) -> bool:
        """Whether the swapper's own mask is a part."""
        return "model" in self._types

    def drawn(self, landmarks: NDArray[np.floating]) -> Floats:
        """float32 [size, size] the parts that need no network: the least of them. Not to be written
        to.

        Args:
            landmarks: [n, 2] in crop pixels.
        """
        parts = [self._border]
        if "hull" in self._types:
            parts.append(hull_mask(self._size, landmarks))
        if "area" in self._types:
            parts.append(area_mask(self._size, landmarks, self._areas))
        return parts[0] if len(parts) == 1 else np.minimum.reduce(parts)

    def masks(
        self,
        faces: Sequence[AlignedFace],
        swapped: Sequence[Floats],
        own: Sequence[Floats | None],
    ) -> list[Floats]:
        """float32 [size, size] 0..1 for each face; not to be written to.

        Args:
            faces: with their crops and landmarks.
            swapped: [3, size, size] R'G'B' 0..1, what the swapper made of each.
            own: [size, size] the swapper's own mask of each, used with the type ``model``.
        """
        parts: list[list[Floats]] = [[self.drawn(face.landmarks)] for face in faces]
        for part, mine in zip(parts, own, strict=True):
            if self.takes_own and mine is not None:
                part.append(np.clip(resized(mine, self._size), 0, 1))
        if self._occlusion is not None:
            for part, mask in zip(
                parts, self._occlusion.masks([face.crop for face in faces]), strict=True
            ):
                part.append(mask)
        if self._regions is not None:
            for part, mask in zip(parts, self._regions.masks(swapped), strict=True):
                part.append(mask)
        return [part[0] if len(part) == 1 else np.minimum.reduce(part) for part in parts]
