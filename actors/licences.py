"""What the licences of a job's models allow, and what the job records of them."""

from __future__ import annotations

from collections.abc import Iterable

from actors.models import ModelStore
from actors.registry import Registry
from actors.swap_needs import swap_models
from actors.swapper_specs import SWAPPERS
from scheduler.errors import ModelLicence, SettingInvalid
from scheduler.jobs import SwapSettings
from scheduler.provenance import POLICIES, ModelRecord


def check_licences(names: Iterable[str], policy: str, registry: Registry) -> None:
    """Refuse models whose licence does not allow what the user wants to do with the result.

    Args:
        names: of all models that a job needs, in the registry.
        policy: any, or commercial: only what may be used commercially, and what is unknown may not.
        registry: of the models.

    Raises:
        ModelLicence: names those that may not be used, and those of their kinds that may.
        ModelUnknown: no such name in the registry.
        SettingInvalid: no such policy.
    """
    if policy not in POLICIES:
        raise SettingInvalid(
            f"the licence policy {policy!r}", f"one of {', '.join(POLICIES)}", "choose one of these"
        )
    if policy == "any":
        return
    refused = [spec for spec in (registry[name] for name in names) if spec.use != "commercial"]
    if not refused:
        return
    allowed: dict[str, list[str]] = {kind: [] for kind in sorted({each.kind for each in refused})}
    for spec in registry.values():
        together = [spec.name]
        if spec.name in SWAPPERS:  # a swapper is of no use without those that it needs
            together += swap_models(SwapSettings(model=spec.name))
        if spec.kind in allowed and all(registry[name].use == "commercial" for name in together):
            allowed[spec.kind].append(spec.name)
    # The mesh swapper is no network: nobody's licence stands against it.
    if "swapper" in allowed:
        allowed["swapper"].insert(0, "mesh")
    raise ModelLicence(
        "; ".join(f"{each.name}: {each.licence} ({each.use})" for each in refused),
        "models that may be used commercially: "
        + "; ".join(f"{kind}: {', '.join(those) or 'none'}" for kind, those in allowed.items()),
        "choose among these, or leave --license-policy commercial out where the law lets you",
    )


def model_records(names: Iterable[str], store: ModelStore) -> tuple[ModelRecord, ...]:
    """What a job records of its models, in their order, each once.

    Args:
        names: of all models that it used.
        store: where they are.

    Raises:
        ModelUnknown: no such name in the registry.
    """
    return tuple(
        ModelRecord(
            name=spec.name,
            kind=spec.kind,
            sha256=spec.sha256,
            licence=spec.licence,
            use=spec.use,
            source=spec.source,
            standin=spec.standin,
        )
        for spec in (store.registry[name] for name in dict.fromkeys(names))
    )
