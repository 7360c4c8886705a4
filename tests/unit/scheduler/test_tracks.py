from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from scheduler.points import MESH
from scheduler.tracks import (
    SCHEMA,
    STITCHED_SCHEMA,
    FaceObservation,
    from_table,
    to_table,
)


def test_rows_survive_the_table_bit_for_bit() -> None:
    rng = np.random.default_rng(7)
    faces = [
        FaceObservation(
            frame=n,
            track=n - 1,
            box=rng.random(4, np.float32),
            landmarks=rng.random((MESH.count, 2), np.float32) * 1e4,
            score=0.5,
            visible=0.25,
        )
        for n in range(3)
    ]
    table = to_table(faces)
    assert table.schema.equals(SCHEMA)
    back = from_table(table.slice(1))
    assert [f.frame for f in back] == [1, 2]
    assert np.array_equal(back[0].landmarks, faces[1].landmarks)
    assert np.array_equal(back[1].box, faces[2].box)


def test_no_faces_is_a_table_too() -> None:
    assert from_table(to_table([])) == []


def test_persons_are_read_from_a_stitched_table() -> None:
    points = np.zeros((MESH.count, 2), np.float32)
    face = FaceObservation(
        frame=0, track=3, box=np.ones(4, np.float32), landmarks=points, score=1.0, visible=1.0
    )
    table = to_table([face, face])
    assert [f.person for f in from_table(table)] == [0, 0]
    joined = table.append_column(STITCHED_SCHEMA.field("person"), pa.array([1, -1], pa.int32()))
    assert joined.schema.equals(STITCHED_SCHEMA)
    assert [f.person for f in from_table(joined)] == [1, -1]


@pytest.mark.parametrize("counts", [(68, 68, 68), (68, 468, 5)])
def test_rows_have_the_points_of_their_landmarker(counts: tuple[int, ...]) -> None:
    rng = np.random.default_rng(3)
    faces = [
        FaceObservation(
            frame=n,
            track=0,
            box=np.zeros(4, np.float32),
            landmarks=rng.random((count, 2), np.float32),
            score=1.0,
            visible=1.0,
        )
        for n, count in enumerate(counts)
    ]
    table = pa.concat_tables([to_table(faces[:1]), to_table([]), to_table(faces[1:])])
    for rows, wanted in (
        (table, faces),
        (table.slice(1), faces[1:]),
        (table.slice(1, 1), faces[1:2]),
    ):
        back = from_table(rows)
        assert [face.landmarks.shape for face in back] == [face.landmarks.shape for face in wanted]
        for one, other in zip(back, wanted, strict=True):
            assert np.array_equal(one.landmarks, other.landmarks)
