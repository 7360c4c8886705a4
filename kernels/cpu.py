"""The CPU back end: OpenCV and NumPy, one thread as well as many, same bytes."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from kernels.api import Image, Image8, Patch, plane_touched
from kernels.colour import TransferTables, decode_matrix, encode_matrix
from kernels.dither import round_change
from kernels.geometry import Affine, apply, compose, invert, plane_affine, resize
from kernels.picture import Picture, PictureFormat, Plane, Roi, Transfer
from kernels.pyramid import ALIGN, REACH, blend, mask_levels
from kernels.sampling import CubicSampler, box_factors, box_level, sample_linear

Samples = NDArray[np.float32]


class CpuKernels:
    """``kernels.api.Kernels`` on the CPU; see there for the contract of each method.

    Holds scratch and tables between calls, never pixels that matter: one for each thread.
    """

    __slots__ = ("_sampler", "_tables")

    def __init__(self) -> None:
        self._sampler = CubicSampler()
        self._tables: dict[Transfer, TransferTables] = {}

    def thumbnail(self, picture: Picture, affine: Affine, width: int, height: int) -> Image8:
        _positive(width=width, height=height)
        fmt = picture.format
        to_frame = invert(affine)
        planes = [
            _area(
                plane,
                compose(invert(plane_affine(fmt, number)), to_frame),
                (width, height),
                points=1 if number and fmt.sub_x and fmt.sub_y else 2,
            )
            for number, plane in enumerate(picture.planes)
        ]
        rgb = cast(Image, cv2.merge(_to_rgb(planes, fmt)))
        rgb *= np.float32(255)
        rgb += np.float32(0.5)
        small = rgb.astype(np.uint8)
        outside = _outside(to_frame, width, height, fmt)
        if outside is not None:
            small[outside] = 0
        return small

    def crop(self, picture: Picture, affine: Affine, size: int) -> Image:
        _positive(size=size)
        whole = Roi(x0=0, y0=0, x1=size, y1=size)
        return cast(Image, cv2.merge(self._crop(picture, invert(affine), size, whole)))

    def paste(
        self,
        picture: Picture,
        crop: Image,
        mask: Image,
        affine: Affine,
        before: Image | None = None,
    ) -> Patch:
        size = _square(crop, mask)
        to_frame = invert(affine)
        support = _support(mask)
        roi = _frame_roi(support, to_frame, picture.format)
        if roi.empty:
            return Patch(roi=roi, touched=np.zeros((0, 0), np.bool_))
        box = Roi(
            x0=max(support.x0 - REACH, 0) // ALIGN * ALIGN,
            y0=max(support.y0 - REACH, 0) // ALIGN * ALIGN,
            x1=min(-(-(support.x1 + REACH) // ALIGN) * ALIGN, size),
            y1=min(-(-(support.y1 + REACH) // ALIGN) * ALIGN, size),
        )
        part = np.s_[box.y0 : box.y1, box.x0 : box.x1]
        levels, curve = mask_levels(mask[part]), self._curve(picture.format.transfer)
        if before is None:
            own = self._crop(picture, to_frame, size, box)
        else:
            own = cast("list[Samples]", cv2.split(before[part]))
        changes = [
            _change(channel, cast(Samples, after), levels, curve)
            for channel, after in zip(own, cv2.split(crop[part]), strict=True)
        ]
        touched = _touched(mask, affine, roi)
        self._add(picture, changes, box, size, affine, roi, touched)
        return Patch(roi=roi, touched=touched)

    def _curve(self, transfer: Transfer) -> TransferTables:
        if transfer not in self._tables:
            self._tables[transfer] = TransferTables(transfer)
        return self._tables[transfer]

    def _crop(self, picture: Picture, to_frame: Affine, size: int, box: Roi) -> list[Samples]:
        """R', G', B' of the pixels ``box`` of a crop: the same values as in the whole crop."""
        fmt = picture.format
        planes: list[Samples] = []
        for numbers in _plane_groups(fmt):
            sources = [picture.planes[number] for number in numbers]
            to_plane = compose(invert(plane_affine(fmt, numbers[0])), to_frame)
            if numbers[0] == 0:
                planes += self._sampler.sample(sources, to_plane, box)
            else:
                # Of the whole crop, whatever the box: OpenCV's last bit depends on the place.
                factors = box_factors(to_plane)
                whole = [sample_linear(plane, to_plane, factors, (size, size)) for plane in sources]
                planes += [chroma[box.y0 : box.y1, box.x0 : box.x1] for chroma in whole]
        return _to_rgb(planes, fmt)

    def _add(
        self,
        picture: Picture,
        changes: list[Samples],
        box: Roi,
        size: int,
        affine: Affine,
        roi: Roi,
        touched: NDArray[np.bool_],
    ) -> None:
        """Carry a change of R'G'B' at crop resolution into the planes, dithered, where touched."""
        fmt = picture.format
        top = (1 << fmt.depth) - 1
        matrix = encode_matrix(fmt).tolist()
        for numbers in _plane_groups(fmt):
            sub = (fmt.sub_x, fmt.sub_y) if numbers[0] else (0, 0)
            part = Roi(
                x0=roi.x0 >> sub[0],
                y0=roi.y0 >> sub[1],
                x1=-(-roi.x1 >> sub[0]),
                y1=-(-roi.y1 >> sub[1]),
            )
            sources = []
            for number in numbers:
                codes = np.zeros((size, size), np.float32)
                inner = codes[box.y0 : box.y1, box.x0 : box.x1]
                for channel, gain in zip(changes, matrix[number], strict=True):
                    if gain:
                        inner += channel * np.float32(gain)
                sources.append(codes)
            to_crop = compose(affine, plane_affine(fmt, numbers[0]))
            moves = self._sampler.sample(sources, to_crop, part, outside_zero=True)
            allowed = plane_touched(touched, fmt, numbers[0])
            for number, move in zip(numbers, moves, strict=True):
                move *= allowed
                moved = round_change(move, part.x0, part.y0)
                target = picture.planes[number][part.y0 : part.y1, part.x0 : part.x1]
                moved += target
                np.copyto(target, np.clip(moved, 0, top, out=moved), casting="unsafe")


