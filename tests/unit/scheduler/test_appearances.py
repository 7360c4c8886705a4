"""Samples of faces: tables and the choice of those that are kept."""

from itertools import pairwise

import numpy as np
import pyarrow as pa

from scheduler.appearances import (
    MOST,
    SCHEMA,
    STITCHED_SCHEMA,
    FaceSample,
    by_track,
    spread_out,
    to_table,
)


def sample(frame: int, value: int) -> FaceSample:
    return FaceSample(frame=frame, place=1, texels=np.full((32, 32, 4), value, np.uint8))


def test_tables_keep_every_texel() -> None:
    table = to_table([sample(6, 7), sample(12, 9)])
    assert table.schema == SCHEMA
    assert to_table([]).schema == SCHEMA
    tracks = pa.array([3, 3], pa.int32())
    columns = [tracks, table.column("frame"), table.column("texels")]
    found = by_track(pa.Table.from_arrays(columns, schema=STITCHED_SCHEMA))
    assert list(found) == [3]
    assert [int(texels[31, 31, 3]) for texels in found[3]] == [7, 9]
    assert found[3][0].shape == (32, 32, 4)


def test_few_are_all_kept_and_many_are_spread() -> None:
    assert spread_out({5: [1, 4], 2: [0]}) == [(0, 2), (1, 5), (4, 5)]
    kept = spread_out({0: range(0, 2 * 10 * MOST, 2)})
    assert len(kept) == MOST
    assert {after[0] - before[0] for before, after in pairwise(kept)} == {20}
