"""Each step of the CUDA back end against its float64 definition, at sizes and pitches by chance."""

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose

from kernels import reference_steps as oracle
from kernels.cuda import steps
from kernels.cuda.crops import Crops
from kernels.cuda.device import DevicePicture, DevicePlane, Texture
from kernels.cuda.launcher import Launcher, pitch_of
from kernels.cuda.pastes import Pastes, Pixels
from kernels.filters import seam_band
from kernels.geometry import invert
from kernels.pasting import blend_box, frame_roi, survey
from kernels.picture import Picture, PictureFormat, Roi
from kernels.reference import ReferenceKernels

CLOSE = {"rtol": 0, "atol": 2e-6}
FORMATS = {
    "planar8": {},
    "centre8": {"matrix": "bt601", "chroma_left": False, "full_range": True},
    "planar10": {"depth": 10, "matrix": "bt2020", "transfer": "hlg"},
    "422": {"sub_y": 0, "depth": 10},
    "411": {"sub_x": 2, "sub_y": 0},
    "444": {"sub_x": 0, "sub_y": 0, "depth": 12},
    "gbr": {"sub_x": 0, "sub_y": 0, "matrix": "rgb", "full_range": True, "transfer": "srgb"},
    "gray": {"planes": 1},
    "nv12": {},
    "p010": {"depth": 10, "matrix": "bt2020", "transfer": "pq"},
}


@pytest.fixture(params=range(3))
def rng(request):
    return np.random.default_rng(request.param)


@pytest.fixture
def launcher(cuda):
    return Launcher(cuda())


class Held:
    """A picture in device memory, its rows as far apart as chance wants, and the way back."""

    def __init__(self, launcher: Launcher, picture: Picture, name: str, rng) -> None:
        self.launcher, self.source = launcher, picture
        semi, shift = name in ("nv12", "p010"), 6 if name == "p010" else 0
        rows = [plane << shift for plane in picture.planes]
        if semi:
            rows = [rows[0], np.stack(rows[1:], -1).reshape(len(rows[1]), -1)]
        pitch = max(pitch_of(row.shape[1], row.itemsize) for row in rows)
        pitch += 32 * int(rng.integers(0, 4))
        self.rows, self.pitch, self.pointers = rows, pitch, []
        for number, row in enumerate(rows):
            nbytes = pitch * (len(row) - 1) + row[0].nbytes
            self.pointers.append(launcher.memory(f"held {number}", nbytes))
            launcher.device.write(self.pointers[-1], pitch, row)
        if semi:
            self.picture = DevicePicture.semi_planar(picture.format, *self.pointers, pitch)
            return
        planes = [
            DevicePlane(
                pointer=pointer,
                pitch=pitch,
                width=row.shape[1],
                height=len(row),
                dtype=row.dtype.name,
            )
            for pointer, row in zip(self.pointers, rows, strict=True)
        ]
        self.picture = DevicePicture(format=picture.format, planes=tuple(planes))

    def planes(self) -> list[np.ndarray]:
        """What is there now, as planes of codes."""
        found = []
        for pointer, row in zip(self.pointers, self.rows, strict=True):
            rows = np.empty_like(row)
            self.launcher.device.read(pointer, self.pitch, rows)
            pair = self.picture.interleaved and len(found) == 1
            found += [rows[:, ::2], rows[:, 1::2]] if pair else [rows]
        assert all((plane & ((1 << self.picture.shift) - 1) == 0).all() for plane in found)
        return [plane >> self.picture.shift for plane in found]


@pytest.fixture(params=FORMATS)
def held(request, launcher, scene, rng):
    width, height = (int(rng.integers(9, 80)) for _ in range(2))
    picture = scene.picture(width, height, seed=int(rng.integers(99)), **FORMATS[request.param])
    return Held(launcher, picture, request.param, rng)


