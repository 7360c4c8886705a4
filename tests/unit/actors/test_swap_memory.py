"""What a lane has swapped for one chunk serves as the next one's warm-up, bit for bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from actors.swap_memory import SwapMemory
from scheduler.tracks import FaceObservation

SIZE = 8


def face(frame: int, x: float = 3.0, track: int = 0) -> FaceObservation:
    return FaceObservation(
        frame=frame,
        track=track,
        box=np.zeros(4, np.float32),
        landmarks=np.full((5, 2), x, np.float32),
        score=1.0,
        visible=1.0,
    )


def crop(value: float) -> np.ndarray:
    return np.full((SIZE, SIZE, 4), value, np.float32)


def known(memory: SwapMemory, observation: FaceObservation) -> float | None:
    out = crop(-1)
    return float(out[0, 0, 0]) if memory.recall(observation, out) else None


def filled() -> SwapMemory:
    memory = SwapMemory()
    memory.turn_to("film", 0, range(6, 10))
    for frame in range(10):
        memory.keep(face(frame), crop(frame))
    return memory


def test_the_last_frames_of_a_chunk_are_known_to_the_next() -> None:
    memory = filled()
    memory.turn_to("film", 6, range(16, 20))
    assert [known(memory, face(frame)) for frame in range(5, 11)] == [None, 6, 7, 8, 9, None]
    memory.turn_to("film", 16, range(26, 30))
    assert known(memory, face(9)) is None


def test_a_crop_that_is_changed_afterwards_is_kept_as_it_was() -> None:
    memory, made = SwapMemory(), crop(1)
    memory.turn_to("film", 0, range(1))
    memory.keep(face(0), made)
    made[...] = 0
    assert known(memory, face(0)) == 1


@pytest.mark.parametrize(
    "other",
    [face(7, x=3.0001), face(7, track=1), replace(face(7), person=1)],
    ids=["elsewhere", "another track", "another person"],
)
def test_another_face_is_another(other: FaceObservation) -> None:
    assert known(filled(), other) is None


def test_another_job_knows_nothing() -> None:
    memory = filled()
    memory.turn_to("another film", 6, range(6, 10))
    assert known(memory, face(7)) is None


def test_there_is_a_limit() -> None:
    memory = SwapMemory(limit=2 * crop(0).nbytes)
    memory.turn_to("film", 0, range(9))
    for frame in range(5):
        memory.keep(face(frame), crop(frame))
    assert [known(memory, face(frame)) for frame in range(4)] == [0, 1, None, None]
    memory.turn_to("film", 1, range(9))
    memory.keep(face(6), crop(6))
    assert [known(memory, face(frame)) for frame in (0, 1, 6)] == [None, 1, 6]
