"""Where the frame lies in the detector's picture, without its network."""

import numpy as np
import pytest

from actors.detector import letterbox
from kernels.geometry import apply, display_affine
from kernels.picture import PictureFormat


@pytest.mark.parametrize(
    ("size", "aspect", "rotation"),
    [
        ((640, 360), 1.0, 0),
        ((360, 640), 1.0, 0),
        ((640, 360), 1.0, 90),
        ((720, 576), 16 / 15, 270),
        ((1, 1), 1.0, 180),
    ],
)
def test_letterbox_fits_the_longer_side(
    size: tuple[int, int], aspect: float, rotation: int
) -> None:
    fmt = PictureFormat(width=size[0], height=size[1])
    display = display_affine(*size, aspect, rotation)
    affine = letterbox(fmt, display)
    edges = np.array([[-0.5, -0.5], [size[0] - 0.5, size[1] - 0.5]])
    corners = apply(affine, apply(display, edges))
    low, high = corners.min(axis=0), corners.max(axis=0)
    assert (high - low).max() == pytest.approx(192)
    assert (low + high) / 2 == pytest.approx([95.5, 95.5])
    assert affine[0, 0] == affine[1, 1]
