"""Outlines of drawn hands: a flat hand whose true shape is known."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from kernels.occlusion import finger_length, hand_cover

SIZE = 256
EVERYWHERE = np.ones((SIZE, SIZE), np.bool_)


def joints() -> NDArray[np.float64]:
    """An upright left hand of about 150 pixels, fingers spread."""
    points = [(128, 220), (95, 205), (75, 185), (60, 168), (48, 152)]
    for root, tip in (
        ((100, 150), (80, 60)),
        ((120, 145), (115, 45)),
        ((140, 148), (150, 55)),
        ((158, 158), (182, 85)),
    ):
        points += [
            tuple(np.array(root) + share * (np.array(tip) - root)) for share in (0, 0.45, 0.75, 1)
        ]
    return np.array(points, np.float64)


def painted(width: float) -> NDArray[np.bool_]:
    """The true shape: fingers of that width, drawn from other primitives than the kernel's."""
    points = np.round(joints()).astype(int)
    shape = np.zeros((SIZE, SIZE), np.uint8)
    for finger in range(5):
        chain = points[1 + 4 * finger : 5 + 4 * finger]
        cv2.polylines(shape, [chain.astype(np.int32)], False, 1, round(width))
    palm = points[[0, 1, 5, 9, 13, 17]].astype(np.int32)
    cv2.fillPoly(shape, [palm], 1)
    cv2.polylines(shape, [palm], True, 1, round(width))
    return shape > 0


def scene(shape: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Skin on slightly darker skin, with noise and a gradient."""
    rng = np.random.default_rng(1)
    shade = np.linspace(0.9, 1.1, SIZE)[None, :, None]
    face, hand = np.array([0.62, 0.48, 0.42]), np.array([0.70, 0.56, 0.50])
    picture = np.where(shape[..., None], hand, face) * shade
    picture = 255 * (picture + rng.normal(0, 0.004, picture.shape))
    return picture.round().clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("share", [0.36, 0.44, 0.52])
def test_the_outline_follows_the_pixels_where_fingers_are_thinner_or_thicker(share: float) -> None:
    shape = painted(share * finger_length(joints()))
    cover = hand_cover(scene(shape), joints(), EVERYWHERE)
    assert cover is not None
    found = cover >= 1
    assert (found & shape).sum() / (found | shape).sum() > 0.9


def test_the_soft_edge_lies_outside() -> None:
    shape = painted(0.44 * finger_length(joints()))
    cover = hand_cover(scene(shape), joints(), EVERYWHERE)
    assert cover is not None
    soft = (cover > 0) & (cover < 1)
    assert 0 < soft.sum() < 0.35 * shape.sum()
    assert cover[shape].mean() > 0.97


def test_what_is_far_from_the_hand_is_never_covered() -> None:
    cover = hand_cover(scene(painted(20)), joints(), EVERYWHERE)
    assert cover is not None
    assert cover[:20].max() == 0
    assert cover[:, 230:].max() == 0


def test_none_where_nothing_is_wanted_near_it() -> None:
    corner = np.zeros((SIZE, SIZE), np.bool_)
    corner[:20, 230:] = True
    assert hand_cover(scene(painted(20)), joints(), corner) is None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_joints_that_are_no_numbers_cover_nothing(value: float) -> None:
    points = joints()
    points[7, 0] = value
    assert hand_cover(scene(painted(20)), points, EVERYWHERE) is None


def test_a_hand_of_no_size_covers_nothing() -> None:
    assert hand_cover(scene(painted(20)), np.full((21, 2), 100.0), EVERYWHERE) is None


def test_the_same_bytes_each_time() -> None:
    picture = scene(painted(20))
    one, other = (hand_cover(picture, joints(), EVERYWHERE) for _ in range(2))
    assert one is not None
    assert other is not None
    assert one.tobytes() == other.tobytes()
