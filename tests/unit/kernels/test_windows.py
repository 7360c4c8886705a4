"""A part of a picture shows what the whole shows there."""

import numpy as np
import pytest

from kernels.cpu import CpuKernels
from kernels.geometry import compose
from kernels.picture import Picture, PictureFormat
from kernels.windows import cut_out


def noise(fmt: PictureFormat) -> Picture:
    rng = np.random.default_rng(5)
    planes = tuple(
        rng.integers(16, 235, fmt.plane_shape(plane), np.uint8) for plane in range(fmt.planes)
    )
    return Picture(format=fmt, planes=planes)


@pytest.mark.parametrize(("sub_x", "sub_y"), [(1, 1), (1, 0), (0, 0)])
def test_crops_of_a_part_are_crops_of_the_whole(sub_x: int, sub_y: int) -> None:
    whole = noise(PictureFormat(width=161, height=121, sub_x=sub_x, sub_y=sub_y))
    part, shift = cut_out(whole, np.array([[31.0, 17.0], [110.0, 96.0]]))
    assert (part.format.width, part.format.height) < (161, 121)
    affine = np.array([[0.8, 0.3, -57.3], [-0.3, 0.8, -8.3]])  # 32 pixels about (70, 56)
    kernels = CpuKernels()
    one = kernels.thumbnail(whole, affine, 32, 32)
    other = kernels.thumbnail(part, compose(affine, shift), 32, 32)
    assert one.max() > 0
    assert np.abs(one.astype(int) - other).max() <= 1


def test_it_is_a_copy() -> None:
    whole = noise(PictureFormat(width=64, height=48))
    part, _ = cut_out(whole, np.array([[10.0, 10.0], [30.0, 30.0]]))
    before = [plane.copy() for plane in part.planes]
    for plane in whole.planes:
        plane[:] = 0
    for plane, kept in zip(part.planes, before, strict=True):
        assert (plane == kept).all()


@pytest.mark.parametrize("points", [[[-50.0, -40.0], [-10.0, -9.0]], [[500.0, 3.0], [600.0, 9.0]]])
def test_points_outside_give_the_nearest_edge(points: list[list[float]]) -> None:
    part, shift = cut_out(noise(PictureFormat(width=63, height=47)), np.array(points))
    assert part.format.width >= 1
    assert part.format.height >= 1
    assert 0 <= shift[0, 2] < 63
    assert 0 <= shift[1, 2] < 47
    for number, plane in enumerate(part.planes):
        assert plane.shape == part.format.plane_shape(number)
