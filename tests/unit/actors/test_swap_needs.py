"""Which models and which crop a swap needs, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from actors.registry import Registry
from actors.swap_needs import check_swap, swap_crop_size, swap_models, wants_target
from actors.swapper_specs import ENHANCERS, RECOGNISER, SWAPPERS
from kernels.templates import TEMPLATES
from scheduler.errors import SettingInvalid
from scheduler.jobs import EnhancerSettings, SwapSettings
from scheduler.masks import MaskSettings


def swap(model: str = "hyperswap_1a_256", **more: object) -> SwapSettings:
    return SwapSettings(model=model, sources=("a.jpg",), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        (SwapSettings(), []),
        (SwapSettings(masks=MaskSettings(types=("occlusion", "region"))), []),
        (swap(), ["hyperswap_1a_256", RECOGNISER]),
        (swap("simswap_256"), ["simswap_256", RECOGNISER, "crossface_simswap"]),
        (swap("ghost_3_256"), ["ghost_3_256", RECOGNISER, "crossface_ghost"]),
        (swap("uniface_256"), ["uniface_256"]),
        (
            swap(precision="int8"),
            ["hyperswap_1a_256", "hyperswap_1a_256.int8", RECOGNISER],
        ),
        (
            swap("mesh", enhancer=EnhancerSettings(model="gfpgan_1.4", precision="int8")),
            ["gfpgan_1.4.int8"],
        ),
        (swap("uniface_256", weight=0.1), ["uniface_256"]),
        (
            swap(masks=MaskSettings(types=("box", "occlusion"))),
            ["hyperswap_1a_256", RECOGNISER, "xseg_1"],
        ),
        (
            swap(masks=MaskSettings(types=("occlusion", "region"), occluder="many")),
            ["hyperswap_1a_256", RECOGNISER, "xseg_1", "xseg_2", "xseg_3", "bisenet_resnet_34"],
        ),
        (
            swap("mesh", enhancer=EnhancerSettings(model="gfpgan_1.4")),
            ["gfpgan_1.4"],
        ),
    ],
)
def test_models(settings: SwapSettings, names: list[str]) -> None:
    assert list(swap_models(settings)) == names


def test_all_that_a_swap_may_need_is_in_the_registry() -> None:
    registry = Registry.load()
    all_masks = MaskSettings(types=("occlusion", "region"), occluder="many")
    for name in SWAPPERS:
        for needed in swap_models(swap(name, masks=all_masks)):
            assert needed in registry
    for name in ENHANCERS:
        assert name in registry


@pytest.mark.parametrize("name", SWAPPERS)
def test_the_registry_says_the_same_of_a_swapper(name: str) -> None:
    spec, entry = SWAPPERS[name], Registry.load()[name]
    assert entry.kind == "swapper"
    assert entry.input == (spec.size, spec.size)
    assert entry.template == spec.template in TEMPLATES
    np.testing.assert_allclose(entry.mean, spec.mean)
    np.testing.assert_allclose(entry.std, spec.std)
    assert entry.colour == "rgb"
    low, high = entry.range
    assert (low < -0.9) == spec.signed
    assert high >= 1
    shapes = dict(entry.inputs)
    side = spec.picture.size if spec.picture else 0
    assert shapes["source"] == ((1, 3, side, side) if spec.picture else (1, 512))
    assert len(entry.outputs) == (2 if spec.mask else 1)


@pytest.mark.parametrize("name", ENHANCERS)
def test_the_registry_says_the_same_of_an_enhancer(name: str) -> None:
    spec, entry = ENHANCERS[name], Registry.load()[name]
    assert entry.input == (spec.size, spec.size)
    assert entry.template == spec.template
    assert entry.mean == entry.std == (0.5, 0.5, 0.5)
    low, high = entry.range
    assert low <= -1 < 1 <= high


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        (SwapSettings(), 384),
        (SwapSettings(crop_size=192), 192),
        (swap(), 256),
        (swap("inswapper_128"), 128),
        (swap("inswapper_128", boost=512), 512),
        (swap("simswap_unofficial_512"), 512),
        (swap(enhancer=EnhancerSettings(model="gfpgan_1.4")), 384),
        (swap(enhancer=EnhancerSettings(model="gpen_bfr_256")), 256),
        (swap(enhancer=EnhancerSettings(model="gfpgan_1.4"), crop_size=512), 512),
        (swap("mesh", enhancer=EnhancerSettings(model="gpen_bfr_1024"), crop_size=1024), 1024),
    ],
)
def test_crop_size(settings: SwapSettings, size: int) -> None:
    check_swap(settings)
    assert swap_crop_size(settings, 384) == size


def test_the_target_is_looked_at_only_for_a_weight() -> None:
    assert not wants_target(SwapSettings())
    assert not wants_target(swap())
    assert not wants_target(swap("blendswap_256", weight=0.0))
    assert wants_target(swap(weight=0.55))
    assert wants_target(swap("ghost_1_256", weight=0.0))


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        (swap("hyperswap"), "the swapper 'hyperswap'"),
        (swap(enhancer=EnhancerSettings(model="gfpgan")), "the face enhancer 'gfpgan'"),
        (swap(weight=1.2), "swapper weight 1.2"),
        (swap(enhancer=EnhancerSettings(blend=-0.1)), "enhancer blend"),
        (swap(enhancer=EnhancerSettings(weight=2)), "enhancer weight"),
        (swap("mesh", boost=512), "mesh swapper"),
        (swap(boost=300), "pixel boost of 300"),
        (swap(crop_size=512), "a crop of 512 pixels for hyperswap_1a_256"),
        (swap(masks=MaskSettings(types=())), "mask type"),
        (swap(masks=MaskSettings(types=("box", "oval"))), "'oval'"),
        (swap(masks=MaskSettings(types=("area",), areas=("nose",))), "mask area 'nose'"),
        (swap(masks=MaskSettings(types=("region",), regions=())), "mask region"),
        (swap(masks=MaskSettings(occluder="xseg")), "occluder 'xseg'"),
        (swap(masks=MaskSettings(parser="bisenet")), "face parser 'bisenet'"),
        (swap(masks=MaskSettings(blur=1.5)), "mask blur"),
        (swap(masks=MaskSettings(padding=(0, 0, 101, 0))), "padding"),
        (swap("ghost_1_256", masks=MaskSettings(types=("model",))), "gives no mask"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: SwapSettings, what: str) -> None:
    with pytest.raises(SettingInvalid, match=what):
        swap_models(settings)


def test_what_is_not_used_is_not_checked() -> None:
    check_swap(swap(masks=MaskSettings(types=("box",), areas=(), regions=("no",))))
    check_swap(swap(masks=MaskSettings(types=("model",))))
