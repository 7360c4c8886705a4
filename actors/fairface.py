"""How a face looks to a classifier: age group, gender, race. Asked only where a filter asks.

Network: ``fairface`` (K. Karkkainen, J. Joo, WACV 2021; ResNet-34, weights CC-BY-4.0). It reads an
aligned 224 x 224 picture, normalised by ImageNet's mean and deviation, and answers with three
numbers: race, gender, age group.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from actors.inference.runtime import Runtime
from kernels.geometry import Affine, Points
from kernels.templates import template_affine
from scheduler.classes import FaceClass

SIZE: Final = 224
TEMPLATE: Final = "arcface_112_v2"
MEAN: Final = np.array([0.485, 0.456, 0.406], np.float32)
STD: Final = np.array([0.229, 0.224, 0.225], np.float32)


class FairFace:
    """An ``actors.recognizer.Reader`` that classifies.

    Args:
        network: fairface, loaded.
    """

    def __init__(self, network: Runtime) -> None:
        self._network = network

    @property
    def size(self) -> int:
        return SIZE

    def align(self, landmarks: Points) -> Affine:
        """See ``actors.recognizer.Reader``."""
        return template_affine(landmarks, TEMPLATE, SIZE)

    def classify(self, chip: NDArray[np.uint8]) -> FaceClass:
        """The classes of a chip uint8 [224, 224, 3] R'G'B'."""
        pixels = (chip.astype(np.float32) / np.float32(255) - MEAN) / STD
        race, gender, age = self._network.run(np.ascontiguousarray(pixels.transpose(2, 0, 1))[None])
        return FaceClass(
            gender=int(gender.reshape(-1)[0]),
            age=int(age.reshape(-1)[0]),
            race=int(race.reshape(-1)[0]),
        )
