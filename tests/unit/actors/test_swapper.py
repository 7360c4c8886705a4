"""The swapper stage: which crop it asks for, and where the result lies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from actors.frames import Frame, FrameHandle, SlotLayout
from actors.swap_memory import SwapMemory
from actors.swapper import AlignedFace, Swapper
from kernels.cpu import CpuKernels
from kernels.geometry import apply, display_affine
from kernels.picture import PictureFormat
from scheduler.tracks import FaceObservation

SIZE = 64
GRAY = PictureFormat(width=120, height=80, planes=1, sub_x=0, sub_y=0, full_range=True)


class Reddener:
    """Paints the crop red and marks where it was told that the first landmark is."""

    size = SIZE
    batch = 1

    def affine(self, landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
        shift = SIZE / 2 - np.asarray(landmarks, np.float64)[0]
        return np.column_stack([np.eye(2), shift])

    def swap_all(self, faces: Sequence[AlignedFace]) -> None:
        for face in faces:
            face.out[...] = 0
            face.out[..., :3] = face.crop
            x, y = np.rint(face.landmarks[0]).astype(int)
            face.out[y, x] = [1, 0, 0, 1]


def frame_of(faces: int) -> Frame:
    layout = SlotLayout(format=GRAY, faces=faces, crop_size=SIZE)
    handle = FrameHandle(slot=0, generation=0, frame_index=0, pts=0)
    frame = Frame(handle, layout, memoryview(bytearray(layout.nbytes)))
    frame.picture.planes[0][...] = 40
    return frame


def face_at(x: float, y: float) -> FaceObservation:
    return FaceObservation(
        frame=0,
        track=0,
        box=np.array([x, y, x + 1, y + 1], np.float32),
        landmarks=np.full((468, 2), [x, y], np.float32),
        score=1.0,
        visible=1.0,
    )


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_crops_and_affines_lie_in_the_slot_in_order(rotation: int) -> None:
    frame = frame_of(3)
    frame.picture.planes[0][20, 30] = 255
    frame.picture.planes[0][50, 90] = 255
    display = display_affine(120, 80, 1.0, rotation)
    swapper = Swapper({0: Reddener()}, CpuKernels(), display)
    swapper.swap(frame, [face_at(30, 20), face_at(90, 50)])
    assert frame.faces == 2
    for i, place in enumerate(([30, 20], [90, 50])):
        # Frame -> crop puts the landmark in the middle, whichever way the film is turned.
        x, y = apply(frame.affines[i], place)
        assert (x, y) == pytest.approx((SIZE / 2, SIZE / 2))
        np.testing.assert_array_equal(frame.crops[i, SIZE // 2, SIZE // 2], [1, 0, 0, 1])
        assert frame.crops[i, ..., 3].sum() == 1
        assert frame.crops[i, 5, 5, 0] == pytest.approx(40 / 255, abs=0.01)
    _, crop, landmarks = swapper.prepare(frame, face_at(30, 20))
    assert crop[SIZE // 2, SIZE // 2, 0] > 0.9
    np.testing.assert_allclose(landmarks, SIZE / 2, atol=1e-6)


def test_a_frame_without_faces_has_none() -> None:
    frame = frame_of(1)
    frame.faces = 1
    Swapper({0: Reddener()}, CpuKernels(), np.eye(2, 3)).swap(frame, [])
    assert frame.faces == 0


def test_more_faces_than_the_slot_holds_is_an_error() -> None:
    swapper = Swapper({0: Reddener()}, CpuKernels(), np.eye(2, 3))
    with pytest.raises(ValueError, match="2 faces for a slot with room for 1"):
        swapper.swap(frame_of(1), [face_at(10, 10), face_at(50, 50)])


class Batched(Reddener):
    """Notes how many faces it is given at once."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.given: list[int] = []

    def swap_all(self, faces: Sequence[AlignedFace]) -> None:
        self.given.append(len(faces))
        super().swap_all(faces)


def frames_of(counts: Sequence[int]) -> tuple[list[Frame], dict[int, list[FaceObservation]]]:
    """A frame with room for three faces for each number, and that many faces in it."""
    frames, faces = [], {}
    for at, count in enumerate(counts):
        frame = frame_of(3)
        handle = FrameHandle(slot=at, generation=0, frame_index=at, pts=at)
        frame.handle = handle
        frame.picture.planes[0][...] = 40 + at
        frame.faces = 2  # as a slot may be left
        frames.append(frame)
        if count:
            faces[at] = [face_at(30 + 20 * i, 20 + at) for i in range(count)]
    return frames, faces


