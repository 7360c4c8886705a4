"""A part of a picture that outlives it: the samples of a box, copied as they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kernels.geometry import Affine
from kernels.picture import Picture


def cut_out(picture: Picture, points: NDArray[np.float64]) -> tuple[Picture, Affine]:
    """The part of a picture around points, edges on whole chroma blocks.

    Args:
        picture: any format.
        points: [n, 2] x y in pixels of the picture; they may lie outside.
    Returns: a picture with memory of its own, at least one chroma block in size, and float64
        [2, 3] its pixels -> the picture's.
    """
    fmt = picture.format
    block_x, block_y = (1 << fmt.sub_x, 1 << fmt.sub_y) if fmt.planes > 1 else (1, 1)
    low, high = np.floor(points.min(axis=0)), np.ceil(points.max(axis=0)) + 1
    x0, x1 = _span(low[0], high[0], fmt.width, block_x)
    y0, y1 = _span(low[1], high[1], fmt.height, block_y)
    part = replace(fmt, width=x1 - x0, height=y1 - y0)
    planes = []
    for number, plane in enumerate(picture.planes):
        step_x, step_y = (block_x, block_y) if number else (1, 1)
        height, width = part.plane_shape(number)
        top, left = y0 // step_y, x0 // step_x
        planes.append(plane[top : top + height, left : left + width].copy())
    shift = np.array([[1.0, 0.0, float(x0)], [0.0, 1.0, float(y0)]])
    return Picture(format=part, planes=tuple(planes)), shift


def _span(low: float, high: float, size: int, block: int) -> tuple[int, int]:
    """[start, stop) that covers low..high as far as ``size`` goes; start is on a block's edge."""
    start = int(min(max(low, 0), size - 1)) // block * block
    stop = -(-int(min(max(high, 0), size)) // block) * block
    return start, min(max(stop, start + block), size)
