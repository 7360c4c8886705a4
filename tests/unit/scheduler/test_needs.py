from __future__ import annotations

import pytest

from scheduler.detection import LANDMARKERS, LandmarkerSettings
from scheduler.errors import LandmarksUnfit
from scheduler.jobs import SwapSettings
from scheduler.masks import MaskSettings
from scheduler.needs import check_points, needs_expression, points_of


def test_neural_swappers_do_without_expression_unless_a_mask_follows_the_points() -> None:
    assert needs_expression(SwapSettings())
    assert not needs_expression(SwapSettings(model="inswapper_128"))
    for types, needed in (
        (("box", "occlusion"), False),
        (("box", "region"), False),
        (("model",), False),
        (("box", "area"), True),
        (("hull",), True),
    ):
        swap = SwapSettings(model="inswapper_128", masks=MaskSettings(types=types))
        assert needs_expression(swap) == needed


@pytest.mark.parametrize("model", LANDMARKERS)
def test_the_mesh_swapper_wears_the_mesh_only(model: str) -> None:
    landmarker = LandmarkerSettings(model=model)
    check_points(SwapSettings(model="ghost_1_256"), landmarker)
    assert points_of(landmarker) == (468 if model == "mesh" else 68)
    if model == "mesh":
        check_points(SwapSettings(), landmarker)
        return
    with pytest.raises(LandmarksUnfit, match=f"{model} of 68 points") as caught:
        check_points(SwapSettings(), landmarker)
    assert caught.value.code == "landmarks.unfit"
