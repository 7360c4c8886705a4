"""How far a paste reaches: boxes of crop and frame, the same for every back end."""

from __future__ import annotations

import numpy as np

from kernels import loops
from kernels.api import Image
from kernels.geometry import Affine, apply, invert
from kernels.picture import PictureFormat, Roi
from kernels.pyramid import ALIGN, REACH


def survey(crop: Image, mask: Image) -> tuple[int, Roi]:
    """The side of a crop and its mask, both checked, and the smallest box of crop pixels outside
    which the mask is zero."""
    size = len(mask)
    if size < 1 or mask.shape != (size, size) or crop.shape != (size, size, 3):
        raise ValueError(f"crop {crop.shape} with mask {mask.shape}; wanted [S, S, 3] and [S, S]")
    finite, x0, y0, x1, y1 = loops.survey(crop, mask)
    if not finite:
        raise ValueError("crop or mask with values that are not finite")
    return size, Roi(x0=x0, y0=y0, x1=x1, y1=y1)


def frame_roi(support: Roi, to_frame: Affine, fmt: PictureFormat) -> Roi:
    """The luma pixels that a mask may reach, cut to the frame, edges on whole chroma blocks."""
    empty = Roi(x0=0, y0=0, x1=0, y1=0)
    if support.empty:
        return empty
    reach = 1.0 + float(np.hypot(*invert(to_frame)[:, :2]).max())
    xs, ys = (support.x0 - reach, support.x1 + reach), (support.y0 - reach, support.y1 + reach)
    corners = apply(to_frame, [[x, y] for x in xs for y in ys])
    low, high = np.floor(corners.min(0)), np.ceil(corners.max(0)) + 1
    if (high <= 0).any() or low[0] >= fmt.width or low[1] >= fmt.height:
        return empty
    block_x, block_y = (1 << fmt.sub_x, 1 << fmt.sub_y) if fmt.planes > 1 else (1, 1)
    return Roi(
        x0=int(max(low[0], 0)) // block_x * block_x,
        y0=int(max(low[1], 0)) // block_y * block_y,
        x1=min(-(-int(min(high[0], fmt.width)) // block_x) * block_x, fmt.width),
        y1=min(-(-int(min(high[1], fmt.height)) // block_y) * block_y, fmt.height),
    )


def blend_box(support: Roi, size: int) -> Roi:
    """The part of a crop that a blend over a mask of this support needs and changes."""
    return Roi(
        x0=max(support.x0 - REACH, 0) // ALIGN * ALIGN,
        y0=max(support.y0 - REACH, 0) // ALIGN * ALIGN,
        x1=min(-(-(support.x1 + REACH) // ALIGN) * ALIGN, size),
        y1=min(-(-(support.y1 + REACH) // ALIGN) * ALIGN, size),
    )


def plane_part(roi: Roi, fmt: PictureFormat, plane: int) -> Roi:
    """A region of the frame in samples of one plane."""
    sub_x, sub_y = (fmt.sub_x, fmt.sub_y) if plane else (0, 0)
    return Roi(
        x0=roi.x0 >> sub_x,
        y0=roi.y0 >> sub_y,
        x1=-(-roi.x1 >> sub_x),
        y1=-(-roi.y1 >> sub_y),
    )
