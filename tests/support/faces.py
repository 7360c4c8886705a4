"""Real faces for numbered films, from frames of the samples."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from tests.support.numbered import HEIGHT, SCENE, SWAY

SHOTS: Final = {
    "single_face": (0, (110, 0, 498, 360)),
    "wolfgang_langer": (0, (252, 0, 640, 360)),
}
"""By sample: a frame, and the part of it, for `face_of_film`."""


def face_of_film(path: Path, number: int, roi: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """A part of one frame, as large as a shot of a numbered film.

    Args:
        number: of the frame.
        roi: x0, y0, x1, y1 in its pixels; the aspect should be about that of a shot.

    Returns: uint8 RGB [HEIGHT + 2 SWAY, SCENE + 2 SWAY, 3].
    """
    with av.open(str(path)) as film:
        for at, frame in enumerate(film.decode(video=0)):
            if at == number:
                return _fitted(frame.to_ndarray(format="rgb24"), roi)
    raise AssertionError(f"{path.name} has no frame {number}")


def _fitted(picture: NDArray[np.uint8], roi: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    x0, y0, x1, y1 = roi
    size = (SCENE + 2 * SWAY, HEIGHT + 2 * SWAY)
    part = cv2.resize(picture[y0:y1, x0:x1], size, interpolation=cv2.INTER_AREA)
    return np.asarray(part, np.uint8)
