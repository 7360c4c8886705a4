"""The stabiliser on faces whose motion, swap and faults are known."""

from __future__ import annotations

from dataclasses import fields

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from actors.frames import Frame, FrameHandle, SlotLayout
from actors.stabilizer import Stabilizer
from kernels.cpu import CpuKernels
from kernels.picture import PictureFormat
from scheduler.jobs import StabilizeSettings

Floats = NDArray[np.float32]
SIZE = 128
FORMAT = PictureFormat(
    width=200, height=160, sub_x=0, sub_y=0, matrix="rgb", transfer="srgb", full_range=True
)
LAYOUT = SlotLayout(format=FORMAT, faces=2, crop_size=SIZE)
OFF = dict.fromkeys((f.name for f in fields(StabilizeSettings)), False)


def only(*names: str) -> StabilizeSettings:
    return StabilizeSettings(**OFF | dict.fromkeys(names, True))


def texture(seed: int, size: tuple[int, int], sigma: float = 4) -> Floats:
    field = np.random.default_rng(seed).random(size).astype(np.float32)
    soft = cv2.GaussianBlur(field, (0, 0), sigma)
    return ((soft - soft.min()) / np.ptp(soft)).astype(np.float32)


SCENE = 0.25 + 0.5 * texture(1, (160, 200))
CHANGE = 0.2 * (texture(2, (SIZE, SIZE)) - 0.5)
Y, X = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
MASK = np.clip((44 - np.hypot(X, Y)) / 8, 0, 1).astype(np.float32)


class Film:
    """A still face; each frame's swap is made by the test."""

    def __init__(self, settings: StabilizeSettings) -> None:
        self.stabilizer = Stabilizer(settings)

    def frame(
        self,
        at: int,
        *,
        change: Floats = CHANGE,
        mask: Floats = MASK,
        scene: Floats = SCENE,
        track: int = 7,
        place: float = 30.0,
    ) -> tuple[Floats, Floats]:
        """(crop as swapped, crop as steadied), both [s, s, 4]."""
        handle = FrameHandle(slot=0, generation=0, frame_index=at, pts=at)
        frame = Frame(handle, LAYOUT, memoryview(bytearray(LAYOUT.nbytes)))
        for plane in frame.picture.planes:
            plane[...] = np.rint(scene * 255)
        frame.faces = 1
        frame.tracks[0] = track
        frame.affines[0] = [[1, 0, -place], [0, 1, -16]]
        original = CpuKernels().crop(frame.picture, frame.affines[0], SIZE)
        frame.originals[0] = original
        frame.crops[0, ..., :3] = np.clip(original + (change * mask)[..., None], 0, 1)
        frame.crops[0, ..., 3] = mask
        swapped = frame.crops[0].copy()
        before = [plane.copy() for plane in frame.picture.planes]
        self.stabilizer.stabilize(frame)
        for plane, kept in zip(frame.picture.planes, before, strict=True):
            np.testing.assert_array_equal(plane, kept)
        return swapped, frame.crops[0].copy()


def jitter(at: int, amount: float = 0.02) -> Floats:
    """The usual change and some that differs from frame to frame, of zero mean over frames."""
    return (CHANGE + amount * (texture(100 + at, (SIZE, SIZE)) - 0.5)).astype(np.float32)


def test_the_first_frame_of_a_track_is_as_the_swapper_made_it() -> None:
    film = Film(StabilizeSettings())
    for at, track in ((0, 1), (1, 2), (4, 2)):  # begins; another one; after a gap
        swapped, steady = film.frame(at, change=jitter(at), track=track)
        np.testing.assert_array_equal(steady, swapped)


@pytest.mark.parametrize("name", ["flow", "snap"])
def test_jitter_of_the_swap_is_held(name: str) -> None:
    film = Film(only(name))
    raw, held = [], []
    for at in range(12):
        swapped, steady = film.frame(at, change=jitter(at))
        raw.append(swapped)
        held.append(steady)
    inside = MASK == 1
    moves = [np.abs(np.diff(np.stack(f)[6:], axis=0))[:, inside, :3].mean() for f in (raw, held)]
    assert moves[1] < 0.5 * moves[0]


def test_the_originals_own_changes_are_followed_at_once() -> None:
    """A mouth that opens: what is filtered is the swap's change, never the picture."""
    film = Film(only("flow"))
    for at in range(6):
        film.frame(at)
    opened = SCENE.copy()
    opened[85:105, 84:108] = 0.1
    swapped, steady = film.frame(6, scene=opened)
    # By holding the picture seven tenths of the closed mouth would stay: 0.2 and more.
    assert np.abs(steady - swapped)[69:89, 54:78, :3].max() < 0.06
    assert np.abs(steady - swapped)[MASK == 1][:, :3].mean() < 0.005


def test_light_that_flickers_on_the_original_is_followed_at_once() -> None:
    film = Film(only("flow", "seam", "guard"))
    for at in range(8):
        swapped, steady = film.frame(at, scene=SCENE * (1.0 if at % 2 else 0.9))
    assert np.abs(steady - swapped)[MASK == 1].mean() < 0.004


