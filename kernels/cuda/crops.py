"""Aligned crops of pictures in device memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernels.colour import decode_matrix
from kernels.cuda.device import DevicePicture, sides
from kernels.cuda.launcher import Launcher
from kernels.cuda.sampled import cells, plane_factors, plane_maps, samples
from kernels.cuda.signatures import Map, Matrix
from kernels.geometry import Affine, compose, invert, plane_affine, resize
from kernels.picture import PictureFormat, Roi
from kernels.sampling import Factors

GRAY, LINEAR_CHROMA, CUBIC_CHROMA = 0, 1, 2
"""As in warp.cu."""


class Crops:
    """Crops R'G'B' out of pictures: ``kernels.api.Kernels.crop`` without its copies.

    Args:
        launcher: whose device holds the pictures.
    """

    __slots__ = ("_launcher",)

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher

    def crop(
        self, picture: DevicePicture, to_frame: Affine, box: Roi, size: int, pointer: int
    ) -> None:
        """Fill float32 [box height, box width, 3] with pixels ``box`` of a crop.

        Args:
            picture: any form; of its planes at least what the box sees.
            to_frame: float64 [2, 3] crop pixels -> frame pixels.
            size: side of the whole crop.
        """
        launcher, fmt = self._launcher, picture.format
        maps, factors = plane_maps(picture, to_frame), plane_factors(fmt, to_frame)
        factors = factors[: len(picture.planes)]
        if any(factor != (1, 1) for factor in factors):
            sources, maps = cells(launcher, picture, maps, factors, box)
            kernel = "crop_cells"
        else:
            sources = samples(launcher, picture)
            wide = picture.planes[0].dtype == "uint16"
            kernel = "crop_planar16" if wide else "crop_planar8"
            if picture.interleaved:
                kernel = "crop_p010" if wide else "crop_nv12"
        mode = GRAY
        if fmt.planes == 3:
            mode = LINEAR_CHROMA if fmt.sub_x or fmt.sub_y else CUBIC_CHROMA
        first, second, third = (*sources, *(sources[-1:] * 2))[:3]
        origin = (size // 2, size // 2)
        width, height = sides(box)
        launcher.run(
            kernel,
            *(width, height),
            *(first.texture, second.texture, third.texture),
            first.map(maps[0], origin),
            second.map(maps[min(1, len(maps) - 1)], origin),
            Matrix.of(rgb_matrix(picture)),
            mode,
            *(box.x0, box.y0, width, height),
            pointer,
            3 * width,
        )

    def thumbnail(
        self, picture: DevicePicture, to_frame: Affine, width: int, height: int, pointer: int
    ) -> None:
        """Fill uint8 [height, width, 3]: ``kernels.api.Kernels.thumbnail``."""
        launcher, fmt = self._launcher, picture.format
        whole = Roi(x0=0, y0=0, x1=width, y1=height)
        maps, factors = plane_maps(picture, to_frame), area_factors(fmt, to_frame)
        sources, maps = cells(launcher, picture, maps, factors[: len(picture.planes)], whole)
        first, second, third = (*sources, *(sources[-1:] * 2))[:3]
        points = area_points(fmt)
        aims = []
        for source, to_cells, count in zip((first, second), maps[:2] * 2, points, strict=False):
            fine = compose(to_cells, resize(1 / count, 1 / count))
            aims.append(source.map(fine, (width * count // 2, height * count // 2)))
        launcher.run(
            "thumbnail",
            *(width, height),
            *(first.texture, second.texture, third.texture, *aims, *points),
            Matrix.of(rgb_matrix(picture)),
            LINEAR_CHROMA if fmt.planes == 3 else GRAY,
            Map.of(to_frame, (width // 2, height // 2)),
            *(fmt.width, fmt.height, pointer, width, height),
        )


def area_points(fmt: PictureFormat) -> tuple[int, int]:
    """At how many places each way an output pixel of a thumbnail is read, in luma and in chroma:
    subsampled chroma has no detail that two would show."""
    return 2, 1 if fmt.sub_x and fmt.sub_y else 2


def area_factors(fmt: PictureFormat, to_frame: Affine) -> list[Factors]:
    """By how much each plane is box-filtered before a thumbnail samples it."""
    found = []
    for number in range(fmt.planes):
        to_plane = compose(invert(plane_affine(fmt, number)), to_frame)
        points = area_points(fmt)[min(number, 1)]
        kx, ky = (max(1, int(step / points)) for step in np.hypot(to_plane[:, 0], to_plane[:, 1]))
        found.append((kx, ky))
    return found


def rgb_matrix(picture: DevicePicture) -> NDArray[np.float64]:
    """[3, 4] samples of three planes (those that gray lacks count nothing) and 1 -> R'G'B'."""
    fmt = picture.format
    matrix, decode = np.zeros((3, 4)), decode_matrix(fmt)
    matrix[:, : fmt.planes], matrix[:, 3] = decode[:, :-1] / (1 << picture.shift), decode[:, -1]
    return matrix
