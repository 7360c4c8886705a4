"""Every back end against the float64 definition, within the tolerances of docs/compositing.md."""

from functools import cached_property

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.api import plane_touched
from kernels.cpu import CpuKernels
from kernels.geometry import resize
from kernels.picture import Picture, PictureFormat
from kernels.reference import ReferenceKernels

ORACLE = ReferenceKernels()
SIZE = 48
PLACES = {
    "inside": (1.03, 0.2, 66, 50),
    "over the edge": (0.7, 0.5, 128, 5),
    "turned": (0.9, 1.6, 60, 40),
    "shrinking": (0.31, -0.4, 60, 50),
    "larger than the frame": (0.2, 0.1, 50, 60),
    "tiny": (2.4, -0.3, 20, 90),
    "outside": (1.2, 0.1, -300, -200),
    "beyond": (0.3, 0.1, 900, 700),
}


class Case:
    """A picture, a place in it, and what the definition says: worked out once for all back ends."""

    def __init__(self, scene, options, place):
        self.scene = scene
        self.picture = scene.picture(131, 97, **options)
        self.affine, self.mask = scene.affine(*place, SIZE), scene.mask(SIZE)

    @cached_property
    def crop(self):
        return ORACLE.crop(self.picture, self.affine, SIZE)

    @cached_property
    def thumbnail(self):
        return ORACLE.thumbnail(self.picture, self.affine, SIZE, SIZE - 7)

    @cached_property
    def changed(self):
        y, x = np.mgrid[:SIZE, :SIZE]
        wave = 0.1 * np.sin(x / 7)[..., None] + 0.05 * np.cos(y / 5)[..., None]
        return np.clip(self.crop + wave, 0, 1).astype(np.float32)

    @cached_property
    def pasted(self):
        picture = self.scene.copy(self.picture)
        patch = ORACLE.paste(picture, self.changed, self.mask, self.affine)
        return picture, patch


@pytest.fixture(scope="session")
def cases():
    return {}


@pytest.fixture(params=PLACES.values(), ids=PLACES.keys())
def case(request, cases, scene, options):
    key = (*sorted(options.items()), *request.param)
    if key not in cases:
        cases[key] = Case(scene, options, request.param)
    return cases[key]


def test_crop_equals_the_oracle(backend, case):
    found = backend().crop(case.picture, case.affine, SIZE)
    assert found.shape == (SIZE, SIZE, 3)
    assert found.dtype == np.float32
    assert np.abs(found - case.crop).max() < 2e-4


def test_thumbnail_is_near_the_oracle(backend, case):
    found = backend().thumbnail(case.picture, case.affine, SIZE, SIZE - 7)
    assert found.shape == (SIZE - 7, SIZE, 3)
    assert found.dtype == np.uint8
    assert np.array_equal(found.any(-1), case.thumbnail.any(-1))
    error = np.abs(found.astype(int) - case.thumbnail)
    assert error.mean() < 2.0
    assert np.percentile(error, 99) <= 10


def test_paste_equals_the_oracle(backend, scene, case):
    found, (wanted, proof) = scene.copy(case.picture), case.pasted
    patch = backend().paste(found, case.changed, case.mask, case.affine)

    full = np.zeros((97, 131), np.bool_)
    roi = patch.roi
    full[roi.y0 : roi.y1, roi.x0 : roi.x1] = patch.touched
    assert np.array_equal(full, proof.touched)
    for here, there in zip(found.planes, wanted.planes, strict=True):
        apart = np.abs(here.astype(int) - there)
        steep = case.picture.format.transfer == "pq"
        assert apart.max() <= (6 if steep else 1)
        assert (apart > 0).mean() < 0.04


