"""Occluders and parsers: what goes in, what is made of the answer, how parts are combined."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from actors.face_masker import FaceMasker
from actors.inference.onnx import Onnx
from actors.mask_networks import CLASSES, OcclusionNetwork, RegionNetwork
from actors.swapper import AlignedFace
from kernels.face_masks import area_mask, box_mask, hull_mask
from kernels.picture import Picture, PictureFormat
from scheduler.errors import SettingInvalid
from scheduler.masks import REGIONS, MaskSettings
from tests.unit.actors.small_networks import network

Floats = NDArray[np.float32]
GREY = Picture(format=PictureFormat(width=2, height=2), planes=())


def soft(mask: NDArray[np.float64]) -> NDArray[np.float64]:
    """Blurred by 5 pixels, the upper half of the values spread over all."""
    blurred = cv2.GaussianBlur(mask, (0, 0), 5)
    return (np.clip(blurred, 0.5, 1) - 0.5) * 2


def occluder(path: Path, channel: int, gain: float = 1.0) -> Onnx:
    """Sees face where a channel of its input (B, G, R) is bright."""
    weight = np.zeros((3, 1))
    weight[channel] = gain
    return network(
        path,
        inputs={"input": ("n", 256, 256, 3)},
        outputs={"output": ("n", 256, 256, 1)},
        nodes=[("MatMul", ["input", "w"], "output", {})],
        constants={"w": weight},
    )


def parser(path: Path, weights: NDArray[np.float64]) -> Onnx:
    """Scores [19] of each pixel as sums of its three channels."""
    return network(
        path,
        inputs={"input": ("n", 3, 512, 512)},
        outputs={"output": ("n", 19, 512, 512)},
        nodes=[("Conv", ["input", "w"], "output", {})],
        constants={"w": weights[:, :, None, None]},
    )


def blobs(size: int, seed: int) -> Floats:
    """[size, size, 3] 0..1 with large patches of pure colours."""
    noise = np.random.default_rng(seed).random((size, size, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), size / 10)
    return (smooth > np.median(smooth)).astype(np.float32)


@pytest.mark.parametrize("size", [256, 128, 512])
def test_an_occluder_reads_blue_green_red(tmp_path: Path, size: int) -> None:
    crops = [blobs(size, 1), blobs(size, 2)]
    masks = OcclusionNetwork([occluder(tmp_path / "x.onnx", 0)]).masks(crops)
    for crop, mask in zip(crops, masks, strict=True):
        blue = cv2.resize(crop, (256, 256))[..., 2]
        wanted = soft(cv2.resize(blue.astype(np.float64), (size, size)))
        np.testing.assert_allclose(mask, wanted, atol=1e-5)
        assert mask.dtype == np.float32


def test_of_several_occluders_all_must_agree(tmp_path: Path) -> None:
    crop = blobs(256, 3)
    # The second is sure beyond reason: what lies above 1 counts as 1.
    networks = [occluder(tmp_path / "a.onnx", 1), occluder(tmp_path / "b.onnx", 2, 5.0)]
    (mask,) = OcclusionNetwork(networks).masks([crop])
    np.testing.assert_allclose(mask, soft(np.minimum(crop[..., 1], crop[..., 0])), atol=1e-5)


def test_a_parser_reads_normalised_red_green_blue_and_its_classes_are_chosen(
    tmp_path: Path,
) -> None:
    weights = np.zeros((19, 3))
    weights[CLASSES["skin"]] = [1, -1, -1]  # red places
    weights[CLASSES["nose"]] = [-1, 1, -1]  # green
    weights[CLASSES["mouth"]] = [-1, -1, 1]  # blue
    runtime = parser(tmp_path / "p.onnx", weights)
    crops = [blobs(256, 4), blobs(256, 5)]
    masks = RegionNetwork(runtime, ("skin", "mouth")).masks([c.transpose(2, 0, 1) for c in crops])
    for crop, mask in zip(crops, masks, strict=True):
        seen = (cv2.resize(crop, (512, 512)) - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        best = (seen @ weights.T).argmax(axis=-1)
        chosen = np.isin(best, [1, 11]).astype(np.float64)
        wanted = soft(cv2.resize(chosen, (256, 256)))
        assert np.abs(mask - wanted).max() < 0.02  # ties at the patches' edges
        assert 0.05 < wanted.mean() < 0.9


def test_all_regions_of_the_settings_have_a_class() -> None:
    assert set(REGIONS) == set(CLASSES)
    assert len(set(CLASSES.values())) == len(CLASSES)


def face(size: int, seed: int) -> AlignedFace:
    points = np.random.default_rng(seed).uniform(0.2, 0.8, (68, 2)) * size
    return AlignedFace(
        picture=GREY,
        affine=np.eye(2, 3),
        crop=blobs(size, seed),
        landmarks=points,
        out=np.zeros((size, size, 4), np.float32),
    )


def test_the_smallest_part_counts_at_each_pixel(tmp_path: Path) -> None:
    size = 256
    settings = MaskSettings(
        types=("box", "hull", "area", "model", "occlusion", "region"),
        areas=("upper-face", "mouth"),
        blur=0.2,
        padding=(0, 10, 5, 0),
    )
    weights = np.random.default_rng(6).normal(0, 1, (19, 3))
    occlusion = OcclusionNetwork([occluder(tmp_path / "x.onnx", 1)])
    regions = RegionNetwork(parser(tmp_path / "p.onnx", weights), settings.regions)
    faces = [face(size, 7), face(size, 8)]
    swapped = [blobs(size, seed).transpose(2, 0, 1) for seed in (9, 10)]
    own = [np.full((size, size), 0.9, np.float32), blobs(size, 11)[..., 0] * 1.5 - 0.2]
    masker = FaceMasker(settings, size, occlusion, regions)
    together = masker.masks(faces, swapped, own)
    for number, (each, planes, mine) in enumerate(zip(faces, swapped, own, strict=True)):
        parts = [
            box_mask(size, 0.2, (0, 10, 5, 0)),
            hull_mask(size, each.landmarks),
            area_mask(size, each.landmarks, ("upper-face", "mouth")),
            np.clip(mine, 0, 1),
            *occlusion.masks([each.crop]),
            *regions.masks([planes]),
        ]
        wanted = np.min(np.stack(parts), axis=0)
        np.testing.assert_array_equal(together[number], wanted)
        np.testing.assert_array_equal(masker.masks([each], [planes], [mine])[0], wanted)


def test_without_a_box_a_mask_still_ends_before_the_crop_does() -> None:
    masker = FaceMasker(MaskSettings(types=("model",)), 128)
    (mask,) = masker.masks(
        [face(128, 12)], [np.zeros((3, 128, 128), np.float32)], [np.ones((128, 128), np.float32)]
    )
    np.testing.assert_array_equal(mask, box_mask(128, 0.1))


def test_unknown_parts_are_refused() -> None:
    settings = MaskSettings()
    with pytest.raises(SettingInvalid, match="'oval'"):
        FaceMasker(replace(settings, types=("box", "oval")), 128)
    with pytest.raises(SettingInvalid, match="no mask type"):
        FaceMasker(replace(settings, types=()), 128)
