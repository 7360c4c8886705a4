"""What a face looks like, as numbers that are near for one person and far for two.

Network: dlib's ResNet with 29 convolutions (Davis King, "High Quality Face Recognition with Deep
Metric Learning", 2017; public-domain weights). It reads an aligned 150 x 150 picture. dlib aligns
by five points of its own; here they come from the face's landmarks, so that no second landmark
network is needed, and the template is where the mesh's points lie on average in chips that dlib
aligned.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from kernels.api import Kernels
from kernels.geometry import Affine, Points, apply, compose, similarity
from kernels.picture import Picture
from scheduler.errors import ModelCorrupt
from scheduler.points import IBUG, MESH

SIZE: Final = 150
"""Side of the picture that dlib's network reads, in pixels."""
EMBEDDING: Final = 128
"""Numbers of its answer."""
POINTS: Final = {
    MESH.count: (263, 362, 33, 133, 2),
    IBUG.count: (45, 42, 36, 39, 33),
    5: (0, 1, 2, 3, 4),
}
"""By number of landmarks: outer and inner corner of the left eye, of the right eye, nose base. Five
are these themselves."""
TEMPLATE: Final = np.array([[112.1, 46.6], [87.8, 47.3], [33.2, 46.1], [57.6, 47.1], [72.4, 81.7]])
"""Where they lie in the network's picture."""
SHARP: Final = 10.0
"""Mean absolute Laplacian of a chip, in levels, at which it is as sharp as need be."""
TURNED: Final = 4.0
"""Deviation from the template, in pixels of the chip, that halves a view's worth."""


class Reader(Protocol):
    """A network that reads an upright, aligned picture of one face: a *chip*."""

    @property
    def size(self) -> int:
        """Side of the chip in pixels."""
        ...

    def align(self, landmarks: Points) -> Affine:
        """float64 [2, 3], display pixels -> chip, for landmarks [n, 2] in display pixels."""
        ...


class Embedder(Reader, Protocol):
    """A reader that says what a face looks like."""

    def embed(self, chip: NDArray[np.uint8]) -> NDArray[np.float32]:
        """float32 [n] for a chip uint8 [size, size, 3] R'G'B': the same bits for the same chip."""
        ...


def cut(
    reader: Reader,
    picture: Picture,
    landmarks: NDArray[np.floating],
    display: Affine,
    kernels: Kernels,
) -> NDArray[np.uint8]:
    """uint8 [size, size, 3] R'G'B': the chip of a face.

    Args:
        reader: for whom.
        picture: as decoded.
        landmarks: [n, 2] in pixels of the coded picture.
        display: float64 [2, 3] coded frame pixels -> upright display pixels.
        kernels: cut it.
    """
    affine = compose(reader.align(apply(display, landmarks)), display)
    crop = kernels.crop(picture, affine, reader.size)
    return np.asarray(np.rint(crop * np.float32(255)), np.uint8)


def frontal(landmarks: NDArray[np.floating], display: Affine) -> float:
    """1 for a face seen from the front, less the more it is turned: from its landmarks alone.

    Args: as `cut`.
    """
    points = apply(display, landmarks[list(POINTS[len(landmarks)])])
    off = np.square(apply(similarity(points, TEMPLATE), points) - TEMPLATE).sum(axis=1).mean()
    return 1.0 / (1.0 + float(off) / TURNED**2)


def sharpness(chip: NDArray[np.uint8]) -> float:
    """0..1 of a chip: small, blurred and unfocused faces have little of it."""
    luma = cv2.cvtColor(chip, cv2.COLOR_RGB2GRAY)
    edges = np.abs(cv2.Laplacian(luma, cv2.CV_16S).astype(np.int64))
    return min(1.0, float(edges.sum()) / edges.size / SHARP)


class Recognizer:
    """An ``Embedder``: dlib's.

    Args:
        model_path: dlib's ``dlib_face_recognition_resnet_model_v1.dat``.

    Raises:
        ModelCorrupt: the file is no such network.
    """

    def __init__(self, model_path: Path) -> None:
        # 0.1 s and 30 MB: only for jobs that ask who is who.
        import dlib

        try:
            self._network = dlib.face_recognition_model_v1(str(model_path))
        except RuntimeError as error:
            raise ModelCorrupt(
                f"{model_path} is not dlib's recogniser ({error})",
                "the file that the registry names",
                "`farm models verify` finds damaged files, `farm models pull` fetches them anew",
            ) from error

    @property
    def size(self) -> int:
        return SIZE

    def align(self, landmarks: Points) -> Affine:
        """See ``Reader``."""
        return similarity(landmarks[list(POINTS[len(landmarks)])], TEMPLATE)

    def embed(self, chip: NDArray[np.uint8]) -> NDArray[np.float32]:
        """float32 [128]; see ``Embedder``. One thread, about 80 ms."""
        numbers = np.array(self._network.compute_face_descriptor(chip), np.float32)
        assert numbers.shape == (EMBEDDING,)
        return numbers
