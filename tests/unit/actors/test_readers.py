"""ArcFace and FairFace: what they are shown and what their numbers mean, against plain steps."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from actors.arcface import ArcFace
from actors.arcface_embedder import ArcFaceEmbedder
from actors.fairface import FairFace
from actors.portraits import PortraitAlbum
from actors.recognizer import cut, frontal
from kernels.cpu import CpuKernels
from kernels.geometry import display_affine
from kernels.mesh.canonical import canonical_face
from kernels.picture import Picture, PictureFormat
from kernels.templates import IBUG_OF_MESH, TEMPLATES, five_points
from scheduler.classes import FaceClass
from scheduler.tracks import PORTRAITS_SCHEMA, FaceObservation
from tests.unit.actors.planted import Planted

KERNELS = CpuKernels()
SIDE = 400


def picture() -> Picture:
    rng = np.random.default_rng(5)
    planes = tuple(
        cv2.resize(plane, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        for plane in rng.integers(0, 255, (3, 25, 25), np.uint8)
    )
    fmt = PictureFormat(width=SIDE, height=SIDE, sub_x=0, sub_y=0, matrix="rgb", full_range=True)
    return Picture(format=fmt, planes=planes)


def landmarks(count: int, turn: float = 0.2) -> NDArray[np.float64]:
    vertices = canonical_face().vertices[:, :2]
    points = vertices if count == 468 else vertices[list(IBUG_OF_MESH)]
    cos, sin = np.cos(turn), np.sin(turn)
    return points @ np.array([[cos, sin], [-sin, cos]]) * 180 + SIDE / 2


def plainly_cut(points: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    """The aligned picture by OpenCV's own estimate and warp."""
    target = np.array(TEMPLATES["arcface_112_v2"]) * size
    affine, _ = cv2.estimateAffinePartial2D(
        five_points(points), target, method=cv2.RANSAC, ransacReprojThreshold=100
    )
    film = picture()
    rgb = np.stack([film.planes[at] for at in (2, 0, 1)], axis=2)
    return np.asarray(
        cv2.warpAffine(rgb, affine, (size, size), borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


@pytest.mark.parametrize("count", [68, 468])
def test_arcface_is_shown_the_aligned_face(count: int) -> None:
    numbers = np.random.default_rng(2).normal(0, 1, (1, 512))
    network = Planted(numbers, shape=(3, 112, 112))
    embedder = ArcFaceEmbedder(ArcFace(network))
    chip = cut(embedder, picture(), landmarks(count), np.eye(2, 3), KERNELS)
    found = embedder.embed(chip)
    np.testing.assert_allclose(found, (numbers / np.linalg.norm(numbers))[0], rtol=1e-5)
    assert (found.dtype, found.shape) == (np.float32, (512,))
    (asked,) = network.asked
    assert asked.shape == (1, 3, 112, 112)
    np.testing.assert_allclose(asked[0], chip.transpose(2, 0, 1) / 127.5 - 1, atol=1e-6)
    # Ours is cut by a better filter from a picture that is more than twice as large.
    assert np.abs(chip.astype(int) - plainly_cut(landmarks(count), 112)).mean() < 6


@pytest.mark.parametrize("rotation", [0, 90, 180])
def test_fairface_is_shown_the_aligned_face_and_says_what_it_looks_like(rotation: int) -> None:
    network = Planted(np.array([5.0]), np.array([1.0]), np.array([3.0]), shape=(3, 224, 224))
    classifier = FairFace(network)
    points = landmarks(68)
    display = display_affine(SIDE, SIDE, 1.0, rotation)
    chip = cut(classifier, picture(), points, np.eye(2, 3), KERNELS)
    assert classifier.classify(chip) == FaceClass(race=5, gender=1, age=3)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    wanted = ((chip / 255 - mean) / std).transpose(2, 0, 1)
    np.testing.assert_allclose(network.asked[0][0], wanted, atol=1e-5)
    assert np.abs(chip.astype(int) - plainly_cut(points, 224)).mean() < 3
    # The face is what is aligned: how the film lies on its side does not matter.
    turned = cut(classifier, picture(), points, display, KERNELS)
    assert np.abs(chip.astype(int) - turned).max() <= 1


@pytest.mark.parametrize("count", [68, 468])
def test_both_point_sets_say_how_far_a_face_is_turned(count: int) -> None:
    straight = landmarks(count)
    assert frontal(straight, np.eye(2, 3)) > 0.6
    squeezed = landmarks(count, 0.0)
    squeezed[:, 0] = (squeezed[:, 0] - SIDE / 2) * 0.5 + SIDE / 2
    assert frontal(squeezed, np.eye(2, 3)) < 0.5 * frontal(straight, np.eye(2, 3))


def face(frame: int) -> FaceObservation:
    points = landmarks(68).astype(np.float32)
    return FaceObservation(
        frame=frame,
        track=-1,
        box=np.concatenate([points.min(axis=0), points.max(axis=0)]),
        landmarks=points,
        score=0.9,
        visible=0.9,
    )


@pytest.mark.parametrize(("embed", "classify"), [(True, False), (False, True), (True, True)])
def test_portraits_are_shown_to_those_who_were_asked(embed: bool, classify: bool) -> None:
    arcface = Planted(np.ones((1, 512)), shape=(3, 112, 112))
    fairface = Planted(*np.array([[2.0], [0.0], [8.0]]), shape=(3, 224, 224))
    album = PortraitAlbum(
        ArcFaceEmbedder(ArcFace(arcface)) if embed else None,
        KERNELS,
        np.eye(2, 3),
        FairFace(fairface) if classify else None,
    )
    for at in range(40):
        album.add(picture(), at, [face(at)], 0.0)
    table = album.table()
    assert table.schema.equals(PORTRAITS_SCHEMA)
    # One in each 12 frames, four at most: never one a frame.
    assert table.num_rows == 4
    assert len(arcface.asked) == album.embedded == (4 if embed else 0)
    assert len(fairface.asked) == album.classified == (4 if classify else 0)
    lengths = [len(numbers) for numbers in table.column("embedding").to_pylist()]
    assert lengths == [512 if embed else 0] * 4
    wanted = (0, 8, 2) if classify else (-1, -1, -1)
    assert (
        table.select(["gender", "age", "race"]).to_pylist()
        == [dict(zip(("gender", "age", "race"), wanted, strict=True))] * 4
    )
