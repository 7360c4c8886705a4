"""What a face looks like to the neural swappers: ArcFace's 512 numbers.

J. Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", CVPR 2019; a
ResNet-50 trained on WebFace600K. Swappers want the numbers as the network gives them, not at
length 1: the length tells how good the picture is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from actors.inference.planes import scale_in, to_planes
from actors.inference.runtime import Runtime
from kernels.geometry import Affine
from kernels.templates import template_affine

SIZE: Final = 112
"""Side of the picture that the network reads, in pixels."""
TEMPLATE: Final = "arcface_112_v2"
NUMBERS: Final = 512


class ArcFace:
    """Embeds faces.

    Args:
        network: [n, 3, 112, 112] R'G'B' in -1..1 -> [n, 512].
    """

    def __init__(self, network: Runtime) -> None:
        self._network = network

    @staticmethod
    def affine(landmarks: NDArray[np.floating]) -> Affine:
        """float64 [2, 3] the landmarks' pixels -> the network's picture."""
        return template_affine(landmarks, TEMPLATE, SIZE)

    def embed(self, chips: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """float32 [n, 512], as the network gives them.

        Args:
            chips: each [112, 112, 3] R'G'B' 0..1, cut by ``affine``.
        """
        batch = np.empty((len(chips), 3, SIZE, SIZE), np.float32)
        for chip, planes in zip(chips, batch, strict=True):
            to_planes(chip, planes)
        scale_in(batch, (0.5,) * 3, (0.5,) * 3)
        return self._network.run(batch)[0].reshape(len(chips), NUMBERS)
