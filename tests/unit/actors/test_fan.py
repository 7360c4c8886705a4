"""The 68-point landmarkers' arithmetic, against FaceFusion's steps written out plainly."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from actors.anchors import Detection
from actors.fan import Fan, Landmarker68, PeppaWutz, box_of, face_crop, lighten, quarter
from kernels.cpu import CpuKernels
from kernels.geometry import apply, compose, display_affine, invert
from kernels.mesh.canonical import canonical_face
from kernels.picture import Picture, PictureFormat
from kernels.templates import IBUG_OF_MESH, TEMPLATES
from tests.unit.actors.planted import Planted

KERNELS = CpuKernels()
Floats = NDArray[np.float64]


def face_68(size: float = 100.0, x: float = 300.0, y: float = 200.0) -> Floats:
    """The canonical face's points, ``size`` pixels from brows to chin."""
    flat = canonical_face().vertices[list(IBUG_OF_MESH), :2]
    low, high = flat.min(axis=0), flat.max(axis=0)
    return (flat - (low + high) / 2) * size / (high - low)[1] + (x, y)


def turned(points: Floats, degrees: float) -> Floats:
    """Clockwise about their middle."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    middle = points.mean(axis=0)
    return (points - middle) @ np.array([[cos, sin], [-sin, cos]]) + middle


def five_of(points: Floats) -> Floats:
    return np.array(
        [
            points[36:42].mean(axis=0),
            points[42:48].mean(axis=0),
            points[30],
            points[48],
            points[54],
        ]
    )


def picture(width: int = 640, height: int = 400) -> Picture:
    rng = np.random.default_rng(5)
    small = rng.integers(0, 255, (3, height // 8, width // 8), np.uint8)
    planes = tuple(cv2.resize(plane, (width, height)) for plane in small)
    fmt = PictureFormat(width=width, height=height, sub_x=0, sub_y=0, matrix="rgb", full_range=True)
    return Picture(format=fmt, planes=planes)


def completer(points: Floats) -> Planted:
    """fan_68_5 as a network that knows one face: the frame is that of its five points."""
    return Planted(points[None], shape=(5, 2))


def unit_frame(five: Floats) -> Floats:
    """[2, 3] five points -> the unit ffhq frame, by plain least squares of a similarity."""
    target = np.array(TEMPLATES["ffhq_512"])
    rows = []
    for x, y in five:
        rows += [[x, -y, 1, 0], [y, x, 0, 1]]
    a, b, c, d = np.linalg.lstsq(np.array(rows), target.ravel(), rcond=None)[0]
    return np.array([[a, -b, c], [b, a, d]])


@pytest.mark.parametrize("angle", [0, 90, 180, 270])
def test_the_crop_is_scaled_centred_and_turned(angle: int) -> None:
    box = np.array([100.0, 50, 220, 210])
    ours = face_crop(box, angle)
    # Step by step: scale to 195 of 256 about the middle, then turn about it.
    scale = 195 / 160
    shift = (256 - (box[:2] + box[2:]) * scale) / 2
    first = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    second = cv2.getRotationMatrix2D((128, 128), angle, 1)
    np.testing.assert_allclose(ours, compose(second, first), atol=1e-9)


@pytest.mark.parametrize(
    ("degrees", "wanted"), [(0, 0), (40, 0), (50, 90), (90, 90), (180, 180), (-95, 270), (-40, 0)]
)
def test_a_face_is_stood_up_by_quarters(degrees: float, wanted: int) -> None:
    points = turned(face_68(), degrees)
    assert quarter(points) == wanted
    upright = apply(face_crop(np.array([0.0, 0, 600, 600]), wanted), points)
    along = upright[45] - upright[36]
    assert abs(along[1]) <= abs(along[0]) * 1.2
    assert along[0] > 0


def test_fan_reads_points_and_peaks() -> None:
    points = np.random.default_rng(1).uniform(10, 50, (1, 68, 3))
    heat = np.zeros((1, 68, 64, 64))
    heat[0, np.arange(68), 5, 9] = np.linspace(0.3, 0.6, 68)
    network = Planted(points, heat, shape=(3, 256, 256))
    crop = np.zeros((256, 256, 3), np.uint8)
    crop[7, 9] = (255, 51, 0)
    places, score = Fan(network).read(crop)
    np.testing.assert_allclose(places, points[0, :, :2] * 4, rtol=1e-6)
    assert score == pytest.approx(0.45 / 0.9)
    assert network.asked[0].shape == (1, 3, 256, 256)
    assert network.asked[0][0, :, 7, 9] == pytest.approx([0, 0.2, 1])
    heat[:] = 1.0
    assert Fan(Planted(points, heat)).read(crop)[1] == 1.0


def test_peppa_reads_points_with_scores() -> None:
    rows = np.random.default_rng(1).uniform(10, 50, (68, 3))
    rows[:, 2] = 0.38
    for shape in ((1, 68, 3), (1, 204)):
        places, score = PeppaWutz(Planted(rows.reshape(shape))).read(
            np.zeros((256, 256, 3), np.uint8)
        )
        np.testing.assert_allclose(places, rows[:, :2] * 4, rtol=1e-6)
        assert score == pytest.approx(0.38 / 0.95)


class Reader:
    """Answers with points in the crop, and keeps what it was shown."""

    def __init__(self, points: Floats, score: float) -> None:
        self.points, self.score = points, score
        self.crops: list[NDArray[np.uint8]] = []

    def read(self, crop: NDArray[np.uint8]) -> tuple[Floats, float]:
        self.crops.append(crop)
        return self.points, self.score


@pytest.mark.parametrize("rotation", [0, 90])
@pytest.mark.parametrize("angle", [0, 90, 180, 270])
def test_points_come_back_through_turn_and_crop(angle: int, rotation: int) -> None:
    film = picture()
    display = display_affine(640, 400, 1.25, rotation)
    wanted = turned(face_68(x=300, y=200), angle)
    box = box_of(wanted)
    five = five_of(wanted)
    seen = Detection(box=box, keypoints=five, score=0.9)
    inside = apply(face_crop(box, angle), wanted)
    reader = Reader(inside, 0.8)
    known = completer(apply(unit_frame(five), wanted))
    mesh = Landmarker68([reader], known).locate(film, seen, display, KERNELS)
    np.testing.assert_allclose(apply(display, mesh.landmarks), wanted, atol=1e-6)
    assert (mesh.presence, mesh.is_face) == (0.8, True)
    np.testing.assert_allclose(known.asked[0][0], apply(unit_frame(five), five), atol=1e-6)
    again = Landmarker68([reader], known).relocate(film, mesh.landmarks, display, KERNELS)
    np.testing.assert_allclose(apply(display, again.landmarks), wanted, atol=1e-6)
    # The crop shows what lies there: FaceFusion's two warps give the same picture.
    rgb = np.stack([film.planes[at] for at in (2, 0, 1)], axis=2)
    affine = compose(face_crop(box, angle), display)
    warped = cv2.warpAffine(
        rgb, affine, (256, 256), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    assert np.abs(reader.crops[0].astype(int) - warped)[8:-8, 8:-8].mean() < 3


def test_an_unsure_reader_is_not_believed_and_a_silent_one_is_not_asked() -> None:
    film, display = picture(), np.eye(2, 3)
    wanted = face_68()
    seen = Detection(box=box_of(wanted), keypoints=five_of(wanted), score=0.7)
    known = completer(apply(unit_frame(five_of(wanted)), wanted))
    unsure = Reader(face_68(90, 120, 130), 0.5)
    mesh = Landmarker68([unsure], known, 0.5).locate(film, seen, display, KERNELS)
    np.testing.assert_allclose(mesh.landmarks, wanted, atol=1e-4)
    assert (mesh.presence, mesh.is_face) == (0.5, True)
    assert not Landmarker68([unsure], known, 0.5).relocate(film, wanted, display, KERNELS).is_face
    for wrong in (np.full((68, 2), np.nan), np.full((68, 2), 90.0)):
        landmarker = Landmarker68([Reader(wrong, 1.0)], known, 0.5)
        mesh = landmarker.locate(film, seen, display, KERNELS)
        np.testing.assert_allclose(mesh.landmarks, wanted, atol=1e-4)
        assert not landmarker.relocate(film, wanted, display, KERNELS).is_face
    silent = Reader(np.zeros((68, 2)), 1.0)
    mesh = Landmarker68([silent], known, 0.0).locate(film, seen, display, KERNELS)
    np.testing.assert_allclose(mesh.landmarks, wanted, atol=1e-4)
    assert (mesh.presence, silent.crops) == (0.7, [])


@pytest.mark.parametrize(("peppa", "first"), [(0.69, True), (0.71, False), (0.9, False)])
def test_of_two_readers_the_smaller_one_must_be_clearly_better(peppa: float, first: bool) -> None:
    wanted = face_68()
    inner = face_68(100, 128, 128)
    readers = [Reader(inner, 0.5), Reader(inner + 9.0, peppa)]
    landmarker = Landmarker68(readers, completer(wanted), 0.2)
    mesh = landmarker.relocate(picture(), wanted, np.eye(2, 3), KERNELS)
    inside = apply(face_crop(box_of(wanted), 0), mesh.landmarks)
    np.testing.assert_allclose(inside, inner if first else inner + 9.0, atol=1e-6)
    assert readers[0].crops[0] is readers[1].crops[0], "the crop is cut once"


def test_five_points_in_one_place_are_no_face() -> None:
    seen = Detection(box=np.zeros(4), keypoints=np.full((5, 2), 7.0), score=0.7)
    landmarker = Landmarker68([], completer(face_68()))
    mesh = landmarker.locate(picture(), seen, np.eye(2, 3), KERNELS)
    assert not mesh.is_face


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_the_box_of_points_is_about_a_detectors(degrees: float) -> None:
    points = turned(face_68(size=100), degrees)
    box = box_of(points)
    centre = (box[:2] + box[2:]) / 2
    assert (box[2:] - box[:2]).max() == pytest.approx(130, abs=1)
    # It stands further up, towards the forehead, whichever way that is.
    up = turned(np.array([[0.0, -1.0], [0.0, 1.0]]), degrees)[0]
    assert (centre - (points.min(axis=0) + points.max(axis=0)) / 2) @ up == pytest.approx(12, abs=1)


def test_dark_crops_get_contrast_and_others_stay() -> None:
    light = np.random.default_rng(0).integers(60, 200, (256, 256, 3), np.uint8)
    assert lighten(light) is light
    dark = light // 10
    lab = cv2.cvtColor(dark, cv2.COLOR_RGB2LAB)
    lab[..., 0] = cv2.createCLAHE(2.0, (8, 8)).apply(lab[..., 0].copy())
    np.testing.assert_array_equal(lighten(dark), cv2.cvtColor(lab, cv2.COLOR_LAB2RGB))
    assert lighten(dark).mean() > dark.mean()


def test_turning_and_back_is_exact_for_the_box() -> None:
    box = np.array([100.0, 50, 220, 210])
    for angle in (0, 90, 180, 270):
        affine = face_crop(box, angle)
        corners = apply(affine, box.reshape(2, 2))
        assert np.abs(corners - 128).max() == pytest.approx(195 / 2)
        np.testing.assert_allclose(apply(invert(affine), corners), box.reshape(2, 2), atol=1e-9)
