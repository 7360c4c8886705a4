"""The enhancer: a second crop, blended, inside the first swapper's mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto

from actors.enhancer import EnhancedSwapper, FaceEnhancer
from actors.inference.onnx import Onnx
from actors.swapper import AlignedFace
from actors.swapper_specs import ENHANCERS, EnhancerSpec
from kernels.cpu import CpuKernels
from kernels.geometry import apply, compose
from kernels.picture import Picture, PictureFormat
from kernels.templates import template_affine, template_points
from scheduler.errors import ModelCorrupt
from scheduler.jobs import EnhancerSettings
from tests.unit.actors.small_networks import linear, network

Floats = NDArray[np.float32]
SMALL = EnhancerSpec(size=256)


def scaling(path: Path, size: int, gains: tuple[float, float, float]) -> Onnx:
    """x times a number for each channel."""
    return network(
        path,
        inputs={"input": ("n", 3, size, size)},
        outputs={"output": ("n", 3, size, size)},
        nodes=[("Mul", ["input", "gains"], "output", {})],
        constants={"gains": np.reshape(gains, (1, 3, 1, 1))},
    )


def weighted(path: Path, size: int) -> Onnx:
    """x times the weight."""
    return network(
        path,
        inputs={"input": ("n", 3, size, size), "weight": (1,)},
        outputs={"output": ("n", 3, size, size)},
        nodes=[
            ("Cast", ["weight"], "w", {"to": TensorProto.FLOAT}),
            ("Mul", ["input", "w"], "output", {}),
        ],
        kinds={"weight": TensorProto.DOUBLE},
    )


def test_a_picture_goes_in_from_minus_one_to_one_and_comes_back(tmp_path: Path) -> None:
    gains = (1.0, 0.5, -1.0)
    enhancer = FaceEnhancer(scaling(tmp_path / "e.onnx", 256, gains), SMALL)
    crops = [np.random.default_rng(seed).random((256, 256, 3), np.float32) for seed in (1, 2)]
    for crop, planes in zip(crops, enhancer.enhance(crops), strict=True):
        wanted = np.clip((crop * 2 - 1) * gains, -1, 1) / 2 + 0.5
        np.testing.assert_allclose(planes.transpose(1, 2, 0), wanted, atol=1e-6)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_weight_is_a_number_of_its_own(tmp_path: Path, weight: float) -> None:
    enhancer = FaceEnhancer(weighted(tmp_path / "e.onnx", 256), SMALL, weight)
    crops = [np.random.default_rng(seed).random((256, 256, 3), np.float32) for seed in (3, 4, 5)]
    for crop, planes in zip(crops, enhancer.enhance(crops), strict=True):
        wanted = (crop * 2 - 1) * weight / 2 + 0.5
        np.testing.assert_allclose(planes.transpose(1, 2, 0), wanted, atol=1e-6)


def test_a_network_of_another_kind_is_refused(tmp_path: Path) -> None:
    two = network(
        tmp_path / "two.onnx",
        inputs={"a": ("n", 3), "b": ("n", 3)},
        outputs={"c": ("n", 3)},
        nodes=[("Add", ["a", "b"], "c", {})],
    )
    with pytest.raises(ModelCorrupt, match=r"\['a', 'b'\]"):
        FaceEnhancer(two, SMALL)
    assert FaceEnhancer(linear(tmp_path / "one.onnx", np.eye(512)), SMALL).size == 256


class Painter:
    """Swaps in one colour, under an oval mask; crops after another template than the enhancer's."""

    size = 128
    batch = 2

    def __init__(self, colour: tuple[float, float, float]) -> None:
        self.colour = colour
        self.seen: list[AlignedFace] = []

    def affine(self, landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
        return template_affine(landmarks, "arcface_128", self.size)

    def swap_all(self, faces: Sequence[AlignedFace]) -> None:
        self.seen += faces
        for face in faces:
            face.out[..., :3] = self.colour
            oval = np.zeros((128, 128), np.float32)
            cv2.ellipse(oval, (64, 70), (36, 46), 0, 0, 360, 1.0, -1)
            face.out[..., 3] = cv2.GaussianBlur(oval, (0, 0), 3)


def aligned(tool: EnhancedSwapper, seed: int) -> AlignedFace:
    """A face in a frame, cut as the tool wants it."""
    fmt = PictureFormat(
        width=400, height=300, sub_x=0, sub_y=0, matrix="rgb", transfer="srgb", full_range=True
    )
    noise = np.random.default_rng(seed).random((300, 400, 3))
    smooth = cv2.GaussianBlur(noise, (0, 0), 6)
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    planes = np.rint(smooth * 255).astype(np.uint8)
    picture = Picture(format=fmt, planes=tuple(planes[..., c].copy() for c in (1, 2, 0)))
    five = template_points("ffhq_512", 200) + np.array([90 + seed, 40])
    points = np.zeros((68, 2))
    points[36:42], points[42:48], points[[30, 48, 54]] = five[0], five[1], five[2:]
    affine = tool.affine(points)
    return AlignedFace(
        picture=picture,
        affine=affine,
        crop=CpuKernels().crop(picture, affine, tool.size),
        landmarks=apply(affine, points),
        out=np.full((tool.size, tool.size, 4), np.nan, np.float32),
    )


def enhanced(
    path: Path,
    painter: Painter,
    *,
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0),
    blend: float = 0.8,
    size: int = 256,
) -> EnhancedSwapper:
    enhancer = FaceEnhancer(scaling(path, 256, gains), SMALL)
    return EnhancedSwapper(painter, enhancer, EnhancerSettings(blend=blend), CpuKernels(), size)


