"""Networks that see which pixels of a face's crop are face: occluders and parsers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from actors.inference.planes import resized, scale_in
from actors.inference.runtime import Runtime
from actors.swapper_specs import IMAGENET_MEAN, IMAGENET_STD
from kernels.face_masks import soft_inside

Floats = NDArray[np.float32]

OCCLUDER_SIZE: Final = 256
PARSER_SIZE: Final = 512
CLASSES: Final = {
    "skin": 1,
    "left-eyebrow": 2,
    "right-eyebrow": 3,
    "left-eye": 4,
    "right-eye": 5,
    "glasses": 6,
    "nose": 10,
    "mouth": 11,
    "upper-lip": 12,
    "lower-lip": 13,
}
"""Numbers of the parsers' classes (CelebAMask-HQ) by the name of the region."""


class OcclusionNetwork:
    """XSeg: the face without what is before it, hands, hair, glasses, microphones.

    Args:
        networks: each [n, 256, 256, 3] B'G'R' 0..1 -> [n, 256, 256, 1] 0..1. Of several, a pixel
            is face where all say so.
    """

    def __init__(self, networks: Sequence[Runtime]) -> None:
        self._networks = networks

    def masks(self, crops: Sequence[Floats]) -> list[Floats]:
        """float32 [size, size] 0..1, soft inside its edge, for each crop.

        Args:
            crops: [size, size, 3] R'G'B' 0..1 of the frame as it was.
        """
        batch = np.stack([resized(crop, OCCLUDER_SIZE)[..., ::-1] for crop in crops])
        answers = [network.run(batch)[0] for network in self._networks]
        least = np.clip(np.minimum.reduce(answers), 0, 1)
        return [
            soft_inside(resized(one.reshape(OCCLUDER_SIZE, OCCLUDER_SIZE), len(crop)))
            for one, crop in zip(least, crops, strict=True)
        ]


class RegionNetwork:
    """BiSeNet: the parts of a face.

    Args:
        network: [n, 3, 512, 512] R'G'B', ImageNet's normalisation -> [n, 19, 512, 512].
        regions: names of CLASSES that are taken.
    """

    def __init__(self, network: Runtime, regions: Sequence[str]) -> None:
        self._network = network
        self._taken = [CLASSES[region] for region in regions]

    def masks(self, crops: Sequence[Floats]) -> list[Floats]:
        """float32 [size, size] 0..1, soft inside its edge, for each crop.

        Args:
            crops: [3, size, size] R'G'B' 0..1 of the swapped faces.
        """
        batch = np.empty((len(crops), 3, PARSER_SIZE, PARSER_SIZE), np.float32)
        for planes, crop in zip(batch, crops, strict=True):
            for plane, channel in zip(planes, crop, strict=True):
                plane[...] = resized(channel, PARSER_SIZE)
        scale_in(batch, IMAGENET_MEAN, IMAGENET_STD)
        scores = self._network.run(batch)[0]
        return [
            soft_inside(resized(self._chosen(one), crop.shape[-1]))
            for one, crop in zip(scores, crops, strict=True)
        ]

    def _chosen(self, scores: Floats) -> Floats:
        """[h, w] 1 where the best class is a taken one; a quarter of an argmax's time.

        Args:
            scores: [classes, h, w].
        """
        others = [number for number in range(len(scores)) if number not in self._taken]
        best, other = (
            np.maximum.reduce([scores[n] for n in part]) for part in (self._taken, others)
        )
        chosen: Floats = (best > other).astype(np.float32)
        return chosen
