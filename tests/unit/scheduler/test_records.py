"""What a job leaves behind for its report."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from scheduler.points import MESH
from scheduler.records import SCHEMA, digest, from_json
from scheduler.tracks import STITCHED_SCHEMA, FaceObservation, to_table
from tests.unit.scheduler.known_jobs import CAST, RECORD, REFERENCE

POINTS = (263, 33)


def stitched(frames: range, shake: float = 0.0) -> pa.Table:
    shape = np.random.default_rng(0).random((MESH.count, 2)).astype(np.float32) * 80
    shape[33], shape[263] = (10, 40), (70, 40)
    faces = [
        FaceObservation(
            frame=at,
            track=3,
            box=np.array([at, 0, at + 90, 90], np.float32),
            landmarks=shape + np.float32((2 * at + shake * (at % 2), 0)),
            score=0.9,
            visible=1.0,
        )
        for at in frames
    ]
    persons = pa.array([0] * len(faces), pa.int32())
    return to_table(faces).append_column(STITCHED_SCHEMA.field("person"), persons)


def test_records_come_back_from_json() -> None:
    for record in (
        RECORD,
        CAST,
        REFERENCE,
        replace(RECORD, source_face=2, people=()),
        replace(RECORD, passed=((3, 9),)),
    ):
        assert from_json(json.loads(json.dumps(record.to_json()))) == record


@pytest.mark.parametrize(
    "facts", [{}, [], "x", {"version": 99}, {"version": 1}, {**RECORD.to_json(), "choice": 3}]
)
def test_what_is_no_record_is_refused(facts: object) -> None:
    with pytest.raises(ValueError, match="record"):
        from_json(facts)  # type: ignore[arg-type]


def test_the_digest_keeps_what_a_report_needs_and_no_more() -> None:
    whole = digest([stitched(range(10), shake=1.0)], {468: POINTS})
    parts = digest([stitched(range(4), 1.0), stitched(range(4, 10), 1.0)], {468: POINTS})
    assert whole.schema == SCHEMA
    assert whole.drop(["jitter"]).equals(parts.drop(["jitter"])), "the same wherever it is cut"
    np.testing.assert_array_equal(whole.column("jitter"), parts.column("jitter"))
    assert whole.column("points")[2].as_py() == pytest.approx([74 + 0, 40, 14 + 0, 40])
    assert whole.column("eyes").to_pylist() == pytest.approx([60] * 10)
    jitter = whole.column("jitter").to_numpy()
    assert np.isnan(jitter[[0, 9]]).all()
    assert jitter[1:9] == pytest.approx(np.full(8, 2.0), rel=1e-4), "x: 0 1 0 1 ..."


def test_lengths_are_those_of_square_pixels() -> None:
    wide = digest([stitched(range(3), shake=1.0)], {468: POINTS}, aspect=2.0)
    assert wide.column("eyes")[0].as_py() == pytest.approx(120)
    assert wide.column("jitter")[1].as_py() == pytest.approx(4.0, rel=1e-4)
