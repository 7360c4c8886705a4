"""What the faces of a chunk look like: every few frames each is laid flat and kept, small."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from kernels.api import Kernels
from kernels.geometry import apply
from kernels.mesh.unwrap import WINDOW, Unwrapper, window
from kernels.picture import Picture
from scheduler.appearances import PERIOD, FaceSample, to_table
from scheduler.tracks import FaceObservation


class FaceSampler:
    """Collects the samples of one chunk, 4 KiB each.

    Args:
        unwrapper: lays faces flat.
        kernels: cuts their windows.
    """

    def __init__(self, unwrapper: Unwrapper, kernels: Kernels) -> None:
        self._unwrapper = unwrapper
        self._kernels = kernels
        self._samples: list[FaceSample] = []

    def add(self, picture: Picture, frame: int, faces: Sequence[FaceObservation]) -> None:
        """Look at the chunk's next frame; most are passed over.

        Args:
            picture: as decoded.
            frame: its index.
            faces: as they go into the chunk's table, in its order.
        """
        if frame % PERIOD:
            return
        for place, face in enumerate(faces):
            points = face.landmarks.astype(np.float64)
            affine = window(points, WINDOW)
            rgb = self._kernels.thumbnail(picture, affine, WINDOW, WINDOW)
            texels = self._unwrapper.flatten(rgb, apply(affine, points))
            self._samples.append(FaceSample(frame=frame, place=place, texels=texels))

    def table(self) -> pa.Table:
        """The samples after ``scheduler.appearances.SCHEMA``, in film order."""
        return to_table(self._samples)
