"""The stage that puts a new face on each face of a frame.

Which face, and how, is the business of a ``FaceSwapper``; this file cuts the crops for it and lays
the results into the frame's slot, where the compositor finds them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from actors.frames import Frame
from kernels.api import Kernels
from kernels.geometry import apply, compose
from scheduler.tracks import FaceObservation


class FaceSwapper(Protocol):
    """Changes the face in an aligned crop. It keeps nothing from one call to the next.

    Coordinates: pixel centres on whole numbers. Colour: the stream's own R'G'B', 0..1.
    """

    @property
    def size(self) -> int:
        """Side of the crop in pixels."""
        ...

    def affine(self, landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
        """The crop that the swapper wants of a face.

        Args:
            landmarks: [468, 2] in upright square display pixels.
        Returns: float64 [2, 3] display pixels -> crop pixels, a similarity.
        """
        ...

    def swap(
        self,
        crop: NDArray[np.float32],
        landmarks: NDArray[np.floating],
        out: NDArray[np.float32],
    ) -> None:
        """Swap one face.

        Args:
            crop: float32 [size, size, 3] R'G'B' 0..1.
            landmarks: [468, 2] in crop pixels.
            out: float32 [size, size, 4], filled: the swapped R'G'B' 0..1 and the blend mask 0..1,
                soft, zero well inside the border. Where the mask is zero the crop is unchanged.
        """
        ...


class Swapper:
    """Swaps the faces of a frame.

    Args:
        face_swappers: by person, the size of all the same.
        kernels: cuts the crops.
        display: float64 [2, 3] coded frame pixels -> upright square display pixels.
    """

    def __init__(
        self,
        face_swappers: Mapping[int, FaceSwapper],
        kernels: Kernels,
        display: NDArray[np.float64],
    ) -> None:
        self._face_swappers = face_swappers
        self._kernels = kernels
        self._display = display

    def swap(self, frame: Frame, faces: Sequence[FaceObservation]) -> None:
        """Fill ``frame.crops``, ``originals``, ``affines``, ``tracks`` and ``faces``, in the order
        given.

        Raises:
            ValueError: more faces than the slot has room for.
        """
        frame.faces = len(faces)
        for i, face in enumerate(faces):
            affine, crop, landmarks = self.prepare(frame, face)
            frame.originals[i] = crop
            frame.affines[i] = affine
            frame.tracks[i] = face.track
            self._face_swappers[face.person].swap(crop, landmarks, frame.crops[i])

    def prepare(
        self, frame: Frame, face: FaceObservation
    ) -> tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.float64]]:
        """(affine float64 [2, 3] frame -> crop, crop float32 [size, size, 3], landmarks in it)."""
        face_swapper = self._face_swappers[face.person]
        aligned = face_swapper.affine(apply(self._display, face.landmarks))
        affine = compose(aligned, self._display)
        crop = self._kernels.crop(frame.picture, affine, face_swapper.size)
        return affine, crop, apply(affine, face.landmarks)
