"""The CPU back end: OpenCV and NumPy, one thread as well as many, same bytes."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from kernels.api import Image, Image8
from kernels.colour import decode_matrix
from kernels.geometry import Affine, compose, invert, plane_affine, resize
from kernels.picture import Picture, PictureFormat, Plane, Roi
from kernels.sampling import CubicSampler, box_level

Samples = NDArray[np.float32]


class CpuKernels:
    """``kernels.api.Kernels`` on the CPU; see there for the contract of each method."""

    __slots__ = ()

    def thumbnail(self, picture: Picture, affine: Affine, width: int, height: int) -> Image8:
        _positive(width=width, height=height)
        fmt = picture.format
        to_frame = invert(affine)
        planes = [
            _area(plane, compose(invert(plane_affine(fmt, number)), to_frame), width, height)
            for number, plane in enumerate(picture.planes)
        ]
        rgb = _to_rgb(planes, fmt)
        rgb *= np.float32(255)
        rgb += np.float32(0.5)
        small = rgb.astype(np.uint8)
        outside = _outside(to_frame, width, height, fmt)
        if outside is not None:
            small[outside] = 0
        return small

    def crop(self, picture: Picture, affine: Affine, size: int) -> Image:
        _positive(size=size)
        return _crop(picture, invert(affine), Roi(x0=0, y0=0, x1=size, y1=size))


def _positive(**sizes: int) -> None:
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"{name} {value}; wanted at least 1 pixel")


def _crop(picture: Picture, to_frame: Affine, box: Roi) -> Image:
    """The pixels ``box`` of a crop, equal to the same pixels of the whole crop."""
    fmt = picture.format
    samplers: dict[tuple[int, ...], CubicSampler] = {}
    planes = []
    for number, plane in enumerate(picture.planes):
        site = plane_affine(fmt, number)
        key = (int(site[0, 0]), int(site[1, 1]))
        if key not in samplers:
            height, width = plane.shape
            samplers[key] = CubicSampler(compose(invert(site), to_frame), box, width, height)
        planes.append(samplers[key].sample(plane))
    return _to_rgb(planes, fmt)


def _to_rgb(planes: list[Samples], fmt: PictureFormat) -> Samples:
    """Codes [h, w] of all planes at one resolution -> R'G'B' [h, w, 3] clipped to 0..1.

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
    return cast(Samples, cv2.merge(channels))


def _area(plane: Plane, to_plane: Affine, width: int, height: int) -> Samples:
    """Area-filtered samples of a plane: whole-number box level, then 2 x 2 bilinear samples."""
    half = compose(to_plane, resize(0.5, 0.5))
    kx, ky = (max(1, int(step + 1e-9)) for step in np.hypot(to_plane[:, 0], to_plane[:, 1]))
    to_level = compose(invert(resize(kx, ky)), half)
    corners = np.array([[0, 0], [2 * width - 1, 0], [0, 2 * height - 1], [2 * width, 2 * height]])
    reach = corners @ to_level[:, :2].T + to_level[:, 2]
    rows, columns = plane.shape
    limit = [-(-columns // kx) + 1, -(-rows // ky) + 1]
    x0, y0 = (int(v) for v in np.clip(np.floor(reach.min(0)) - 1, -1, limit))
    x1, y1 = (int(v) for v in np.clip(np.ceil(reach.max(0)) + 2, [x0 + 1, y0 + 1], limit))
    cells = box_level(plane, kx, ky, Roi(x0=x0, y0=y0, x1=x1, y1=y1), cv2.BORDER_REPLICATE)
    to_level[:, 2] -= (x0, y0)
    doubled = cv2.warpAffine(
        cells,
        to_level,
        (2 * width, 2 * height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return cv2.resize(doubled, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)


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
