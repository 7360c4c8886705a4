"""What a job's swap needs: which models, which crop; and whether its settings make sense."""

from __future__ import annotations

from collections.abc import Sequence

from actors.identity_source import target_share
from actors.inference.networks import file_name
from actors.pixel_boost import check_boost
from actors.swapper_specs import ENHANCERS, RECOGNISER, SWAPPERS
from actors.waiting_swapper import SIZE as STANDIN_SIZE
from scheduler.errors import SettingInvalid
from scheduler.jobs import MESH_SWAPPER, PRECISIONS, SwapSettings
from scheduler.masks import AREAS, MASK_TYPES, OCCLUDERS, PARSERS, REGIONS


def swap_models(swap: SwapSettings) -> tuple[str, ...]:
    """Names in the registry of the networks that a swap runs; none for the mesh swapper alone.

    Raises:
        SettingInvalid: as ``check_swap``.
    """
    check_swap(swap)
    names: list[str] = []
    if swap.model != MESH_SWAPPER and swap.waits is None:
        spec = SWAPPERS[swap.model]
        names.append(swap.model)
        if swap.precision == "int8":
            names.append(file_name(swap.model, swap.precision))
        if spec.picture is None:
            names.append(RECOGNISER)
        if spec.converter:
            names.append(spec.converter)
        if "occlusion" in swap.masks.types:
            names += occluders(swap)
        if "region" in swap.masks.types:
            names.append(swap.masks.parser)
    if swap.enhancer.model:
        names.append(file_name(swap.enhancer.model, swap.enhancer.precision))
    return tuple(names)


def occluders(swap: SwapSettings) -> tuple[str, ...]:
    """The networks that ``swap.masks.occluder`` stands for."""
    named = swap.masks.occluder
    return tuple(name for name in OCCLUDERS if name != "many") if named == "many" else (named,)


def wants_target(swap: SwapSettings) -> bool:
    """Whether the recogniser must look at every face that is swapped."""
    spec = SWAPPERS.get(swap.model)
    return spec is not None and spec.picture is None and target_share(swap.weight) != 0


def swap_crop_size(swap: SwapSettings, suggested: int) -> int:
    """Side in pixels of the crops that a swap puts into the slots.

    Args:
        suggested: by the size of the film's faces, for swappers that take any.

    Raises:
        SettingInvalid: as ``check_swap``.
    """
    check_swap(swap)
    wanted = swap.crop_size or suggested
    if swap.waits is not None:
        return STANDIN_SIZE
    if swap.enhancer.model:
        return min(wanted, ENHANCERS[swap.enhancer.model].size)
    if swap.model == MESH_SWAPPER:
        return wanted
    return swap.boost or SWAPPERS[swap.model].size


def check_swap(swap: SwapSettings) -> None:
    """Refuse settings that name what does not exist, or that contradict each other.

    Raises:
        SettingInvalid: says which.
    """
    if swap.waits is not None:
        return  # made by a benchmark, not by settings
    _one_of("the swapper", swap.model, [MESH_SWAPPER, *SWAPPERS])
    _one_of("the face enhancer", swap.enhancer.model, ["", *ENHANCERS])
    for precision in (swap.precision, swap.enhancer.precision):
        _one_of("the precision", precision, PRECISIONS)
    _share("swapper weight", swap.weight)
    _share("enhancer blend", swap.enhancer.blend)
    _share("enhancer weight", swap.enhancer.weight)
    if swap.model == MESH_SWAPPER:
        if swap.boost:
            raise SettingInvalid(
                f"a pixel boost of {swap.boost} for the mesh swapper",
                "a neural swapper",
                "choose one, or give the mesh swapper a larger crop instead",
            )
        return
    spec = SWAPPERS[swap.model]
    check_boost(swap.boost, spec.size)
    if swap.crop_size and not swap.enhancer.model:
        raise SettingInvalid(
            f"a crop of {swap.crop_size} pixels for {swap.model}",
            f"its own {spec.size} pixels",
            "leave the crop size out, or raise the picture with a pixel boost",
        )
    masks = swap.masks
    _some_of("the mask type", masks.types, MASK_TYPES)
    if "area" in masks.types:
        _some_of("the mask area", masks.areas, AREAS)
    if "region" in masks.types:
        _some_of("the mask region", masks.regions, REGIONS)
    _one_of("the occluder", masks.occluder, OCCLUDERS)
    _one_of("the face parser", masks.parser, PARSERS)
    _share("mask blur", masks.blur)
    if not all(0 <= percent <= 100 for percent in masks.padding):
        raise SettingInvalid(
            f"a mask padding of {masks.padding}", "percents of 0 to 100", "correct it"
        )
    if "model" in masks.types and not spec.mask:
        able = [name for name, other in SWAPPERS.items() if other.mask]
        raise SettingInvalid(
            f"the mask type 'model' with {swap.model}, which gives no mask",
            "one of " + ", ".join(able),
            "choose one of these, or another mask type",
        )


def _one_of(what: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise SettingInvalid(
            f"{what} {name!r}", "one of " + ", ".join(filter(None, known)), "choose one of these"
        )


def _some_of(what: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        _one_of(what, name, known)
    if not names:
        raise SettingInvalid(f"none where {what} is named", "one or more", "name at least one")


def _share(what: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise SettingInvalid(f"{what} {value}", "a number from 0 to 1", "correct it")
