from __future__ import annotations

import numpy as np
import pytest

from scheduler.one_euro import OneEuro
from scheduler.points import MESH

FACE = np.random.default_rng(0).uniform(0, 100, (MESH.count, 2))


def test_a_face_at_rest_stays_where_it_is() -> None:
    euro = OneEuro()
    for _ in range(5):
        assert np.array_equal(euro.step(FACE, 0.04), FACE.astype(np.float32))


def test_trembling_shrinks_and_motion_comes_late_but_comes() -> None:
    random = np.random.default_rng(1)
    euro = OneEuro()
    still = [euro.step(FACE + random.normal(0, 0.1, FACE.shape), 0.04) for _ in range(60)]
    assert np.diff(still[10:], axis=0).std() < 0.6 * 0.1
    moving = [euro.step(FACE + 5 * at, 0.04) for at in range(40)]
    behind = FACE[0, 0] + 5 * 39 - moving[-1][0, 0]
    assert 0 < behind < 15


def test_settings_hold_for_any_size() -> None:
    one, other = OneEuro(), OneEuro()
    for at in range(10):
        small = one.step(FACE + 3 * np.sin(at), 0.04)
        large = other.step(4 * (FACE + 3 * np.sin(at)), 0.04)
    assert np.allclose(large, 4 * small, rtol=1e-5)


@pytest.mark.parametrize("wrong", [{"min_cutoff": 0.0}, {"speed_cutoff": -1.0}, {"beta": -1.0}])
def test_nonsense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="wanted cut-offs above 0"):
        OneEuro(**wrong)
