"""The CPU back end: OpenCV and NumPy, one thread as well as many, same bytes."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from kernels import loops
from kernels.api import Image, Image8, Patch, plane_touched, positive
from kernels.colour import TransferTables, decode_matrix, encode_matrix
from kernels.geometry import Affine, compose, invert, plane_affine, resize
from kernels.pasting import blend_box, frame_roi, plane_part, survey
from kernels.picture import Picture, PictureFormat, Plane, Roi, Transfer
from kernels.pyramid import blend, mask_levels
from kernels.sampling import add_sampled, box_factors, box_level, sample_cubic, sample_linear

Samples = NDArray[np.float32]


class CpuKernels:
    """``kernels.api.Kernels`` on the CPU; see there for the contract of each method.

    Holds tables between calls, never pixels.
    """

    __slots__ = ("_matrices", "_tables")

    def __init__(self) -> None:
        self._matrices: dict[PictureFormat, tuple[Samples, Samples]] = {}
        self._tables: dict[Transfer, TransferTables] = {}

    def thumbnail(self, picture: Picture, affine: Affine, width: int, height: int) -> Image8:
        positive(width=width, height=height)
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
        rgb = self._to_rgb(planes, fmt)
        small = np.empty(rgb.shape, np.uint8)
        loops.to_bytes(rgb, small)
        outside = _outside(to_frame, width, height, fmt)
        if outside is not None:
            small[outside] = 0
        return small

    def crop(self, picture: Picture, affine: Affine, size: int) -> Image:
        positive(size=size)
        whole = Roi(x0=0, y0=0, x1=size, y1=size)
        return self._crop(picture, invert(affine), whole)

    def paste(
        self,
        picture: Picture,
        crop: Image,
        mask: Image,
        affine: Affine,
        before: Image | None = None,
    ) -> Patch:
        size, support = survey(crop, mask)
        to_frame = invert(affine)
        roi = frame_roi(support, to_frame, picture.format)
        if roi.empty:
            return Patch(roi=roi, touched=np.zeros((0, 0), np.bool_))
        box = blend_box(support, size)
        part = np.s_[box.y0 : box.y1, box.x0 : box.x1]
        levels, curve = mask_levels(mask[part]), self._curve(picture.format.transfer)
        # Of the caller's crop the part is read in place.
        place = (0, 0) if before is None else (box.y0, box.x0)
        own = self._crop(picture, to_frame, box) if before is None else before
        codes = self._changes(own, place, crop[part], levels, curve, picture.format, box, size)
        touched = _touched(mask, affine, roi)
        self._add(picture, codes, affine, roi, touched)
        return Patch(roi=roi, touched=touched)

    def _curve(self, transfer: Transfer) -> TransferTables:
        if transfer not in self._tables:
            self._tables[transfer] = TransferTables(transfer)
        return self._tables[transfer]

    def _coding(self, fmt: PictureFormat) -> tuple[Samples, Samples]:
        """Matrices [3, 4] from codes to R'G'B' (of gray the planes that are not there count
        nothing) and [planes, 3] from its changes to those of codes."""
        if fmt not in self._matrices:
            matrix, decode = np.zeros((3, 4), np.float32), decode_matrix(fmt)
            matrix[:, : fmt.planes], matrix[:, 3] = decode[:, :-1], decode[:, -1]
            self._matrices[fmt] = matrix, encode_matrix(fmt).astype(np.float32)
        return self._matrices[fmt]

    def _to_rgb(self, planes: list[Samples], fmt: PictureFormat) -> Image:
        """Codes [h, w] of all planes at one resolution -> R'G'B' [h, w, 3], clipped to 0..1."""
        decode, _ = self._coding(fmt)
        first, second, third = planes if fmt.planes == 3 else planes * 3
        rgb = np.empty((*first.shape, 3), np.float32)
        loops.to_rgb(first, second, third, decode, rgb)
        return rgb

    def _crop(self, picture: Picture, to_frame: Affine, box: Roi) -> Image:
        """R'G'B' of the pixels ``box`` of a crop: the same values as in the whole crop."""
        fmt = picture.format
        planes: list[Samples] = []
        for number, plane in enumerate(picture.planes):
            to_plane = compose(invert(plane_affine(fmt, number)), to_frame)
            if number and (fmt.sub_x or fmt.sub_y):
                planes.append(sample_linear(plane, to_plane, box_factors(to_plane), box))
            else:
                planes.append(sample_cubic(plane, to_plane, box))
        return self._to_rgb(planes, fmt)

    def _changes(
        self,
        before: Image,
        place: tuple[int, int],
        after: Image,
        levels: list[Samples],
        curve: TransferTables,
        fmt: PictureFormat,
        box: Roi,
        size: int,
    ) -> Samples:
        """[planes, size, size] how the codes change at crop resolution: R'G'B' blended in light
        over the mask, measured in the signal; zero outside ``box``, which lies at ``place`` (y, x)
        of ``before``."""
        rows, columns = levels[0].shape
        flat = np.ascontiguousarray(before).reshape(len(before), -1)
        light, difference = np.empty((2, rows, 3 * columns), np.float32)
        loops.light_changes(flat, after, *place, curve.linear, light, difference)
        brought = blend(difference.reshape(rows, columns, 3), levels).reshape(rows, -1)
        codes = np.zeros((fmt.planes, size, size), np.float32)
        _, encode = self._coding(fmt)
        loops.code_changes(
            brought, light, flat, *place, box.y0, box.x0, curve.from_root, encode, codes
        )
        return codes

    def _add(
        self,
        picture: Picture,
        codes: Samples,
        affine: Affine,
        roi: Roi,
        touched: NDArray[np.bool_],
    ) -> None:
        """Carry a change of codes at crop resolution into the planes, dithered, where touched."""
        fmt = picture.format
        for number, (plane, change) in enumerate(zip(picture.planes, codes, strict=True)):
            part = plane_part(roi, fmt, number)
            to_crop = compose(affine, plane_affine(fmt, number))
            allowed = plane_touched(touched, fmt, number)
            add_sampled(plane, (1 << fmt.depth) - 1, change, to_crop, part, allowed)


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


def _area(plane: Plane, to_plane: Affine, size: tuple[int, int], points: int) -> Samples:
    """Area-filtered samples [h, w] of a plane for output pixels of ``size`` (width, height).

    A box level of nearly the wanted density, read bilinearly at ``points`` x ``points`` places of
    each output pixel. Two are needed where detail counts; subsampled chroma has none.
    """
    kx, ky = (max(1, int(step / points)) for step in np.hypot(to_plane[:, 0], to_plane[:, 1]))
    whole = Roi(x0=0, y0=0, x1=size[0], y1=size[1])
    return sample_linear(plane, to_plane, (kx, ky), whole, points)


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
