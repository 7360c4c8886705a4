"""What is no part of a face: painted faces whose covered pixels are known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from kernels.appearance import Appearance, foreign, learn
from kernels.geometry import apply
from kernels.mesh.canonical import canonical_face
from kernels.mesh.unwrap import WINDOW, Unwrapper, window

SKIN = np.array([0.72, 0.52, 0.43])
GREEN = (40, 150, 60)
POINTS = apply(window(canonical_face().vertices[:, :2], WINDOW), canonical_face().vertices[:, :2])


@pytest.fixture(scope="module")
def unwrapper() -> Unwrapper:
    return Unwrapper()


def face(seed: int, light: float = 1.0) -> NDArray[np.uint8]:
    """uint8 [128, 128, 3] shaded skin with grain."""
    rng = np.random.default_rng(seed)
    shade = np.linspace(1.1, 0.8, WINDOW)[None, :, None] * light
    rgb = 255 * SKIN * shade + rng.normal(0, 2, (WINDOW, WINDOW, 3))
    return rgb.round().clip(0, 255).astype(np.uint8)


def behind(thing: tuple[int, int, int], rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The face with a bar before it."""
    out = rgb.copy()
    cv2.line(out, (10, 50), (118, 80), thing, 16, cv2.LINE_AA)
    return out


BAR = behind((255, 0, 0), np.zeros((WINDOW, WINDOW, 3), np.uint8))[..., 0] > 127


def learnt(unwrapper: Unwrapper, pictures: list[NDArray[np.uint8]]) -> Appearance:
    samples = [unwrapper.flatten(picture, POINTS) for picture in pictures]
    appearance = learn(samples, unwrapper.skin)
    assert appearance is not None
    return appearance


def test_a_green_bar_is_found_to_a_pixel_and_a_clear_face_is_clear(unwrapper: Unwrapper) -> None:
    appearance = learnt(unwrapper, [face(n) for n in range(8)])
    places = unwrapper.places(POINTS, WINDOW)
    assert foreign(face(20), places, appearance) is None
    found = foreign(behind(GREEN, face(20)), places, appearance)
    assert found is not None
    found, truth = found & places.inside, BAR & places.inside
    assert (found & truth).sum() / (found | truth).sum() > 0.9


def test_what_is_before_the_face_most_of_the_time_is_still_no_skin(unwrapper: Unwrapper) -> None:
    pictures = [behind(GREEN, face(n)) if n < 9 else face(n) for n in range(14)]
    found = foreign(
        behind(GREEN, face(20)), unwrapper.places(POINTS, WINDOW), learnt(unwrapper, pictures)
    )
    assert found is not None
    assert found[BAR & unwrapper.places(POINTS, WINDOW).inside].mean() > 0.9


@pytest.mark.parametrize("light", [0.6, 1.25])
def test_another_light_is_no_object(unwrapper: Unwrapper, light: float) -> None:
    appearance = learnt(unwrapper, [face(n) for n in range(8)])
    assert foreign(face(20, light), unwrapper.places(POINTS, WINDOW), appearance) is None


def test_a_face_that_is_strange_all_over_is_left_alone(unwrapper: Unwrapper) -> None:
    appearance = learnt(unwrapper, [face(n) for n in range(8)])
    blue = np.full((WINDOW, WINDOW, 3), (20, 20, 240), np.uint8)
    assert foreign(blue, unwrapper.places(POINTS, WINDOW), appearance) is None


def test_a_spot_is_too_small_and_eyes_may_shut(unwrapper: Unwrapper) -> None:
    appearance = learnt(unwrapper, [face(n) for n in range(8)])
    picture = face(20)
    cv2.circle(picture, (64, 70), 2, (250, 250, 250), -1)
    for vertex in (159, 386, 13):
        x, y = POINTS[vertex].round().astype(int).tolist()
        cv2.circle(picture, (x, y), 3, (30, 20, 18), -1)
    assert foreign(picture, unwrapper.places(POINTS, WINDOW), appearance) is None


def test_few_samples_teach_nothing(unwrapper: Unwrapper) -> None:
    sample = unwrapper.flatten(face(0), POINTS)
    assert learn([], unwrapper.skin) is None
    assert learn([sample] * 3, unwrapper.skin) is None
    hidden = sample.copy()
    hidden[..., 3] = 0
    assert learn([hidden] * 9, unwrapper.skin) is None


def test_samples_in_any_order_teach_the_same(unwrapper: Unwrapper) -> None:
    # Sums of weights in another order differ in their last bits; medians pick the same samples.
    pictures = [face(n) for n in range(9)]
    one, other = learnt(unwrapper, pictures), learnt(unwrapper, pictures)
    assert one.middle.tobytes() == other.middle.tobytes()
    back = learnt(unwrapper, pictures[::-1])
    assert np.abs(back.middle - one.middle).max() < 1e-4