def some_box(fmt: PictureFormat, rng) -> Roi:
    """A box on whole chroma blocks, often up to the frame's edge."""
    wide, high = (1 << fmt.sub_x, 1 << fmt.sub_y) if fmt.planes == 3 else (1, 1)
    x0, y0 = (
        int(rng.integers(0, size // 2)) // step * step
        for size, step in ((fmt.width, wide), (fmt.height, high))
    )
    x1 = fmt.width if rng.random() < 0.5 else min(fmt.width, x0 + 4 * wide)
    y1 = fmt.height if rng.random() < 0.5 else min(fmt.height, y0 + 4 * high)
    return Roi(x0=x0, y0=y0, x1=x1, y1=y1)


@pytest.mark.parametrize("light", [False, True])
def test_decode(held, launcher, rng, light):
    fmt, box = held.source.format, some_box(held.source.format, rng)
    shape = (box.y1 - box.y0, box.x1 - box.x0, 3)
    curves = Pastes(launcher).curves(fmt.transfer) if light else None
    out = launcher.memory("out", 4 * int(np.prod(shape)))
    steps.decode(launcher, held.picture, box, out, curves)
    found = launcher.fetched(out, shape, "float32")
    # A table has 65 536 entries, and PQ rises by 1/3000 from one to the next at its steepest.
    assert_allclose(
        found, oracle.decode(held.source, box, light), rtol=0, atol=2e-4 if light else 2e-6
    )


@pytest.mark.parametrize("light", [False, True])
@pytest.mark.parametrize("dither", [False, True])
def test_encode(held, launcher, rng, light, dither):
    fmt, box = held.source.format, some_box(held.source.format, rng)
    before = held.planes()
    rgb = rng.random((box.y1 - box.y0, box.x1 - box.x0, 3)).astype(np.float32)
    curves = Pastes(launcher).curves(fmt.transfer) if light else None
    steps.encode(launcher, launcher.sent("rgb", rgb), held.picture, box, curves, dither=dither)
    wanted = oracle.encode(rgb.astype(np.float64), fmt, box, light, dither)
    near = (2e-3 if light else 2e-5) * (1 << fmt.depth)
    for number, (old, new, codes) in enumerate(zip(before, held.planes(), wanted, strict=True)):
        sub_x, sub_y = (fmt.sub_x, fmt.sub_y) if number else (0, 0)
        part = np.s_[box.y0 >> sub_y :, box.x0 >> sub_x :][:2]
        inside = new[part][: codes.shape[0], : codes.shape[1]]
        assert (inside <= codes + near).all()
        assert (inside > codes - 1 - near).all()
        old[part][: codes.shape[0], : codes.shape[1]] = inside
        assert np.array_equal(old, new), "samples outside the box changed"


def test_crop_and_paste_of_pictures_in_device_memory(held, launcher, scene, rng):
    fmt, size = held.source.format, int(rng.integers(12, 40))
    scale, angle = float(rng.uniform(0.3, 1.5)), float(rng.uniform(-3, 3))
    affine = scene.affine(scale, angle, fmt.width * rng.random(), fmt.height * rng.random(), size)
    to_frame, reference = invert(affine), ReferenceKernels()
    whole = Roi(x0=0, y0=0, x1=size, y1=size)
    out = launcher.memory("out", 12 * size * size)
    Crops(launcher).crop(held.picture, to_frame, whole, size, out)
    crop = launcher.fetched(out, (size, size, 3), "float32")
    assert_allclose(crop, reference.crop(held.source, affine, size), rtol=0, atol=2e-5)

    # Crop and mask as a lane has them: four values to a pixel.
    after = np.dstack([1 - crop, scene.mask(size)])
    _, support = survey(after[..., :3], after[..., 3])
    roi, box = frame_roi(support, to_frame, fmt), blend_box(support, size)
    pointer = launcher.sent("after", after)
    Crops(launcher).crop(held.picture, to_frame, box, size, out)
    touched = Pastes(launcher).paste(
        held.picture,
        Pixels(pointer=out, row=3 * (box.x1 - box.x0), step=3),
        Pixels(pointer=pointer, row=4 * size, step=4),
        Pixels(pointer=pointer + 12, row=4 * size, step=4),
        *(size, affine, box, roi),
    )
    wanted = scene.copy(held.source)
    proof = reference.paste(wanted, after[..., :3], after[..., 3].copy(), affine)
    where = launcher.fetched(touched, (roi.y1 - roi.y0, roi.x1 - roi.x0), "uint8")
    assert np.array_equal(where, proof.touched[roi.y0 : roi.y1, roi.x0 : roi.x1])
    for here, there in zip(held.planes(), wanted.planes, strict=True):
        apart = np.abs(here.astype(int) - there)
        assert apart.max() <= (6 if fmt.transfer == "pq" else 1)
        assert (apart > 0).mean() < 0.04


@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("step", [3, 4])
def test_pack_and_unpack(launcher, rng, order, dtype, step):
    n, h, w = (int(rng.integers(1, top)) for top in (4, 40, 40))
    mean, deviation = rng.random(3), rng.uniform(0.2, 2, 3)
    pictures = rng.random((n, h, w, step))
    pictures = (pictures * 255).astype(np.uint8) if dtype == "uint8" else pictures.astype(dtype)
    pointer, tensor = launcher.sent("pictures", pictures), launcher.memory("tensor", 12 * n * h * w)
    batch = steps.Batch(pointer=pointer, count=n, width=w, height=h, step=step, dtype=dtype)
    steps.pack(launcher, batch, tensor, mean, deviation, order)
    unit = pictures.astype(np.float64) / (255 if dtype == "uint8" else 1)
    wanted = oracle.pack(unit, mean, deviation, order == "bgr")
    assert_allclose(launcher.fetched(tensor, (n, 3, h, w), "float32"), wanted, rtol=1e-5, atol=1e-5)

    rest = np.full((n, h, w, step), 7, np.float32)
    back = steps.Batch(pointer=launcher.sent("back", rest), count=n, width=w, height=h, step=step)
    sent = rng.normal(0.3, 1, (n, 3, h, w)).astype(np.float32)
    steps.unpack(launcher, launcher.sent("tensor", sent), back, mean, deviation, order)
    found = launcher.fetched(back.pointer, rest.shape, "float32")
    wanted = oracle.unpack(sent.astype(np.float64), mean, deviation, order == "bgr")
    assert_allclose(found[..., :3], wanted, rtol=0, atol=1e-6)
    assert (found[..., 3:] == 7).all()


def test_small_pictures_that_interleave(launcher, rng):
    """A large crop is several small ones, every so many pixels of it."""
    sides, w, h = 3, int(rng.integers(1, 20)), int(rng.integers(1, 20))
    crop = rng.random((h * sides, w * sides, 4)).astype(np.float32)
    pointer, tensor = launcher.sent("crop", crop), launcher.memory("tensor", 12 * h * w)
    back = launcher.sent("back", np.zeros_like(crop))
    for row in range(sides):
        for column in range(sides):
            first = 16 * (row * w * sides + column)
            how = {"count": 1, "width": w, "height": h, "step": 4 * sides}
            how["row"] = 4 * sides * sides * w
            steps.pack(launcher, steps.Batch(pointer=pointer + first, **how), tensor)
            found = launcher.fetched(tensor, (3, h, w), "float32")
            wanted = crop[row::sides, column::sides, :3].transpose(2, 0, 1)
            assert np.array_equal(found, wanted)
            steps.unpack(launcher, tensor, steps.Batch(pointer=back + first, **how))
    found = launcher.fetched(back, crop.shape, "float32")
    assert np.array_equal(found[..., :3], crop[..., :3])
    assert not found[..., 3].any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_what_is_no_colour_is_noted(launcher, rng, value):
    tensor = rng.random((2, 3, 9, 7)).astype(np.float32)
    back = steps.Batch(pointer=launcher.memory("back", 4 * tensor.size), count=2, width=7, height=9)
    astray = launcher.sent("astray", np.zeros(1, np.int32))
    steps.unpack(launcher, launcher.sent("tensor", tensor), back, astray=astray)
    assert launcher.fetched(astray, (1,), "int32")[0] == 0
    tensor[1, 2, 8, 6] = value
    steps.unpack(launcher, launcher.sent("tensor", tensor), back, astray=astray)
    assert launcher.fetched(astray, (1,), "int32")[0] == (not np.isfinite(value))


def test_a_mask_into_the_fourth_channel_and_onto_what_is_there(launcher, rng):
    w, h = int(rng.integers(1, 40)), int(rng.integers(1, 40))
    crop, masks = rng.random((h, w, 4), np.float32), rng.random((2, h, w), np.float32)
    pointer, pointers = launcher.sent("crop", crop), []
    for number, mask in enumerate(masks):
        pointers.append(launcher.sent(f"mask {number}", mask))
    steps.merge_masks(launcher, pointers[:1], pointer + 12, (w, h), step=4)
    found = launcher.fetched(pointer, crop.shape, "float32")
    assert np.array_equal(found, np.dstack([crop[..., :3], masks[0]]))
    steps.merge_masks(launcher, pointers[1:], pointer + 12, (w, h), "product", held=True, step=4)
    found = launcher.fetched(pointer, crop.shape, "float32")
    assert np.array_equal(found, np.dstack([crop[..., :3], masks[0] * masks[1]]))


@pytest.mark.parametrize("how", ["least", "product"])
def test_merge_masks(launcher, rng, how):
    size = int(rng.integers(1, 70)), int(rng.integers(1, 70))
    masks = rng.random((int(rng.integers(1, 5)), size[1], size[0])).astype(np.float32)
    pointers = [launcher.sent(f"mask {k}", mask) for k, mask in enumerate(masks)]
    out = launcher.memory("out", 4 * size[0] * size[1])
    steps.merge_masks(launcher, pointers, out, size, how, low=0.05, high=0.9, border=True)
    wanted = oracle.merge_masks(masks.astype(np.float64), how == "product", 0.05, 0.9, True)
    assert_allclose(launcher.fetched(out, masks.shape[1:], "float32"), wanted, **CLOSE)


def test_seam_band(launcher, rng):
    w, h = int(rng.integers(9, 70)), int(rng.integers(9, 70))
    mask = cv2.GaussianBlur(rng.random((h, w), np.float32), (0, 0), 3)
    mask = (mask - mask.min()) / np.ptp(mask)
    width = int(rng.integers(1, 14))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width + 1, width + 1))
    out = launcher.memory("out", 4 * w * h)
    steps.seam_band(launcher, launcher.sent("mask", mask), out, (w, h), disc)
    assert np.array_equal(launcher.fetched(out, (h, w), "float32"), seam_band(mask, width))


