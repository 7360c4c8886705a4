"""ArcFace's embedding of a face: who it is, as the neural swappers are told too.

Network: ``arcface_w600k_r50`` (J. Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face
Recognition", CVPR 2019; InsightFace's ResNet-50, whose weights are not for commercial use). It
reads an aligned 112 x 112 picture.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from actors.inference.runtime import Runtime
from kernels.geometry import Affine, Points
from kernels.templates import template_affine

SIZE: Final = 112
TEMPLATE: Final = "arcface_112_v2"


class ArcFace:
    """An ``actors.recognizer.Embedder``.

    Args:
        network: arcface_w600k_r50, loaded.
    """

    def __init__(self, network: Runtime) -> None:
        self._network = network

    @property
    def size(self) -> int:
        return SIZE

    def align(self, landmarks: Points) -> Affine:
        """See ``actors.recognizer.Reader``."""
        return template_affine(landmarks, TEMPLATE, SIZE)

    def raw(self, chip: NDArray[np.uint8]) -> NDArray[np.float32]:
        """float32 [512], as the network gives it: what embedding converters take."""
        pixels = chip.astype(np.float32) * np.float32(1 / 127.5) - np.float32(1)
        (numbers,) = self._network.run(np.ascontiguousarray(pixels.transpose(2, 0, 1))[None])
        return numbers.reshape(-1)

    def embed(self, chip: NDArray[np.uint8]) -> NDArray[np.float32]:
        """float32 [512] of length 1: the square of two's distance is 2 (1 - cosine)."""
        numbers = self.raw(chip).astype(np.float64)
        unit: NDArray[np.float64] = numbers / max(float(np.linalg.norm(numbers)), 1e-12)
        return unit.astype(np.float32)
