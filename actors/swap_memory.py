"""The swapped crops of a chunk's last frames, for a lane that goes on with the next chunk.

The pixel filters settle on the frames before a chunk, and these must be swapped for it though they
are another chunk's. A lane that has just rendered that other chunk has swapped them already, and
the same face of the same frame is swapped to the same bits: it need not be done twice.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scheduler.tracks import FaceObservation

LIMIT: Final = 64 << 20
"""Bytes of crops that are kept; of faces beyond it nothing is."""

_Key = tuple[int, int, int, bytes]


class SwapMemory:
    """Keeps crops from one task of a lane to the next.

    Args:
        limit: bytes of crops.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._owner: Hashable = None
        self._wanted = range(0)
        self._crops: dict[_Key, NDArray[np.float32]] = {}
        self._bytes = 0

    def turn_to(self, owner: Hashable, first: int, wanted: range) -> None:
        """A task begins: forget what it cannot need.

        Args:
            owner: what else than face and frame decides a swapped crop.
            first: frame at which the task begins to read.
            wanted: frames of which the next chunk of the same film will want the crops.
        """
        if owner != self._owner:
            self._crops.clear()
            self._bytes = 0
        self._owner, self._wanted = owner, wanted
        for key in [key for key in self._crops if key[0] < first]:
            self._bytes -= self._crops.pop(key).nbytes

    def recall(self, face: FaceObservation, out: NDArray[np.float32]) -> bool:
        """Fill ``out`` [s, s, 4] with the swapped crop of a face and its mask, if it is known."""
        crop = self._crops.get(_key(face))
        if crop is None:
            return False
        out[...] = crop
        return True

    def keep(self, face: FaceObservation, crop: NDArray[np.float32]) -> None:
        """Copy a swapped crop [s, s, 4] if the next chunk will want it and there is room."""
        key = _key(face)
        if face.frame not in self._wanted or key in self._crops:
            return
        if self._bytes + crop.nbytes <= self._limit:
            self._crops[key] = crop.copy()
            self._bytes += crop.nbytes


def _key(face: FaceObservation) -> _Key:
    return face.frame, face.track, face.person, face.landmarks.tobytes()
