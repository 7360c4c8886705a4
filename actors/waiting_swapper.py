"""A stand-in that waits as long as a GPU would take and swaps nothing, for `farm bench scaling`.

It shows how lanes share work out where there is no GPU: while it waits it takes no core, so that a
machine carries more lanes than it has cores. Faces come out as their own negatives, so that nobody
takes its films for anything else; the job, the result's metadata and the records name it by
`scheduler.jobs.SwapSettings.model`. No option of a job leads to it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from actors.swapper import AlignedFace

SIZE: Final = 128
"""Side of its crops in pixels."""


class WaitingSwapper:
    """A ``FaceSwapper`` (actors/swapper.py).

    Args:
        seconds: that it waits for each face.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        along = np.linspace(-1.0, 1.0, SIZE, dtype=np.float32)
        radius = np.hypot(*np.meshgrid(along, along))
        self._mask = np.clip((0.9 - radius) / 0.2, 0.0, 1.0)

    @property
    def size(self) -> int:
        return SIZE

    @property
    def batch(self) -> int:
        return 1

    def affine(self, landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
        """A square around the landmarks, upright; see ``FaceSwapper.affine``."""
        low, high = landmarks.min(0), landmarks.max(0)
        side = 1.4 * float((high - low).max())
        scale = SIZE / max(side, 1.0)
        centre = (low + high) / 2
        move = (SIZE - 1) / 2 - scale * centre
        return np.array([[scale, 0.0, move[0]], [0.0, scale, move[1]]])

    def swap_all(self, faces: Sequence[AlignedFace]) -> None:
        """Wait, then give each face its negative."""
        time.sleep(self._seconds * len(faces))
        for face in faces:
            face.out[..., :3] = 1.0 - face.crop
            face.out[..., 3] = self._mask