@pytest.mark.parametrize("batch", [1, 2, 4, 8, 64])
@pytest.mark.parametrize("hold", [0, 1, 3, 7, 63])
def test_faces_are_gathered_over_frames_and_change_no_bit(batch: int, hold: int) -> None:
    counts = [0, 1, 1, 0, 3, 2, 0, 0, 1, 1, 1, 1, 0]
    alone, faces = frames_of(counts)
    for frame in alone:
        Swapper({0: Reddener()}, CpuKernels(), np.eye(2, 3)).swap(
            frame, faces.get(frame.handle.frame_index, ())
        )
    frames, _ = frames_of(counts)
    tool = Batched(batch)
    stage = Swapper({0: tool}, CpuKernels(), np.eye(2, 3))
    asked, given = 0, 0

    def decoded() -> Iterator[Frame]:
        nonlocal asked
        for frame in frames:
            asked += 1
            # All that came before and has not left is held: never more than was allowed.
            assert asked - 1 - given <= hold
            yield frame

    order = []
    for frame in stage.swap_frames(decoded(), faces, hold=hold):
        given += 1
        order.append(frame.handle.frame_index)
    assert order == list(range(len(counts)))
    assert sum(tool.given) == sum(counts)
    if batch == 4 and hold >= 3:
        assert max(tool.given) >= 4
    if batch == 64 and hold == 63:
        assert tool.given == [sum(counts)]
    for one, other in zip(alone, frames, strict=True):
        assert one.faces == other.faces
        for row in range(one.faces):
            np.testing.assert_array_equal(one.affines[row], other.affines[row])
            np.testing.assert_array_equal(one.crops[row], other.crops[row])


def test_frames_without_faces_wait_for_nobody() -> None:
    frames, faces = frames_of([0, 0, 1, 0, 0])
    stage = Swapper({0: Batched(8)}, CpuKernels(), np.eye(2, 3))
    asked: list[int] = []

    def decoded() -> Iterator[Frame]:
        for frame in frames:
            asked.append(frame.handle.frame_index)
            yield frame

    stream = stage.swap_frames(decoded(), faces, hold=7)
    assert next(stream).handle.frame_index == 0
    assert asked == [0]
    assert [frame.handle.frame_index for frame in stream] == [1, 2, 3, 4]


def test_people_are_swapped_each_by_their_own() -> None:
    frames, faces = frames_of([2, 2])
    faces[1] = [replace(face, person=5) for face in faces[1]]
    tools = {0: Batched(4), 5: Batched(4)}
    for _ in Swapper(tools, CpuKernels(), np.eye(2, 3)).swap_frames(frames, faces, hold=3):
        continue
    assert (tools[0].given, tools[5].given) == ([2], [2])


@pytest.mark.parametrize(("batch", "beats"), [(1, 5), (2, 3), (8, 1)])
def test_each_batch_of_one_frames_faces_is_a_sign_of_life(batch: int, beats: int) -> None:
    heard: list[int] = []
    stage = Swapper(
        {0: Batched(batch)}, CpuKernels(), np.eye(2, 3), beat=lambda: heard.append(len(heard))
    )
    stage.swap(frame_of(5), [face_at(30, 20)] * 5)
    assert len(heard) == beats, "a frame with many faces is no silence"


def test_what_was_swapped_for_the_chunk_before_is_not_swapped_again() -> None:
    counts = [1, 2, 0, 3, 1, 2]
    alone, faces = frames_of(counts)
    faces = {at: [replace(face, frame=at) for face in seen] for at, seen in faces.items()}
    Swapper({0: Reddener()}, CpuKernels(), np.eye(2, 3)).swap(alone[3], faces[3])
    tool, memory = Batched(2), SwapMemory()
    stage = Swapper({0: tool}, CpuKernels(), np.eye(2, 3), memory=memory)
    # Frames 0 to 4, then those from 3 on: 3 and 4 are the next chunk's warm-up.
    memory.turn_to("film", 0, range(3, 5))
    assert len(list(stage.swap_frames(frames_of(counts[:5])[0], faces, hold=0))) == 5
    assert sum(tool.given) == 1 + 2 + 3 + 1
    tool.given.clear()
    memory.turn_to("film", 3, range(6, 6))
    again = frames_of(counts)[0][3:]
    for frame in again:
        frame.crops[...] = 0.5  # as a slot may be left
    done = list(stage.swap_frames(again, faces, hold=0))
    assert sum(tool.given) == 2
    assert [frame.faces for frame in done] == [3, 1, 2]
    np.testing.assert_array_equal(done[0].crops[:3], alone[3].crops[:3])
    np.testing.assert_array_equal(done[0].originals[:3], alone[3].originals[:3])
