"""Rows are split into batches of powers of two."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.inference.passes import WASTE, batches, passes, room

POWERS = st.integers(0, 6).map(lambda power: 1 << power)


def test_batches_are_the_powers_of_two_up_to_the_largest() -> None:
    assert batches(1) == (1,)
    assert batches(64) == (1, 2, 4, 8, 16, 32, 64)
    for wrong in (0, 3, -4, 65):
        with pytest.raises(ValueError, match="power of two"):
            batches(wrong)


@pytest.mark.parametrize(
    ("rows", "largest", "found"),
    [
        (0, 64, []),
        (1, 64, [(1, 1)]),
        (3, 64, [(3, 4)]),
        (5, 64, [(4, 4), (1, 1)]),
        (36, 64, [(32, 32), (4, 4)]),
        (100, 64, [(64, 64), (32, 32), (4, 4)]),
        (7, 4, [(4, 4), (3, 4)]),
    ],
)
def test_examples(rows: int, largest: int, found: list[tuple[int, int]]) -> None:
    assert [(each.rows, each.batch) for each in passes(rows, largest)] == found


@given(st.integers(0, 500), POWERS, st.booleans(), st.integers(0, 9))
def test_each_row_goes_through_once(rows: int, largest: int, few: bool, start: int) -> None:
    split = passes(rows, largest, start, few=few)
    taken = [row for each in split for row in range(each.start, each.start + each.rows)]
    assert taken == list(range(start, start + rows))
    assert all(each.batch in batches(largest) and each.rows <= each.batch for each in split)
    assert all(each.rows == each.batch for each in split[:-1])
    padding = sum(each.batch - each.rows for each in split)
    assert few or padding * WASTE <= max((each.batch for each in split), default=0)
    if few:
        assert len(split) == -(-rows // largest)


@given(st.integers(1, 500), POWERS, st.booleans())
def test_half_the_batch_needs_no_more_room(rows: int, largest: int, few: bool) -> None:
    assert rows <= room(rows, largest, few=few)
    if largest > 1:
        assert room(rows, largest // 2, few=few) <= room(rows, largest, few=few)
