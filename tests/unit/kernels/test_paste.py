"""What a paste must and must not do to the decoder's samples."""

import cv2
import numpy as np
import pytest

from kernels.api import plane_touched
from kernels.cpu import CpuKernels
from kernels.picture import Picture, PictureFormat

KERNELS = CpuKernels()
SIZE = 96
FACES = {
    "20 px": (SIZE / 20, 0.2, 75, 45),
    "50 px": (SIZE / 50, -0.1, 75, 45),
    "96 px": (1.0, 0.4, 75, 45),
    "partly outside": (1.0, 0.0, 155, 5),
    "larger than the frame": (0.3, 0.1, 75, 45),
}


@pytest.fixture(params=FACES.values(), ids=FACES.keys())
def face(request):
    return request.param


def _full(patch, fmt):
    full = np.zeros((fmt.height, fmt.width), np.bool_)
    full[patch.roi.y0 : patch.roi.y1, patch.roi.x0 : patch.roi.x1] = patch.touched
    return full


@pytest.mark.parametrize("hard", [False, True])
def test_its_own_crop_changes_no_sample(scene, options, face, hard):
    """Not even fine noise that the crop cannot hold: only differences are brought in."""
    before = scene.picture(161, 91, blur=0.6, **options)
    after = scene.copy(before)
    affine = scene.affine(*face, SIZE)
    mask = np.ones((SIZE, SIZE), np.float32) if hard else scene.mask(SIZE)
    patch = KERNELS.paste(after, KERNELS.crop(before, affine, SIZE), mask, affine)
    assert patch.touched.any()
    for old, new in zip(before.planes, after.planes, strict=True):
        assert np.array_equal(old, new)


@pytest.mark.parametrize("hard", [False, True])
def test_untouched_keeps_every_byte(scene, options, face, hard):
    before = scene.picture(161, 91, **options)
    after = scene.copy(before)
    affine = scene.affine(*face, SIZE)
    mask = (scene.mask(SIZE) > 0).astype(np.float32) if hard else scene.mask(SIZE)
    crop = np.random.default_rng(0).random((SIZE, SIZE, 3)).astype(np.float32)
    patch = KERNELS.paste(after, crop, mask, affine)
    full = _full(patch, before.format)
    for number, (old, new) in enumerate(zip(before.planes, after.planes, strict=True)):
        allowed = plane_touched(full, before.format, number)
        assert np.array_equal(old[~allowed], new[~allowed])
        assert (old[allowed] != new[allowed]).mean() > 0.5


def test_touched_is_where_the_mask_lies(scene):
    picture = scene.picture(161, 91)
    affine = scene.affine(1.0, 0.3, 75, 45, SIZE)
    mask = scene.mask(SIZE)
    patch = KERNELS.paste(picture, np.zeros((SIZE, SIZE, 3), np.float32), mask, affine)
    warped = cv2.warpAffine(mask, affine, (161, 91), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    inverse = cv2.warpAffine(mask, affine, (161, 91), flags=cv2.INTER_LINEAR)
    assert warped.any()
    assert not np.array_equal(_full(patch, picture.format), inverse > 0)
    assert np.array_equal(_full(patch, picture.format), warped > 0)


def test_a_zero_mask_gives_an_empty_patch(scene):
    before = scene.picture(64, 64)
    after = scene.copy(before)
    crop = np.ones((32, 32, 3), np.float32)
    patch = KERNELS.paste(after, crop, np.zeros((32, 32), np.float32), np.eye(2, 3))
    assert patch.roi.empty
    assert patch.touched.shape == (0, 0)
    for old, new in zip(before.planes, after.planes, strict=True):
        assert np.array_equal(old, new)


def test_a_face_outside_the_frame_gives_an_empty_patch(scene):
    picture = scene.picture(64, 64)
    for x, y in ((-200, 30), (300, 30), (30, -200), (30, 300)):
        affine = scene.affine(1.0, 0.2, x, y, 32)
        crop = np.ones((32, 32, 3), np.float32)
        assert KERNELS.paste(picture, crop, scene.mask(32), affine).roi.empty


def test_inside_the_mask_the_crop_arrives(scene, options):
    """What is pasted can be cropped again."""
    picture = scene.picture(321, 181, **options)
    affine = scene.affine(0.9, 0.2, 150, 90, 128)
    y, x = np.mgrid[:128, :128] / 128
    wanted = np.stack([0.3 + 0.4 * x, 0.5 + 0.2 * y, 0.6 - 0.3 * x], -1).astype(np.float32)
    if picture.format.planes == 1:
        wanted[:] = wanted.mean(-1, keepdims=True)
    flat = tuple(cv2.blur(p, (31, 31)) for p in picture.planes)
    picture = Picture(format=picture.format, planes=flat)
    KERNELS.paste(picture, wanted, scene.mask(128), affine)
    middle = np.s_[44:84, 44:84]
    found = KERNELS.crop(picture, affine, 128)[middle]
    codes = (1 << picture.format.depth) - 1
    assert np.abs(found - wanted[middle]).mean() < max(0.006, 1.5 / codes)
    assert np.abs((found - wanted[middle]).mean((0, 1))).max() < 0.004


def test_full_and_limited_range_clip_at_the_codes(scene):
    for full_range, white in ((True, 255), (False, 235)):
        fmt = PictureFormat(width=64, height=64, full_range=full_range)
        planes = tuple(np.full(fmt.plane_shape(n), 128, np.uint8) for n in range(3))
        picture = Picture(format=fmt, planes=planes)
        ones = np.ones((48, 48), np.float32)
        affine = scene.affine(1.0, 0.0, 32, 32, 48)
        KERNELS.paste(picture, np.ones((48, 48, 3), np.float32), ones, affine)
        assert abs(int(picture.planes[0][32, 32]) - white) <= 1
        KERNELS.paste(picture, np.zeros((48, 48, 3), np.float32), ones, affine)
        assert int(picture.planes[0][32, 32]) == (0 if full_range else 16)


def test_the_dither_keeps_small_changes_on_average(scene):
    """Half a code of change survives rounding as a mean; plain rounding would lose or double it."""
    fmt = PictureFormat(width=128, height=128, planes=1, transfer="linear")
    picture = Picture(format=fmt, planes=(np.full((128, 128), 120, np.uint8),))
    affine = np.eye(2, 3)
    crop = KERNELS.crop(picture, affine, 128) + np.float32(0.4 / 219)
    KERNELS.paste(picture, crop, np.ones((128, 128), np.float32), affine)
    inner = picture.planes[0][32:96, 32:96].astype(float)
    assert inner.mean() == pytest.approx(120.4, abs=0.03)
    assert set(inner.ravel()) == {120.0, 121.0}


def test_order_of_overlapping_faces(scene):
    """The later crop wins where both are opaque."""
    picture = scene.picture(200, 160)
    affine = scene.affine(1.0, 0.0, 100, 80, 96)
    mask = scene.mask(96)
    for level in (0.2, 0.7):
        KERNELS.paste(picture, np.full((96, 96, 3), level, np.float32), mask, affine)
    found = KERNELS.crop(picture, affine, 96)[40:56, 40:56]
    assert found.mean() == pytest.approx(0.7, abs=0.02)