def test_a_frame_out_of_line_is_bridged() -> None:
    broken = texture(9, (SIZE, SIZE)) - 0.5
    for names, limit in (((), 0.9), (("guard",), 0.25)):
        film = Film(only("flow", *names))
        for at in range(10):
            film.frame(at)
        swapped, steady = film.frame(10, change=broken)
        good = film.frame(11)[0]
        fault = np.abs(swapped - good)[MASK == 1].mean()
        left = np.abs(steady - good)[MASK == 1].mean()
        assert (left < limit * fault) if names else (left > limit * fault)


def test_the_guard_waits_until_it_knows_what_is_usual() -> None:
    film = Film(only("guard"))
    film.frame(0)
    swapped, steady = film.frame(1, change=texture(9, (SIZE, SIZE)) - 0.5)
    np.testing.assert_allclose(steady, swapped, atol=1e-6)


@pytest.mark.parametrize(("step", "held"), [(0.5, True), (4.0, False)])
def test_the_seam_is_held_while_the_face_hardly_moves(step: float, held: bool) -> None:
    film = Film(only("seam"))
    moves = []
    for at in range(8):
        mask = np.clip((44 + (at % 2) - np.hypot(X, Y)) / 8, 0, 1).astype(np.float32)
        place = 20 + step * at
        swapped, steady = film.frame(at, mask=mask, place=place)
        np.testing.assert_allclose(steady[..., :3], swapped[..., :3], atol=1e-6)
        moves.append(steady[..., 3] - swapped[..., 3])
    assert bool(np.abs(moves[-1]).max() > 0.02) is held


def test_a_cast_of_the_swap_is_taken_out() -> None:
    film = Film(only("colour"))
    for at in range(3):
        swapped, steady = film.frame(at, change=np.full_like(CHANGE, 0.08))
    reference = swapped[..., :3] - 0.08 * MASK[..., None]
    inside = MASK == 1
    assert np.abs(steady[..., :3] - reference)[inside].mean() < 0.01


@pytest.mark.parametrize(
    "settings", [StabilizeSettings(), only(*OFF)], ids=["default filters", "all filters"]
)
def test_after_the_warm_up_older_frames_do_not_matter(settings: StabilizeSettings) -> None:
    whole, late = Film(settings), Film(settings)
    start = 20
    worst = 0.0
    for at in range(start + 10):
        _, steady = whole.frame(at, change=jitter(at, 0.1))
        if at >= start - settings.warmup:
            _, other = late.frame(at, change=jitter(at, 0.1))
            if at >= start:
                worst = max(worst, float(np.abs(steady - other).max()))
    assert worst < 1 / 255 / 4


def test_two_faces_have_a_memory_each_whatever_their_order() -> None:
    def run(order: tuple[int, int]) -> Floats:
        stabilizer = Stabilizer(StabilizeSettings())
        last: dict[int, Floats] = {}
        for at in range(5):
            handle = FrameHandle(slot=0, generation=0, frame_index=at, pts=at)
            frame = Frame(handle, LAYOUT, memoryview(bytearray(LAYOUT.nbytes)))
            for plane in frame.picture.planes:
                plane[...] = np.rint(SCENE * 255)
            frame.faces = 2
            for slot, track in enumerate(order if at % 2 else (0, 1)):
                frame.tracks[slot] = track
                frame.affines[slot] = [[1, 0, -20 - 30 * track], [0, 1, -16]]
                original = CpuKernels().crop(frame.picture, frame.affines[slot], SIZE)
                change = jitter(at) * MASK * (1 - 2 * track)
                frame.originals[slot] = original
                frame.crops[slot, ..., :3] = original + change[..., None]
                frame.crops[slot, ..., 3] = MASK
            stabilizer.stabilize(frame)
            for slot in range(2):
                last[int(frame.tracks[slot])] = frame.crops[slot].copy()
        return np.stack([last[0], last[1]])

    np.testing.assert_array_equal(run((0, 1)), run((1, 0)))


def test_a_crop_without_a_mask_and_one_of_odd_size_pass() -> None:
    film = Film(StabilizeSettings())
    empty = np.zeros_like(MASK)
    for at in range(3):
        swapped, steady = film.frame(at, mask=empty)
        np.testing.assert_array_equal(steady, swapped)
    layout = SlotLayout(format=FORMAT, faces=1, crop_size=131)
    stabilizer = Stabilizer(StabilizeSettings())
    for at in range(3):
        handle = FrameHandle(slot=0, generation=0, frame_index=at, pts=at)
        frame = Frame(handle, layout, memoryview(bytearray(layout.nbytes)))
        frame.faces = 1
        frame.affines[0] = [[1, 0, -30], [0, 1, -16]]
        frame.crops[0] = 0.5
        frame.crops[0, ..., 3] = 1
        stabilizer.stabilize(frame)
        assert np.isfinite(frame.crops).all()