@pytest.mark.parametrize("zero", [False, True])
def test_blur(launcher, rng, zero):
    w, h = int(rng.integers(1, 300)), int(rng.integers(1, 40))
    picture = rng.random((h, w), np.float32)
    taps = steps.gaussian_taps(float(rng.uniform(0.5, 4)), int(rng.integers(0, min(w, h, 64))))
    out = launcher.memory("out", 4 * w * h)
    steps.blur(launcher, launcher.sent("in", picture), out, (w, h), taps, zero_beyond=zero)
    wanted = oracle.blur(picture.astype(np.float64), taps, zero)
    assert_allclose(launcher.fetched(out, (h, w), "float32"), wanted, **CLOSE)


def test_widest_blur(launcher):
    """All 64 taps to each side, and a picture that is smaller than that."""
    picture = np.random.default_rng(5).random((9, 150), np.float32)
    taps = steps.gaussian_taps(30, 64)
    out = launcher.memory("out", picture.nbytes)
    steps.blur(launcher, launcher.sent("in", picture), out, (150, 9), taps, zero_beyond=True)
    wanted = oracle.blur(picture.astype(np.float64), taps, True)
    assert_allclose(launcher.fetched(out, (9, 150), "float32"), wanted, **CLOSE)
    with pytest.raises(ValueError, match="66 taps"):
        steps.blur(launcher, out, out, (150, 9), [1.0] * 66)


