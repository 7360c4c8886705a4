"""What of an aligned crop is pasted back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MASK_TYPES: Final = ("hull", "box", "occlusion", "area", "region", "model")
AREAS: Final = ("upper-face", "lower-face", "mouth")
REGIONS: Final = (
    "skin",
    "left-eyebrow",
    "right-eyebrow",
    "left-eye",
    "right-eye",
    "glasses",
    "nose",
    "mouth",
    "upper-lip",
    "lower-lip",
)
OCCLUDERS: Final = ("xseg_1", "xseg_2", "xseg_3", "many")
PARSERS: Final = ("bisenet_resnet_18", "bisenet_resnet_34")


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskSettings:
    """The blend mask of a neural swapper: the smallest of its parts at each pixel."""

    types: tuple[str, ...] = ("box",)
    """Some of MASK_TYPES. hull: the face's outline by its landmarks; model: the swapper's own."""
    areas: tuple[str, ...] = AREAS
    """Of the face, with ``area``."""
    regions: tuple[str, ...] = REGIONS
    """Of the face, with ``region``; needs the parser."""
    blur: float = 0.3
    """0..1, of the box's soft border."""
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Cut off the box: top, right, bottom, left, in percent of the crop."""
    occluder: str = "xseg_1"
    """One of OCCLUDERS, with ``occlusion``."""
    parser: str = "bisenet_resnet_34"
    """One of PARSERS, with ``region``."""
