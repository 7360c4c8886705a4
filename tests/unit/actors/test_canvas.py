"""Detectors on a canvas: where the canvas lies, and what the networks' numbers mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from actors.anchors import Detection
from actors.canvas import CanvasDetector, Found, canvas_affine
from actors.scrfd import ScrfdHead
from actors.search import FaceSearch, suppress, turn
from actors.yolo_face import YoloFaceHead
from actors.yunet import YunetHead
from kernels.cpu import CpuKernels
from kernels.geometry import apply, compose, display_affine, invert
from kernels.picture import Picture, PictureFormat
from scheduler.boxes import overlap
from scheduler.errors import ModelCorrupt, SettingInvalid
from tests.unit.actors.planted import Planted

Floats = NDArray[np.float64]
STRIDES = (8, 16, 32)
BLACK = np.zeros((640, 640, 3), np.uint8)
BOXES = {0: (81.5, 40.25, 161.5, 150.25), 1: (300.0, 310.0, 410.0, 470.0), 2: (0.0, 400, 300, 640)}
"""By the grid that sees it, in canvas pixels."""
POINTS = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])


def points_of(box: tuple[float, ...]) -> Floats:
    low, high = np.array(box[:2]), np.array(box[2:])
    return low + POINTS * (high - low)


def cell_of(box: tuple[float, ...], stride: int) -> tuple[int, int]:
    """Column and row of the cell that holds the box's middle."""
    return int((box[0] + box[2]) / 2 // stride), int((box[1] + box[3]) / 2 // stride)


def scrfd_answers(score: float = 0.9) -> list[Floats]:
    scores, edges, offsets = [], [], []
    for at, stride in enumerate(STRIDES):
        side = 640 // stride
        s, e, o = (
            np.zeros((side, side, 2)),
            np.zeros((side, side, 2, 4)),
            np.zeros((side, side, 2, 10)),
        )
        x, y = cell_of(BOXES[at], stride)
        anchor = np.array([x, y]) * stride
        x0, y0, x1, y1 = BOXES[at]
        s[y, x, 1] = score
        e[y, x, 1] = np.array([anchor[0] - x0, anchor[1] - y0, x1 - anchor[0], y1 - anchor[1]])
        o[y, x, 1] = (points_of(BOXES[at]) - anchor).ravel()
        scores.append(s.reshape(-1, 1))
        edges.append(e.reshape(-1, 4) / stride)
        offsets.append(o.reshape(-1, 10) / stride)
    return [*scores, *edges, *offsets]


def yunet_answers(score: float = 0.9) -> list[Floats]:
    classes, objects, boxes, offsets = [], [], [], []
    for at, stride in enumerate(STRIDES):
        side = 640 // stride
        c, o = np.zeros((side, side)), np.ones((side, side))
        b, p = np.zeros((side, side, 4)), np.zeros((side, side, 10))
        x, y = cell_of(BOXES[at], stride)
        anchor = np.array([x, y]) * stride
        low, high = np.array(BOXES[at][:2]), np.array(BOXES[at][2:])
        c[y, x], o[y, x] = score / 0.95, 0.95
        b[y, x] = [*(((low + high) / 2 - anchor) / stride), *np.log((high - low) / stride)]
        p[y, x] = ((points_of(BOXES[at]) - anchor) / stride).ravel()
        classes.append(c.reshape(1, -1, 1))
        objects.append(o.reshape(1, -1, 1))
        boxes.append(b.reshape(1, -1, 4))
        offsets.append(p.reshape(1, -1, 10))
    return [*classes, *objects, *boxes, *offsets]


def yolo_answers(score: float = 0.9) -> list[Floats]:
    rows = np.zeros((8400, 20))
    for at, box in BOXES.items():
        low, high = np.array(box[:2]), np.array(box[2:])
        points = np.column_stack([points_of(box), np.ones(5)])
        rows[1000 * at + 7] = [*((low + high) / 2), *(high - low), score, *points.ravel()]
    return [rows.T[None]]


def check(found: Found, score: float = 0.9) -> None:
    assert found.scores == pytest.approx([score] * 3)
    order = np.argsort(found.boxes[:, 2] - found.boxes[:, 0])
    for at, row in enumerate(order):
        np.testing.assert_allclose(found.boxes[row], BOXES[at], atol=1e-3)
        np.testing.assert_allclose(found.points[row], points_of(BOXES[at]), atol=1e-3)


def test_scrfd_finds_what_was_planted() -> None:
    network = Planted(*scrfd_answers())
    canvas = BLACK.copy()
    canvas[3, 5] = (10, 20, 30)
    head = ScrfdHead(network, "scrfd_2.5g", 640)
    check(head.look(canvas, 0.5))
    (asked,) = network.asked
    assert asked.shape == (1, 3, 640, 640)
    assert asked[0, :, 3, 5] == pytest.approx((np.array([30, 20, 10]) - 127.5) / 128)
    assert asked[0, 0, 0, 0] == pytest.approx(-127.5 / 128)
    assert len(head.look(canvas, 0.91).scores) == 0


def test_yolo_finds_what_was_planted() -> None:
    network = Planted(*yolo_answers())
    canvas = BLACK.copy()
    canvas[3, 5] = (10, 20, 30)
    check(YoloFaceHead(network, 640).look(canvas, 0.5))
    assert network.asked[0][0, :, 3, 5] == pytest.approx(np.array([30, 20, 10]) / 255)


def test_yunet_finds_what_was_planted() -> None:
    network = Planted(*yunet_answers())
    canvas = BLACK.copy()
    canvas[3, 5] = (10, 20, 30)
    check(YunetHead(network, 640).look(canvas, 0.5))
    assert network.asked[0][0, :, 3, 5].tolist() == [30, 20, 10]


def test_other_networks_and_sizes_are_refused() -> None:
    with pytest.raises(ModelCorrupt, match="3 outputs"):
        ScrfdHead(Planted(*yolo_answers() * 3), "retinaface_10g", 640)
    with pytest.raises(SettingInvalid, match="640"):
        YoloFaceHead(Planted(*yolo_answers()), 320)
    with pytest.raises(SettingInvalid, match="multiple of 32"):
        YunetHead(Planted(*yunet_answers(), shape=(3, 0, 0)), 330)


@pytest.mark.parametrize("size", [(1280, 720), (320, 240), (200, 900)])
@pytest.mark.parametrize("rotation", [0, 90])
def test_the_frame_is_shrunk_to_fit_and_never_enlarged(
    size: tuple[int, int], rotation: int
) -> None:
    fmt = PictureFormat(width=size[0], height=size[1])
    display = display_affine(*size, 1.0, rotation)
    affine = canvas_affine(fmt, display, 640)
    corners = apply(compose(affine, display), [[-0.5, -0.5], [size[0] - 0.5, size[1] - 0.5]])
    low, high = corners.min(axis=0), corners.max(axis=0)
    assert low == pytest.approx([-0.5, -0.5])
    assert (high - low).max() == pytest.approx(min(640, max(size)))


def test_a_margin_is_percents_of_half_of_the_side() -> None:
    fmt = PictureFormat(width=400, height=200)
    affine = canvas_affine(fmt, np.eye(2, 3), 640, (50, 0, 100, 10))
    # 50 rows above, 100 below, 20 columns to the left: 420 x 350, which still fits.
    assert apply(affine, [[0.0, 0.0]])[0] == pytest.approx([20, 50])
    assert affine[0, 0] == 1.0
    smaller = canvas_affine(fmt, np.eye(2, 3), 320, (50, 0, 100, 10))
    assert smaller[0, 0] == pytest.approx(320 / 420)


@dataclass
class Blob:
    """A head that finds the one bright disc of its canvas, right only if it stands upright: its
    upper half is red."""

    looked: int = 0

    def look(self, canvas: NDArray[np.uint8], min_score: float) -> Found:
        self.looked += 1
        y, x = np.nonzero(canvas.max(axis=2) > 100)
        box = np.array([[x.min(), y.min(), x.max() + 1, y.max() + 1]], np.float64)
        rows = canvas[int(y.mean()) - 12 : int(y.mean()) - 4, int(x.mean())]
        upright = float(rows[:, 0].mean() - rows[:, 2].mean()) / 255
        score = 0.5 + 0.45 * upright
        low, high = box[:, :2], box[:, 2:]
        points = low[:, None] + POINTS * (high - low)[:, None]
        keep = np.array([score]) >= min_score
        return Found(boxes=box[keep], points=points[keep], scores=np.array([score])[keep])


def disc(angle: int, size: tuple[int, int] = (900, 500)) -> tuple[Picture, tuple[float, float]]:
    """A picture with a disc, red above and blue below, turned clockwise by quarters."""
    width, height = size
    centre = (600.0, 180.0)
    rows, columns = np.mgrid[:height, :width]
    inside = (columns - centre[0]) ** 2 + (rows - centre[1]) ** 2 <= 60**2
    up = {
        0: rows < centre[1],
        90: columns > centre[0],
        180: rows > centre[1],
        270: columns < centre[0],
    }[angle]
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[inside & up] = (255, 120, 0)
    rgb[inside & ~up] = (0, 120, 255)
    fmt = PictureFormat(width=width, height=height, sub_x=0, sub_y=0, matrix="rgb", full_range=True)
    planes = tuple(np.ascontiguousarray(rgb[..., channel]) for channel in (1, 2, 0))
    return Picture(format=fmt, planes=planes), centre


@pytest.mark.parametrize("margin", [(0, 0, 0, 0), (30, 10, 0, 60)])
@pytest.mark.parametrize("angle", [0, 90, 180, 270])
def test_a_turned_face_is_found_at_its_angle_and_turned_back(
    angle: int, margin: tuple[int, int, int, int]
) -> None:
    picture, centre = disc(angle)
    head = Blob()
    detector = CanvasDetector([head], score=0.3, margin=margin)
    search = FaceSearch(detector, angles=(0, 90, 180, 270), max_overlap=0.1)
    (face,) = search.detect(picture, np.eye(2, 3), CpuKernels())
    assert head.looked == 4
    assert face.score > 0.85, "the picture in which it stands upright"
    middle = face.box.reshape(2, 2).mean(axis=0)
    np.testing.assert_allclose(middle, centre, atol=1.0)
    np.testing.assert_allclose(face.box[2:] - face.box[:2], 121, atol=3)
    # A face that lies on its side has its eyes on a line from top to bottom.
    right, left = face.five[:2]
    along = apply(turn(angle), left) - apply(turn(angle), right)
    np.testing.assert_allclose(along, [0.4 * 121, 0], atol=3)
    if angle:
        assert not FaceSearch(CanvasDetector([Blob()], score=0.8)).detect(
            picture, np.eye(2, 3), CpuKernels()
        )


def test_turns_are_quarters_against_the_clock() -> None:
    assert apply(turn(90), [[1.0, 0.0]]).tolist() == [[0.0, -1.0]], "right goes up"
    assert apply(turn(270), [[1.0, 0.0]]).tolist() == [[0.0, 1.0]]
    for angle in (0, 90, 180, 270):
        np.testing.assert_array_equal(compose(turn(angle), invert(turn(angle))), np.eye(2, 3))


def test_answers_of_several_heads_are_put_together() -> None:
    picture, centre = disc(0)
    shifted = Found(
        boxes=np.array([[30.0, 300, 70, 340]]), points=np.zeros((1, 5, 2)), scores=np.ones(1)
    )

    class Elsewhere:
        def look(self, canvas: NDArray[np.uint8], min_score: float) -> Found:
            return shifted

    heads = [Blob(), Blob(), Elsewhere()]
    faces = FaceSearch(CanvasDetector(heads), max_overlap=0.1).detect(
        picture, np.eye(2, 3), CpuKernels()
    )
    assert [face.score for face in faces] == [1.0, pytest.approx(0.9, abs=0.06)]
    np.testing.assert_allclose(faces[1].box.reshape(2, 2).mean(axis=0), centre, atol=1.0)


def test_what_is_no_number_is_no_face() -> None:
    picture, _ = disc(0)
    points = np.zeros((3, 5, 2))
    points[1] = np.inf
    boxes = np.array([[0.0, 0, 9, 9], [20, 0, 29, 9], [40, 0, np.nan, 9]])

    class Broken:
        def look(self, canvas: NDArray[np.uint8], min_score: float) -> Found:
            return Found(boxes=boxes, points=points, scores=np.ones(3))

    faces = CanvasDetector([Broken()]).detect(picture, np.eye(2, 3), CpuKernels())
    assert len(faces) == 1


def test_suppression_is_the_plain_rule() -> None:
    rng = np.random.default_rng(3)
    faces = []
    for _ in range(60):
        low, size = rng.uniform(0, 100, 2), rng.uniform(20, 60, 2)
        box = np.concatenate([low, low + size])
        faces.append(
            Detection(box=box, keypoints=np.zeros((5, 2)), score=float(rng.integers(1, 9)) / 10)
        )
    wanted: list[Detection] = []
    for face in sorted(faces, key=lambda one: -one.score):
        if all(overlap(face.box, other.box) <= 0.4 for other in wanted):
            wanted.append(face)
    assert [id(face) for face in suppress(faces, 0.4)] == [id(face) for face in wanted]
    assert 3 < len(wanted) < 30
    assert suppress([], 0.4) == []


def test_five_points_of_six() -> None:
    six = np.array([[10.0, 0], [30, 0], [20, 10], [20, 20], [0, 0], [40, 0]])
    face = Detection(box=np.zeros(4), keypoints=six, score=1.0)
    np.testing.assert_allclose(face.five[:3], six[:3])
    np.testing.assert_allclose(face.five[3:], [[11.7, 20], [28.3, 20]])
