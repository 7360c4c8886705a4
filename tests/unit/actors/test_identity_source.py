"""The maths of source embeddings, against plain NumPy; chips and pictures of a source."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from actors.arcface import ArcFace
from actors.identity_source import (
    average_embedding,
    mixed,
    source_embedding,
    source_picture,
    target_share,
    unit,
)
from actors.mesh_swapper import SourceFace
from actors.swapper_specs import SWAPPERS
from kernels.cpu import CpuKernels
from kernels.templates import template_points
from tests.unit.actors.small_networks import linear, network

RAW = np.random.default_rng(5).normal(0, 0.9, 512).astype(np.float32)


def test_hyperswap_takes_the_embedding_at_length_one() -> None:
    found = source_embedding(SWAPPERS["hyperswap_1b_256"], RAW)
    np.testing.assert_allclose(found, RAW / np.linalg.norm(RAW), rtol=1e-6)
    assert found.dtype == np.float32


@pytest.mark.parametrize("name", ["inswapper_128", "inswapper_128_fp16"])
def test_inswapper_takes_it_through_its_matrix(name: str) -> None:
    matrix = np.random.default_rng(6).normal(0, 0.2, (512, 512)).astype(np.float32)
    found = source_embedding(SWAPPERS[name], RAW, matrix=matrix)
    np.testing.assert_allclose(found, RAW @ matrix / np.linalg.norm(RAW), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "long"),
    [("ghost_2_256", True), ("simswap_256", False), ("hififace_unofficial_256", False)],
)
def test_a_converter_comes_first(tmp_path: Path, name: str, long: bool) -> None:
    matrix = np.random.default_rng(7).normal(0, 0.2, (512, 512)).astype(np.float32)
    converter = linear(tmp_path / "converter.onnx", matrix)
    found = source_embedding(SWAPPERS[name], RAW, converter=converter)
    wanted = RAW @ matrix
    if not long:
        wanted = wanted / np.linalg.norm(wanted)
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)


def test_the_weight_mixes_the_target_in_or_takes_it_away() -> None:
    assert [target_share(w) for w in (0, 0.25, 0.5, 1)] == pytest.approx([0.35, 0.175, 0, -0.35])
    targets = unit(np.random.default_rng(8).normal(0, 1, (3, 512)).astype(np.float32))
    np.testing.assert_allclose(np.linalg.norm(targets, axis=1), 1, rtol=1e-6)
    for weight in (0.0, 0.2, 0.5, 1.0):
        m = 0.35 - 0.7 * weight
        wanted = RAW[None] * (1 - m) + targets * m
        found = mixed(RAW, targets, target_share(weight))
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
        assert found.dtype == np.float32


def painted(seed: int, scale: float = 2.0) -> SourceFace:
    """A smooth picture, and landmarks that the chip's template maps onto by a turn and a scale."""
    noise = np.random.default_rng(seed).random((400, 400, 3)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 9)
    soft = (soft - soft.min()) / np.ptp(soft)
    turn = np.deg2rad(12)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    five = template_points("arcface_112_v2", 112) @ matrix.T + [90, 60]
    points = np.zeros((68, 2))
    points[36:42], points[42:48] = five[0], five[1]
    points[[30, 48, 54]] = five[2:]
    return SourceFace(image=np.rint(soft * 255).astype(np.uint8), landmarks=points)


def read(image: NDArray[np.uint8], x: float, y: float) -> NDArray[np.float64]:
    """Bilinear."""
    x0, y0 = int(x), int(y)
    part = image[y0 : y0 + 2, x0 : x0 + 2].astype(np.float64) / 255
    row = part[:, 0] * (1 - (x - x0)) + part[:, 1] * (x - x0)
    value: NDArray[np.float64] = row[0] * (1 - (y - y0)) + row[1] * (y - y0)
    return value


def chip_of(source: SourceFace, scale: float = 2.0) -> NDArray[np.float64]:
    """float64 [112, 112, 3] 0..1, pixel by pixel."""
    turn = np.deg2rad(12)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    places = np.stack(np.meshgrid(range(112), range(112)), axis=-1) @ matrix.T + [90, 60]
    return np.array([[read(source.image, *place) for place in row] for row in places])


def test_embeddings_of_several_pictures_are_averaged_as_they_are(tmp_path: Path) -> None:
    matrix = np.random.default_rng(9).normal(0, 0.01, (3 * 112 * 112, 512)).astype(np.float32)
    recogniser = ArcFace(linear(tmp_path / "arcface.onnx", matrix, shape=("n", 3, 112, 112)))
    sources = [painted(10), painted(11)]
    rows = [
        (chip_of(s).astype(np.float32) * 255 / 127.5 - 1).transpose(2, 0, 1).ravel() @ matrix
        for s in sources
    ]
    found = average_embedding(sources, recogniser, CpuKernels())
    wanted = (rows[0] + rows[1]) / 2
    # A crop that shrinks by two is filtered first: the same to a few thousandths.
    assert np.abs(found - wanted).max() < 0.02 * np.abs(wanted).max()
    alone = average_embedding(sources[:1], recogniser, CpuKernels())
    assert np.abs(alone - rows[0]).max() < 0.02 * np.abs(rows[0]).max()


def test_a_chip_goes_in_as_red_green_blue_from_minus_one_to_one(tmp_path: Path) -> None:
    means = network(
        tmp_path / "means.onnx",
        inputs={"input": ("n", 3, 112, 112)},
        outputs={"output": ("n", 512)},
        nodes=[
            ("ReduceMean", ["input"], "mean", {"axes": [2, 3], "keepdims": 0}),
            ("MatMul", ["mean", "spread"], "output", {}),
        ],
        constants={"spread": np.eye(3, 512)},
    )
    chip = np.empty((112, 112, 3), np.float32)
    chip[...] = (1.0, 0.5, 0.25)
    numbers = ArcFace(means).embed([chip, chip * 0])
    np.testing.assert_allclose(numbers[0, :3], [1, 0, -0.5], atol=1e-6)
    np.testing.assert_allclose(numbers[1, :3], -1)


def test_a_source_picture_is_its_crop() -> None:
    spec = SWAPPERS["blendswap_256"].picture
    assert spec is not None
    source = painted(12)
    found = source_picture(spec, source, CpuKernels())
    assert found.shape == (3, 112, 112)
    assert found.flags.c_contiguous
    assert np.abs(found - chip_of(source).transpose(2, 0, 1)).max() < 0.02
