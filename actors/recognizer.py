"""What a face looks like, as 128 numbers: near for one person, far for two.

Network: dlib's ResNet with 29 convolutions (Davis King, "High Quality Face Recognition with Deep
Metric Learning", 2017; public-domain weights). It reads an aligned 150 x 150 picture. dlib aligns
by five points of its own; here they come from the mesh, so that no second landmark network is
needed, and the template is where those mesh points lie on average in chips that dlib aligned.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from kernels.api import Kernels
from kernels.geometry import Affine, apply, compose, similarity
from kernels.picture import Picture
from scheduler.errors import ModelCorrupt
from scheduler.tracks import EMBEDDING

SIZE: Final = 150
"""Side of the picture that the network reads, in pixels."""
POINTS: Final = (263, 362, 33, 133, 2)
"""Vertices of the mesh: outer and inner corner of the left eye, of the right eye, nose base."""
TEMPLATE: Final = np.array([[112.1, 46.6], [87.8, 47.3], [33.2, 46.1], [57.6, 47.1], [72.4, 81.7]])
"""Where they lie in the network's picture."""
SHARP: Final = 10.0
"""Mean absolute Laplacian of a chip, in levels, at which it is as sharp as need be."""
TURNED: Final = 4.0
"""Deviation from the template, in pixels of the chip, that halves a view's worth."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """How a face stands before the camera, known from its landmarks alone."""

    affine: Affine
    """float64 [2, 3], coded frame pixels -> the network's picture."""
    frontal: float
    """1 for a face seen from the front, less the more it is turned."""


def view(landmarks: NDArray[np.floating], display: Affine) -> View:
    """The aligned view of a face.

    Args:
        landmarks: [468, 2] in pixels of the coded picture.
        display: float64 [2, 3] coded frame pixels -> upright display pixels.
    """
    return view_of_points(landmarks[list(POINTS)], display)


def view_of_points(points: NDArray[np.floating], display: Affine) -> View:
    """As `view`, from the [5, 2] landmarks of ``POINTS`` alone."""
    points = apply(display, points)
    aligned = similarity(points, TEMPLATE)
    off = np.square(apply(aligned, points) - TEMPLATE).sum(axis=1).mean()
    return View(affine=compose(aligned, display), frontal=1.0 / (1.0 + float(off) / TURNED**2))


def sharpness(chip: NDArray[np.uint8]) -> float:
    """0..1 of a ``Recognizer.chip``: small, blurred and unfocused faces have little of it."""
    luma = cv2.cvtColor(chip, cv2.COLOR_RGB2GRAY)
    edges = np.abs(cv2.Laplacian(luma, cv2.CV_16S).astype(np.int64))
    return min(1.0, float(edges.sum()) / edges.size / SHARP)


class Recognizer:
    """Embeds faces.

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

    def chip(self, picture: Picture, view: View, kernels: Kernels) -> NDArray[np.uint8]:
        """uint8 [150, 150, 3] R'G'B': the aligned face that the network reads."""
        crop = kernels.crop(picture, view.affine, SIZE)
        return np.asarray(np.rint(crop * np.float32(255)), np.uint8)

    def embed(self, chip: NDArray[np.uint8]) -> NDArray[np.float32]:
        """float32 [128], the same bits for the same chip. One thread, about 80 ms."""
        numbers = np.array(self._network.compute_face_descriptor(chip), np.float32)
        assert numbers.shape == (EMBEDDING,)
        return numbers
