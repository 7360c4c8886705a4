"""Gets the compiled loops ready before the first frame needs them."""

from __future__ import annotations

import numpy as np

from kernels import filter_loops, flow_loops
from kernels.cpu import CpuKernels
from kernels.filters import amount, luma
from kernels.picture import Picture, PictureFormat


def warm_up() -> None:
    """Runs what a film of 8 bits runs, on next to nothing.

    A tenth of a second where the loops are on disk; the first time on a machine they are compiled,
    which takes several seconds. Other formats' loops follow when a film has them.
    """
    fmt = PictureFormat(width=16, height=16)
    planes = tuple(np.full(fmt.plane_shape(number), 90, np.uint8) for number in range(3))
    picture, kernels, affine = Picture(format=fmt, planes=planes), CpuKernels(), np.eye(2, 3)
    kernels.thumbnail(picture, affine, 16, 16)
    original = kernels.crop(picture, affine, 16)
    crop = np.zeros((16, 16, 4), np.float32)
    crop[4:12, 4:12] = 0.5
    kernels.paste(picture, crop[..., :3], crop[..., 3], affine, original)
    luma(original)
    change = np.empty_like(crop)
    filter_loops.lift(crop, original, change)
    share = amount(change)
    filter_loops.settle(change, share, share, original, 0, 0, change, crop)
    points = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    weights, fit, nearness = np.ones(3), np.empty((2, 3)), np.eye(3)
    flow_loops.fit(points, points, weights, 1.0, 1, fit)
    flow_loops.drift(fit, points, points, points, weights, nearness, 1.0, np.empty((3, 2)))
