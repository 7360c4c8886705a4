"""Hands survive their table bit for bit."""

import numpy as np

from scheduler.hands import JOINTS, SCHEMA, HandObservation, from_table, to_table


def test_round_trip() -> None:
    rng = np.random.default_rng(3)
    hands = [
        HandObservation(
            frame=frame,
            landmarks=rng.normal(300, 100, (JOINTS, 2)).astype(np.float32),
            presence=float(np.float32(0.5 + frame / 20)),
        )
        for frame in (4, 4, 7)
    ]
    table = to_table(hands)
    assert table.schema == SCHEMA
    for before, after in zip(hands, from_table(table), strict=True):
        assert (before.frame, before.presence) == (after.frame, after.presence)
        assert before.landmarks.tobytes() == after.landmarks.tobytes()


def test_no_hands() -> None:
    table = to_table([])
    assert table.schema == SCHEMA
    assert from_table(table) == []
