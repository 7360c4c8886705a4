from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from scheduler.census import Census
from scheduler.points import MESH
from scheduler.tracks import STITCHED_SCHEMA, FaceObservation, to_table


def face(frame: int, side: float) -> FaceObservation:
    return FaceObservation(
        frame=frame,
        track=0,
        box=np.array([0, 0, side, side / 2], np.float32),
        landmarks=np.zeros((MESH.count, 2), np.float32),
        score=1.0,
        visible=1.0,
    )


def stitched(*faces: FaceObservation, persons: list[int] | None = None) -> pa.Table:
    people = pa.array(persons or [0] * len(faces), pa.int32())
    return to_table(faces).append_column(STITCHED_SCHEMA.field("person"), people)


def test_counts_are_by_frame_and_range() -> None:
    census = Census(10)
    census.add(stitched(face(2, 50), face(2, 60), face(3, 50)))
    census.add(stitched(face(7, 50)))
    assert (census.faces, census.frames_with_faces) == (4, 3)
    assert [census.most_swaps(*r) for r in ((0, 10), (3, 10), (4, 7))] == [2, 1, 0]


@pytest.mark.parametrize(("side", "size"), [(20, 256), (150, 256), (260, 384), (2000, 512)])
def test_the_crop_grows_with_the_faces(side: float, size: int) -> None:
    census = Census(1)
    census.add(stitched(face(0, side)))
    assert census.crop_size() == size


def test_a_film_without_faces_has_the_smallest_crop() -> None:
    census = Census(3)
    census.add(stitched())
    assert (census.faces, census.crop_size()) == (0, 256)


def test_only_faces_that_are_swapped_need_room() -> None:
    census = Census(4)
    census.add(stitched(face(1, 900), face(1, 50), face(2, 900), persons=[-1, 1, -1]))
    assert (census.faces, census.frames_with_faces, census.swaps) == (3, 2, 1)
    assert [census.most_swaps(n, n + 1) for n in range(4)] == [0, 1, 0, 0]
    assert (census.swaps_in(0, 4), census.swaps_in(2, 4)) == (1, 0)
    assert census.crop_size() == 256
