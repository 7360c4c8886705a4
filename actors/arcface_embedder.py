"""ArcFace as a recogniser: who is in the film, told as the neural swappers tell it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from actors.arcface import SIZE, ArcFace
from kernels.geometry import Affine, Points


class ArcFaceEmbedder:
    """An ``actors.recognizer.Embedder``.

    Args:
        network: looks at the chips.
    """

    def __init__(self, network: ArcFace) -> None:
        self._network = network

    @property
    def size(self) -> int:
        return SIZE

    def align(self, landmarks: Points) -> Affine:
        """See ``Reader``."""
        return self._network.affine(landmarks)

    def embed(self, chip: NDArray[np.uint8]) -> NDArray[np.float32]:
        """float32 [512] of length 1: the square of two's distance is 2 (1 - cosine)."""
        (numbers,) = self._network.embed([chip.astype(np.float32) * np.float32(1 / 255)])
        wide = numbers.astype(np.float64)
        unit: NDArray[np.float64] = wide / max(float(np.sqrt((wide * wide).sum())), 1e-12)
        return unit.astype(np.float32)