@settings(max_examples=25, deadline=None)
@given(
    width=st.integers(1, 70),
    height=st.integers(1, 70),
    scale=st.floats(0.15, 4),
    angle=st.floats(-3.2, 3.2),
    x=st.floats(-20, 90),
    y=st.floats(-20, 90),
    sub=st.sampled_from([(1, 1), (1, 0), (0, 0), (0, 1)]),
    left=st.booleans(),
)
def test_any_size_and_place(backend, scene, width, height, scale, angle, x, y, sub, left):
    kernels = backend()
    picture = scene.picture(width, height, sub_x=sub[0], sub_y=sub[1], chroma_left=left)
    affine = scene.affine(scale, angle, x, y, 24)
    crop = kernels.crop(picture, affine, 24)
    assert np.abs(crop - ORACLE.crop(picture, affine, 24)).max() < 3e-4
    before = scene.copy(picture)
    mask = scene.mask(24)
    patch = kernels.paste(picture, 1 - crop, mask, affine)
    _untouched_stays(before, picture, patch)


def _untouched_stays(before, after, patch):
    fmt = before.format
    full = np.zeros((fmt.height, fmt.width), np.bool_)
    full[patch.roi.y0 : patch.roi.y1, patch.roi.x0 : patch.roi.x1] = patch.touched
    for number, (old, new) in enumerate(zip(before.planes, after.planes, strict=True)):
        still = ~plane_touched(full, fmt, number)
        assert np.array_equal(old[still], new[still])


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_change_nothing(scene, threads):
    kernels = CpuKernels()
    found = []
    was = cv2.getNumThreads()
    try:
        for count in (1, threads):
            cv2.setNumThreads(count)
            picture = scene.picture(640, 360)
            affine = scene.affine(0.9, 0.3, 300, 200, 256)
            crop = kernels.crop(picture, affine, 256)
            small = kernels.thumbnail(picture, resize(0.3, 0.3), 192, 192)
            kernels.paste(picture, crop[::-1].copy(), scene.mask(256), affine)
            found.append([crop.tobytes(), small.tobytes(), *(p.tobytes() for p in picture.planes)])
    finally:
        cv2.setNumThreads(was)
    assert found[0] == found[1]


def test_padded_rows_are_fine(backend, scene):
    kernels = backend()
    plain = scene.picture(90, 60)
    wide = Picture(
        format=plain.format,
        planes=tuple(np.pad(p, [(0, 0), (0, 13)])[:, :-13] for p in plain.planes),
    )
    affine = scene.affine(0.8, 0.1, 40, 30, SIZE)
    crop = kernels.crop(plain, affine, SIZE)
    assert np.array_equal(crop, kernels.crop(wide, affine, SIZE))
    for picture in (plain, wide):
        kernels.paste(picture, crop[:, ::-1].copy(), scene.mask(SIZE), affine)
    for here, there in zip(plain.planes, wide.planes, strict=True):
        assert np.array_equal(here, there)


def test_thumbnail_of_one_colour_is_that_colour_on_black(backend):
    kernels = backend()
    fmt = PictureFormat(width=64, height=32)
    red = (63, 102, 240)
    planes = tuple(np.full(fmt.plane_shape(n), red[n], np.uint8) for n in range(3))
    small = kernels.thumbnail(Picture(format=fmt, planes=planes), resize(0.25, 0.25), 20, 10)
    assert (np.abs(small[:8, :16].astype(int) - (255, 0, 0)) <= 2).all()
    assert not small[8:].any()
    assert not small[:, 16:].any()


def test_bad_arguments_are_named(backend, scene):
    kernels = backend()
    picture, flat = scene.picture(32, 32), np.zeros((2, 3))
    crop, mask, affine = np.zeros((8, 8, 3), np.float32), scene.mask(8), resize(0.25, 0.25)
    with pytest.raises(ValueError, match="inverted"):
        kernels.crop(picture, flat, 8)
    with pytest.raises(ValueError, match="size 0"):
        kernels.crop(picture, affine, 0)
    with pytest.raises(ValueError, match="height 0"):
        kernels.thumbnail(picture, affine, 8, 0)
    with pytest.raises(ValueError, match="wanted"):
        kernels.paste(picture, crop[:, :7], mask, affine)
    with pytest.raises(ValueError, match="not finite"):
        kernels.paste(picture, crop * np.nan, mask, affine)