@pytest.mark.parametrize("transfer", ["bt709", "srgb", "hlg"])
def test_grade(launcher, rng, transfer):
    w, h, fmt = (
        int(rng.integers(1, 60)),
        int(rng.integers(1, 60)),
        PictureFormat(width=8, height=8, transfer=transfer),
    )
    crop = rng.random((h, w, 4)).astype(np.float32)
    crop[..., 3] *= rng.random((h, w)) < 0.6
    how = np.stack([rng.uniform(0.5, 2, 3), rng.uniform(-0.2, 0.2, 3)])
    pointer = launcher.sent("crop", crop)
    steps.grade(launcher, pointer, (w, h), how, Pastes(launcher).curves(transfer))
    found = launcher.fetched(pointer, crop.shape, "float32")
    wanted = oracle.grade(crop.astype(np.float64), how, fmt)
    assert np.array_equal(found[crop[..., 3] == 0], crop[crop[..., 3] == 0])
    # The tables' steps: near black HLG is steep.
    assert_allclose(found, wanted, rtol=0, atol=1e-3 if transfer == "hlg" else 3e-4)


def test_flow_blend(launcher, rng):
    w, h = int(rng.integers(2, 50)), int(rng.integers(2, 50))
    row, small = w + int(rng.integers(0, 9)), (max(1, h // 2), max(1, w // 2))
    flow = cv2.GaussianBlur(rng.normal(0, 8, (*small, 2)).astype(np.float32), (0, 0), 2)
    flow = flow.reshape(*small, 2)
    weight, edge = rng.random((2, *small), np.float32)
    before = rng.normal(0, 0.1, (h, w, 4)).astype(np.float32)
    change = rng.normal(0, 0.1, (h, row, 4)).astype(np.float32)
    original = rng.random((h, row, 3), np.float32)
    pitch = pitch_of(w, 16)
    held = launcher.memory("before", pitch * (h - 1) + 16 * w)
    launcher.device.write(held, pitch, before.reshape(h, -1))
    texture = Texture(
        pointer=held, pitch=pitch, width=w, height=h, dtype="float32", channels=4, zero_beyond=True
    )
    # Behind the last pixel of the part there is nothing.
    cut = h * row - (row - w)
    names = ("settled", "crop")
    settled, crop = (launcher.memory(name, 16 * cut) for name in names)
    steps.flow_blend(
        launcher,
        texture,
        *(
            steps.SmallPicture(
                pointer=launcher.sent(name, picture), width=small[1], height=small[0]
            )
            for name, picture in (("flow", flow), ("weight", weight), ("edge", edge))
        ),
        launcher.sent("change", change.reshape(-1, 4)[:cut]),
        launcher.sent("original", original.reshape(-1, 3)[:cut]),
        *(settled, crop, row, (w, h)),
    )
    wanted = oracle.flow_blend(
        *(
            each.astype(np.float64)
            for each in (before, flow, weight, edge, change[:, :w], original[:, :w])
        )
    )
    for pointer, right in zip((settled, crop), wanted, strict=True):
        found = np.zeros((h * row, 4), np.float32)
        found[:cut] = launcher.fetched(pointer, (cut, 4), "float32")
        assert_allclose(found.reshape(h, row, 4)[:, :w], right, rtol=0, atol=2e-5)