@pytest.mark.parametrize("size", [256, 128])
@pytest.mark.parametrize("blend", [0.0, 0.25, 1.0])
def test_the_blend_inside_the_swap_and_nothing_outside(
    tmp_path: Path, size: int, blend: float
) -> None:
    colour, gains = (0.8, 0.3, 0.6), (0.5, -1.0, 0.0)
    painter = Painter(colour)
    tool = enhanced(tmp_path / "e.onnx", painter, gains=gains, blend=blend, size=size)
    assert tool.size == size
    face = aligned(tool, 0)
    tool.swap_all([face])
    sharp = (np.array(colour) * 2 - 1) * gains / 2 + 0.5
    wanted = np.array(colour) * (1 - blend) + sharp * blend
    core = face.out[..., 3] > 0.99
    assert 0.05 < core.mean() < 0.5
    inner = cv2.erode(core.astype(np.uint8), np.ones((9, 9))) > 0
    np.testing.assert_allclose(
        face.out[..., :3][inner], np.broadcast_to(wanted, (int(inner.sum()), 3)), atol=2e-3
    )
    # Where nothing is swapped the crop stays, up to its way through the enhancer's size.
    far = cv2.dilate((face.out[..., 3] > 0).astype(np.uint8), np.ones((5, 5))) == 0
    assert far.any()
    assert np.abs(face.out[..., :3] - face.crop)[far].max() < 0.02
    assert np.isfinite(face.out).all()
    assert 0 <= face.out[..., :3].min() <= face.out[..., :3].max() <= 1


def test_the_mask_is_the_swappers_own_carried_over(tmp_path: Path) -> None:
    painter = Painter((0.5, 0.5, 0.5))
    tool = enhanced(tmp_path / "e.onnx", painter)
    face = aligned(tool, 3)
    tool.swap_all([face])
    (inner,) = painter.seen
    # A place of the inner crop and where it lies in the outer one, through the landmarks.
    to_inner = template_affine(face.landmarks, "arcface_128", 128)
    np.testing.assert_allclose(inner.affine, compose(to_inner, face.affine), atol=1e-9)
    rows, columns = np.mgrid[20:236:7, 20:236:7]
    places = apply(to_inner, np.stack([columns, rows], axis=-1))
    x, y = np.floor(places[..., 0]).astype(int), np.floor(places[..., 1]).astype(int)
    u, v = places[..., 0] - x, places[..., 1] - y
    mask = np.pad(inner.out[..., 3], 200)
    x, y = x + 200, y + 200
    wanted = (mask[y, x] * (1 - u) + mask[y, x + 1] * u) * (1 - v)
    wanted += (mask[y + 1, x] * (1 - u) + mask[y + 1, x + 1] * u) * v
    np.testing.assert_allclose(face.out[20:236:7, 20:236:7, 3], wanted, atol=0.03)


def test_the_inner_swapper_sees_the_frame_not_the_crop(tmp_path: Path) -> None:
    painter = Painter((0.5, 0.5, 0.5))
    tool = enhanced(tmp_path / "e.onnx", painter)
    face = aligned(tool, 5)
    tool.swap_all([face])
    (inner,) = painter.seen
    exact = CpuKernels().crop(face.picture, inner.affine, 128)
    np.testing.assert_array_equal(inner.crop, exact)
    wanted = apply(template_affine(face.landmarks, "arcface_128", 128), face.landmarks)
    np.testing.assert_allclose(inner.landmarks, wanted)


def test_several_faces_give_what_each_gives_alone(tmp_path: Path) -> None:
    painter = Painter((0.2, 0.9, 0.4))
    tool = enhanced(tmp_path / "e.onnx", painter, gains=(0.7, 0.9, 0.2))
    assert tool.batch == painter.batch
    faces = [aligned(tool, seed) for seed in range(3)]
    alone = [replace(face, out=np.empty_like(face.out)) for face in faces]
    tool.swap_all(faces)
    for face in alone:
        tool.swap_all([face])
    for one, other in zip(faces, alone, strict=True):
        np.testing.assert_array_equal(one.out, other.out)


def test_sizes_and_templates_of_the_known_ones() -> None:
    for name, spec in ENHANCERS.items():
        number = name.rpartition("_")[2]
        assert spec.size == (int(number) if number.isdigit() else 512)
        assert spec.template == ("arcface_128" if name == "gpen_bfr_256" else "ffhq_512")
