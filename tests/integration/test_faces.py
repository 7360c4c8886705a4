"""Faces in real pictures and films: how many, where, and always the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from actors.decoder import Decoder
from actors.detector import FaceDetector
from actors.formats import picture_format
from actors.frames import Frame
from actors.inference.litert import LiteRt
from actors.landmarker import FaceLandmarker
from actors.models import ModelStore
from actors.observer import FaceObserver
from actors.one_slot import OneSlot
from actors.prober import probe
from actors.sources import read_picture
from kernels.cpu import CpuKernels
from kernels.geometry import apply, display_affine
from kernels.picture import Picture, PictureFormat
from scheduler.errors import ModelCorrupt
from scheduler.points import MESH
from scheduler.tracks import FaceObservation

UPRIGHT = np.eye(2, 3)
DETECTOR, LANDMARKER = "face_detection_full_range", "face_landmark"


def frames(path: Path, step: int) -> Iterator[Frame]:
    index = probe(path)
    for frame in Decoder(index).decode(0, index.frames, OneSlot(picture_format(index))):
        if frame.handle.frame_index % step == 0:
            yield frame


def picture(rgb: NDArray[np.uint8]) -> Picture:
    height, width, _ = rgb.shape
    fmt = PictureFormat(width=width, height=height, sub_x=0, sub_y=0, matrix="rgb", full_range=True)
    planes = tuple(np.ascontiguousarray(rgb[..., channel]) for channel in (1, 2, 0))
    return Picture(format=fmt, planes=planes)


def observer(
    models: ModelStore, display: NDArray[np.float64] = UPRIGHT, threads: int = 1
) -> FaceObserver:
    return FaceObserver(
        FaceDetector(models.path(DETECTOR), threads),
        FaceLandmarker(models.path(LANDMARKER), threads),
        CpuKernels(),
        display,
    )


def same(one: list[FaceObservation], other: list[FaceObservation]) -> bool:
    return len(one) == len(other) and all(
        a.landmarks.tobytes() == b.landmarks.tobytes()
        and a.box.tobytes() == b.box.tobytes()
        and (a.frame, a.score, a.visible) == (b.frame, b.score, b.visible)
        for a, b in zip(one, other, strict=True)
    )


@pytest.fixture(scope="module")
def group(samples: dict[str, Path]) -> Picture:
    return picture(read_picture(samples["multi_face"]))


@pytest.fixture(scope="module")
def portrait(samples: dict[str, Path]) -> NDArray[np.uint8]:
    return read_picture(samples["astronaut"])


def test_a_group_of_five(models: ModelStore, group: Picture) -> None:
    faces = observer(models).observe(group, 7)
    assert len(faces) == 5
    centres = [face.box.reshape(2, 2).mean(axis=0)[0] for face in faces]
    assert centres == sorted(centres), "from left to right"
    # Where the five are in the 1000 x 667 photo, read off by eye.
    eyes = [[260, 113], [362, 287], [478, 252], [580, 365], [741, 347]]
    for face, between in zip(faces, eyes, strict=True):
        assert (face.frame, face.track) == (7, -1)
        assert face.landmarks.shape == (MESH.count, 2)
        assert np.hypot(*(face.landmarks[[33, 263]].mean(axis=0) - between)) < 12
        assert face.visible > 0.9
        assert face.score >= 0.5


def test_every_twentieth_frame_has_one_face(models: ModelStore, samples: dict[str, Path]) -> None:
    look = observer(models)
    counts = {
        frame.handle.frame_index: len(look.observe(frame.picture, frame.handle.frame_index))
        for frame in frames(samples["wolfgang_langer"], 20)
    }
    assert len(counts) == 24
    assert counts == dict.fromkeys(counts, 1)


def test_nobody_is_nobody(models: ModelStore, samples: dict[str, Path]) -> None:
    look = observer(models)
    assert [
        frame.handle.frame_index
        for frame in frames(samples["no_face"], 4)
        if look.observe(frame.picture, 0)
    ] == []


@pytest.mark.parametrize(
    ("name", "first", "last"), [("face_noface", 0, 64), ("noface_face", 96, 160)]
)
def test_a_cut_between_face_and_none(
    models: ModelStore, samples: dict[str, Path], name: str, first: int, last: int
) -> None:
    # The detector takes letters of a title card for faces; the mesh knows better.
    look = observer(models)
    seen = {
        frame.handle.frame_index: len(look.observe(frame.picture, 0))
        for frame in frames(samples[name], 8)
    }
    assert seen == {at: int(first <= at <= last) for at in range(0, 169, 8)}


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_turned_film_shows_the_same_face(
    models: ModelStore, portrait: NDArray[np.uint8], rotation: int
) -> None:
    (upright,) = observer(models).observe(picture(portrait), 0)
    turned = np.rot90(portrait, rotation // 90)  # the player turns it back, clockwise
    display = display_affine(turned.shape[1], turned.shape[0], 1.0, rotation)
    (face,) = observer(models, display).observe(picture(turned), 0)
    shown = apply(display, face.landmarks)
    assert np.abs(shown - upright.landmarks).max() < 0.1
    unaware = observer(models).observe(picture(turned), 0)
    assert all(found.score < face.score for found in unaware), "the detector likes faces upright"


def test_pixels_need_not_be_square(models: ModelStore, portrait: NDArray[np.uint8]) -> None:
    (upright,) = observer(models).observe(picture(portrait), 0)
    pairs = portrait.reshape(512, 256, 2, 3)
    squeezed = pairs.astype(np.uint16).sum(axis=2) // 2
    display = display_affine(256, 512, 2.0, 0)
    (face,) = observer(models, display).observe(picture(squeezed.astype(np.uint8)), 0)
    shown = apply(display, face.landmarks)
    assert np.abs(shown - upright.landmarks).mean() < 1.0


def test_the_mesh_forgets_where_the_detector_put_it(
    models: ModelStore, portrait: NDArray[np.uint8]
) -> None:
    film, kernels = picture(portrait), CpuKernels()
    (found,) = FaceDetector(models.path(DETECTOR)).detect(film, UPRIGHT, kernels)
    landmarker = FaceLandmarker(models.path(LANDMARKER))
    start = landmarker.locate(film, found, UPRIGHT, kernels).landmarks
    size = found.box[2] - found.box[0]
    for shift in ([0.08, 0.0], [0.0, -0.08], [0.06, 0.06]):
        moved = replace(found, box=found.box + np.tile(shift, 2) * size)
        mesh = landmarker.locate(film, moved, UPRIGHT, kernels)
        assert np.abs(mesh.landmarks - start).mean() < 0.01 * size


def test_bit_equal_on_repeat(
    models: ModelStore, group: Picture, portrait: NDArray[np.uint8]
) -> None:
    look = observer(models)
    first = look.observe(group, 0)
    look.observe(picture(portrait), 0)
    assert same(look.observe(group, 0), first), "what it saw in between changes nothing"
    assert same(observer(models, threads=2).observe(group, 0), first)


def test_batches_are_rows(models: ModelStore) -> None:
    network = LiteRt.load(models.path(LANDMARKER))
    assert [spec.shape for spec in network.inputs] == [(192, 192, 3)]
    assert [spec.shape for spec in network.outputs] == [(1, 1, 1404), (1, 1, 1)]
    batch = np.random.default_rng(5).random((3, 192, 192, 3), np.float32)
    together = network.run(batch)
    for row in range(3):
        for whole, single in zip(together, network.run(batch[row : row + 1]), strict=True):
            assert whole[row].tobytes() == single[0].tobytes()


@pytest.mark.parametrize("content", [b"", b"no network", None], ids=["empty", "text", "missing"])
def test_a_file_that_is_no_network(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "net.tflite"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelCorrupt, match=r"net\.tflite"):
        FaceDetector(path)


def test_loading_keeps_what_others_say(
    models: ModelStore, capfd: pytest.CaptureFixture[str]
) -> None:
    FaceDetector(models.path(DETECTOR))
    assert capfd.readouterr().err == ""
