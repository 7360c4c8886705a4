from __future__ import annotations

import numpy as np

from scheduler.tracks import LANDMARKS, SCHEMA, FaceObservation, from_table, to_table


def test_rows_survive_the_table_bit_for_bit() -> None:
    rng = np.random.default_rng(7)
    faces = [
        FaceObservation(
            frame=n,
            track=n - 1,
            box=rng.random(4, np.float32),
            landmarks=rng.random((LANDMARKS, 2), np.float32) * 1e4,
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