def _change(
    before: Samples, after: Samples, levels: list[Samples], curve: TransferTables
) -> Samples:
    """How one channel changes at crop resolution: blended in light, measured in the signal."""
    light = curve.to_linear(before)
    brought = blend(curve.to_linear(np.clip(after, 0.0, 1.0)) - light, levels)
    moved = brought != 0.0
    brought += light
    change = curve.from_linear(brought)
    change -= before
    change *= moved
    return change


def _square(crop: Image, mask: Image) -> int:
    """The side of a crop and its mask, both checked."""
    size = len(mask)
    if size < 1 or mask.shape != (size, size) or crop.shape != (size, size, 3):
        raise ValueError(f"crop {crop.shape} with mask {mask.shape}; wanted [S, S, 3] and [S, S]")
    if not (np.isfinite(crop).all() and np.isfinite(mask).all()):
        raise ValueError("crop or mask with values that are not finite")
    return size


def _support(mask: Image) -> Roi:
    """The smallest box of crop pixels outside which the mask is zero."""
    above = mask > 0
    rows, columns = np.flatnonzero(above.any(1)), np.flatnonzero(above.any(0))
    if not len(rows):
        return Roi(x0=0, y0=0, x1=0, y1=0)
    return Roi(x0=int(columns[0]), y0=int(rows[0]), x1=int(columns[-1]) + 1, y1=int(rows[-1]) + 1)


def _frame_roi(support: Roi, to_frame: Affine, fmt: PictureFormat) -> Roi:
    """The luma pixels that a mask may reach, cut to the frame, edges on whole chroma blocks."""
    empty = Roi(x0=0, y0=0, x1=0, y1=0)
    if support.empty:
        return empty
    steps = np.hypot(*np.linalg.inv(to_frame[:, :2]).T)
    reach = 1.0 + float(steps.max())
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


def _touched(mask: Image, affine: Affine, roi: Roi) -> NDArray[np.bool_]:
    """Where the mask, box-filtered as luma is and read bilinearly, is above zero in the frame."""
    kx, ky = box_factors(affine)
    whole = Roi(x0=0, y0=0, x1=-(-len(mask) // kx), y1=-(-len(mask) // ky))
    level = box_level(mask, kx, ky, whole, cv2.BORDER_CONSTANT)
    shift = np.array([[1.0, 0.0, roi.x0], [0.0, 1.0, roi.y0]])
    weight = cv2.warpAffine(
        level,
        compose(invert(resize(kx, ky)), compose(affine, shift)),
        (roi.x1 - roi.x0, roi.y1 - roi.y0),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
    )
    return np.asarray(weight) > 0


def _plane_groups(fmt: PictureFormat) -> tuple[tuple[int, ...], ...]:
    """Plane numbers that share a sample grid."""
    if fmt.planes == 1:
        return ((0,),)
    return ((0,), (1, 2)) if fmt.sub_x or fmt.sub_y else ((0, 1, 2),)


def _positive(**sizes: int) -> None:
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"{name} {value}; wanted at least 1 pixel")


def _to_rgb(planes: list[Samples], fmt: PictureFormat) -> list[Samples]:
    """Codes [h, w] of all planes at one resolution -> R', G', B' [h, w], clipped to 0..1.

    Plain elementwise steps, so that a pixel's value does not depend on its place in the array.
    """
    channels = []
    for *gains, zero in decode_matrix(fmt).tolist():
        value = None
        for plane, gain in zip(planes, gains, strict=True):
            if gain:
                term = plane * np.float32(gain)
                value = term if value is None else np.add(value, term, out=value)
        assert value is not None
        value += np.float32(zero)
        channels.append(np.clip(value, 0.0, 1.0, out=value))
    return channels


def _area(plane: Plane, to_plane: Affine, size: tuple[int, int], points: int) -> Samples:
    """Area-filtered samples [h, w] of a plane for output pixels of ``size`` (width, height).

    A box level of nearly the wanted density, read bilinearly at ``points`` x ``points`` places of
    each output pixel. Two are needed where detail counts; subsampled chroma has none.
    """
    kx, ky = (max(1, int(step / points)) for step in np.hypot(to_plane[:, 0], to_plane[:, 1]))
    fine = compose(to_plane, resize(1 / points, 1 / points))
    read = sample_linear(plane, fine, (kx, ky), (points * size[0], points * size[1]))
    return cast(Samples, cv2.resize(read, size, interpolation=cv2.INTER_AREA))


def _outside(
    to_frame: Affine, width: int, height: int, fmt: PictureFormat
) -> NDArray[np.bool_] | None:
    """Output pixels whose centres lie beyond the frame's outer edges; None when there are none."""
    beyond = None
    columns, rows = np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64)
    for (a, b, c), extent in zip(to_frame.tolist(), (fmt.width, fmt.height), strict=True):
        ends = [a * x + b * y + c for x in (0, width - 1) for y in (0, height - 1)]
        if min(ends) < -0.5 or max(ends) > extent - 0.5:
            position = a * columns[None, :] + (b * rows + c)[:, None]
            out = (position < -0.5) | (position > extent - 0.5)
            beyond = out if beyond is None else beyond | out
    return beyond
