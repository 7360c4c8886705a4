"""Neural swappers on networks whose answers are known: ranges, channels, sources, batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from actors.arcface import ArcFace
from actors.face_masker import FaceMasker
from actors.neural_swapper import NeuralSwapper, batches
from actors.swapper import AlignedFace
from actors.swapper_specs import SWAPPERS
from kernels.cpu import CpuKernels
from kernels.face_masks import box_mask
from kernels.geometry import invert
from kernels.picture import Picture, PictureFormat
from kernels.templates import template_affine, template_points
from scheduler.errors import ModelCorrupt
from scheduler.masks import MaskSettings
from tests.unit.actors.small_networks import linear, network, tinting_swapper

EMBEDDINGS = [name for name, spec in SWAPPERS.items() if spec.picture is None]
PICTURES = [name for name, spec in SWAPPERS.items() if spec.picture is not None]
GREY = Picture(
    format=PictureFormat(width=8, height=8, planes=1, sub_x=0, sub_y=0, full_range=True),
    planes=(np.full((8, 8), 90, np.uint8),),
)


def faces(size: int, count: int) -> list[AlignedFace]:
    random = np.random.default_rng(20)
    return [
        AlignedFace(
            picture=GREY,
            affine=np.eye(2, 3),
            crop=random.random((size, size, 3), np.float32),
            landmarks=np.zeros((68, 2)),
            out=np.full((size, size, 4), np.nan, np.float32),
        )
        for _ in range(count)
    ]


def swapper(
    tmp_path: Path, name: str, source: NDArray[np.float32], **more: object
) -> NeuralSwapper:
    spec = SWAPPERS[name]
    shape = source.shape
    sides = int(str(more.get("sides", 1)))
    masks = more.pop("masks", None) or FaceMasker(MaskSettings(), spec.size * sides)
    runtime = tinting_swapper(tmp_path / "swapper.onnx", spec.size, mask=spec.mask, source=shape)
    return NeuralSwapper(runtime, spec, source, masks, CpuKernels(), **more)  # type: ignore[arg-type]


def expected(
    name: str, crop: NDArray[np.float32], tint: NDArray[np.float64]
) -> NDArray[np.float64]:
    """[s, s, 3]: what the tinting network makes of a crop, by hand."""
    normal = {
        "simswap_256": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        "simswap_unofficial_512": (0, 1),
        "inswapper_128": (0, 1),
        "inswapper_128_fp16": (0, 1),
        "blendswap_256": (0, 1),
    }
    mean, std = (np.array(each) for each in normal.get(name, (0.5, 0.5)))
    out = (crop - mean) / std + 0.1 * tint
    if name.partition("_")[0] in ("hyperswap", "ghost", "hififace", "uniface"):
        out = out * 0.5 + 0.5
    return np.clip(out, 0, 1)


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_every_swapper_of_embeddings(tmp_path: Path, name: str) -> None:
    source = np.random.default_rng(21).normal(0, 2, 512).astype(np.float32)
    tool = swapper(tmp_path, name, source)
    (face,) = faces(tool.size, 1)
    tool.swap_all([face])
    wanted = expected(name, face.crop, source[:3].astype(np.float64))
    np.testing.assert_allclose(face.out[..., :3], wanted, atol=2e-6)
    np.testing.assert_array_equal(face.out[..., 3], box_mask(tool.size, 0.3))


@pytest.mark.parametrize("name", PICTURES)
def test_every_swapper_of_pictures(tmp_path: Path, name: str) -> None:
    picture = SWAPPERS[name].picture
    assert picture is not None
    source = np.empty((3, picture.size, picture.size), np.float32)
    source[...] = np.array([0.9, 0.5, 0.2])[:, None, None]
    tool = swapper(tmp_path, name, source)
    (face,) = faces(tool.size, 1)
    tool.swap_all([face])
    wanted = expected(name, face.crop, np.array([0.9, 0.5, 0.2]))
    np.testing.assert_allclose(face.out[..., :3], wanted, atol=1e-5)


def test_the_crop_is_the_models_own_and_follows_its_template(tmp_path: Path) -> None:
    source = np.zeros(512, np.float32)
    points = np.random.default_rng(22).uniform(100, 300, (68, 2))
    for name, side, template in (
        ("hyperswap_1a_256", 256, "arcface_128"),
        ("inswapper_128", 128, "arcface_128"),
        ("simswap_unofficial_512", 512, "arcface_112_v1"),
        ("hififace_unofficial_256", 256, "mtcnn_512"),
    ):
        tool = swapper(tmp_path, name, source)
        assert tool.size == side
        np.testing.assert_array_equal(tool.affine(points), template_affine(points, template, side))
    boosted = swapper(tmp_path, "inswapper_128", source, sides=4)
    assert boosted.size == 512
    wanted = template_affine(points, "arcface_128", 512)
    np.testing.assert_array_equal(boosted.affine(points), wanted)


@pytest.mark.parametrize("sides", [2, 4])
def test_a_boost_is_one_call_on_interleaved_pictures(tmp_path: Path, sides: int) -> None:
    source = np.random.default_rng(23).normal(0, 2, 512).astype(np.float32)
    tool = swapper(tmp_path, "inswapper_128", source, sides=sides)
    (face,) = faces(tool.size, 1)
    calls = []
    run = tool._network.run
    tool._network.run = lambda *rows: calls.append(len(rows[1])) or run(*rows)  # type: ignore[method-assign, func-returns-value]
    tool.swap_all([face])
    assert calls == [sides**2]
    # The tinting network works on each pixel alone: the layout must not show.
    wanted = expected("inswapper_128", face.crop, source[:3].astype(np.float64))
    np.testing.assert_allclose(face.out[..., :3], wanted, atol=2e-6)


def test_what_a_boosted_network_sees_of_a_crop(tmp_path: Path) -> None:
    """Each small picture is the crop at every other pixel, so neighbours are two apart."""
    blur = network(
        tmp_path / "right.onnx",
        inputs={"source": ("n", 512), "target": ("n", 3, 128, 128)},
        outputs={"output": ("n", 3, 128, 128)},
        nodes=[
            ("Conv", ["target", "kernel"], "output", {"group": 3, "pads": [0, 0, 0, 1]}),
        ],
        constants={"kernel": np.tile(np.array([0.0, 1.0]), (3, 1, 1, 1))},
    )
    spec = SWAPPERS["inswapper_128"]
    masker = FaceMasker(MaskSettings(), 256)
    source = np.zeros(512, np.float32)
    tool = NeuralSwapper(blur, spec, source, masker, CpuKernels(), sides=2)
    (face,) = faces(256, 1)
    tool.swap_all([face])
    np.testing.assert_array_equal(face.out[:, :-2, :3], face.crop[:, 2:])
    assert not face.out[:, -2:, :3].any()


@pytest.mark.parametrize("batch", [1, 2, 4, 16])
@pytest.mark.parametrize("sides", [1, 2])
def test_batches_change_no_bit(tmp_path: Path, batch: int, sides: int) -> None:
    source = np.random.default_rng(24).normal(0, 2, 512).astype(np.float32)
    alone = swapper(tmp_path, "hyperswap_1a_256", source, sides=sides)
    together = swapper(tmp_path, "hyperswap_1a_256", source, sides=sides, batch=batch)
    assert together.batch == batch
    first, second = faces(alone.size, 5), faces(alone.size, 5)
    for face in first:
        alone.swap_all([face])
    together.swap_all(second)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.out, other.out)


def test_batches_are_powers_of_two_that_leave_nobody_out() -> None:
    for count in range(40):
        for most in (1, 2, 8, 64):
            parts = list(batches(count, most))
            covered = [place for part in parts for place in range(part.start, part.stop)]
            assert covered == list(range(count))
            sizes = [part.stop - part.start for part in parts]
            assert all(size <= most and size & (size - 1) == 0 for size in sizes)
    assert [part.stop - part.start for part in batches(21, 8)] == [8, 8, 4, 1]


@pytest.mark.parametrize("batch", [0, 3, 128])
def test_another_batch_is_refused(tmp_path: Path, batch: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        swapper(tmp_path, "hyperswap_1a_256", np.zeros(512, np.float32), batch=batch)


def test_the_swappers_own_mask(tmp_path: Path) -> None:
    masker = FaceMasker(MaskSettings(types=("model",)), 256)
    source = np.zeros(512, np.float32)
    tool = swapper(tmp_path, "hyperswap_1a_256", source, masks=masker)
    (face,) = faces(256, 1)
    tool.swap_all([face])
    # The small network's mask is the target's green as it saw it, here cut to 0..1.
    own = np.clip(face.crop[..., 1] * 2 - 1, 0, 1)
    wanted = np.minimum(own, box_mask(256, 0.1))
    np.testing.assert_allclose(face.out[..., 3], wanted, atol=1e-6)


@pytest.mark.parametrize("weight", [0.0, 0.5, 0.8])
@pytest.mark.parametrize("name", ["hyperswap_1a_256", "inswapper_128", "ghost_1_256"])
def test_the_weight_looks_at_the_target(tmp_path: Path, name: str, weight: float) -> None:
    fmt = PictureFormat(
        width=300, height=200, sub_x=0, sub_y=0, matrix="rgb", transfer="srgb", full_range=True
    )
    colour = (0.8, 0.4, 0.2)
    planes = tuple(np.full((200, 300), round(colour[c] * 255), np.uint8) for c in (1, 2, 0))
    matrix = np.zeros((3, 112 * 112, 512), np.float32)
    matrix[0, :, 0], matrix[1, :, 1], matrix[2, :, 2] = 1e-4, 2e-4, -3e-4
    recogniser = ArcFace(
        linear(tmp_path / "arcface.onnx", matrix.reshape(-1, 512), shape=("n", 3, 112, 112))
    )
    source = np.random.default_rng(25).normal(0, 1, 512).astype(np.float32)
    tool = swapper(tmp_path, name, source, weight=weight, recogniser=recogniser)
    points = np.zeros((68, 2))
    five = template_points("arcface_128", tool.size)
    points[36:42], points[42:48], points[[30, 48, 54]] = five[0], five[1], five[2:]
    face = faces(tool.size, 1)[0]
    face = AlignedFace(
        picture=Picture(format=fmt, planes=planes),
        affine=invert(np.array([[0.5, 0.1, 100], [-0.1, 0.5, 70]])),
        crop=face.crop,
        landmarks=points,
        out=face.out,
    )
    tool.swap_all([face])
    seen = np.rint(np.array(colour) * 255) / 127.5 - 1
    target = np.zeros(512)
    target[:3] = seen * 112 * 112 * np.array([1e-4, 2e-4, -3e-4])
    if name != "ghost_1_256":
        target /= np.linalg.norm(target)
    m = 0.35 - 0.7 * weight
    mixed = source * (1 - m) + target * m
    wanted = expected(name, face.crop, mixed[:3])
    np.testing.assert_allclose(face.out[..., :3], wanted, atol=1e-4)


def test_a_network_of_another_kind_is_refused(tmp_path: Path) -> None:
    spec = SWAPPERS["hyperswap_1a_256"]
    source = np.zeros(512, np.float32)
    masker = FaceMasker(MaskSettings(), 256)
    without_mask = tinting_swapper(tmp_path / "a.onnx", 256)
    with pytest.raises(ModelCorrupt, match="2 outputs"):
        NeuralSwapper(without_mask, spec, source, masker, CpuKernels())
    other = linear(tmp_path / "b.onnx", np.eye(512))
    with pytest.raises(ModelCorrupt, match=r"\['input'\]"):
        NeuralSwapper(other, spec, source, masker, CpuKernels())
