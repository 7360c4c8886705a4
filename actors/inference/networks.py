"""Which file of a network is run, and by which runtime."""

from __future__ import annotations

from typing import Final

from actors.inference.onnx import Onnx
from actors.inference.openvino import OpenVino
from actors.inference.runtime import Runtime
from actors.models import INT8, QUANTIZED, ModelStore
from scheduler.errors import ModelUnavailable, SettingInvalid

PRECISIONS: Final = ("fp32", "int8", "auto")


def resolve_precision(store: ModelStore, name: str, precision: str) -> str:
    """What a network is run with on all of a job's lanes: fp32 or int8.

    To be asked once, before a job is planned: its frames depend on the answer.

    Args:
        name: of the network, in the registry.
        precision: one of PRECISIONS; auto: int8 where this machine has a quantised file of the
            network's present one, and OpenVINO to run it with.

    Raises:
        SettingInvalid: no such precision; or int8, and no OpenVINO.
        ModelUnavailable: int8, and there is no quantised file, or it was made of another one.
        ModelUnknown: no such name.
    """
    if precision not in PRECISIONS:
        raise SettingInvalid(
            f"the precision {precision!r}", f"one of {', '.join(PRECISIONS)}", "choose one of these"
        )
    spec = store.registry[name]
    small = name + INT8
    made_of = f"{QUANTIZED}{spec.sha256}"
    ready = small in store.registry and store.registry[small].origin == made_of
    if precision == "auto":
        return "int8" if ready and store.present(small) and OpenVino.installed() else "fp32"
    if precision == "int8" and not ready:
        raise ModelUnavailable(
            f"no quantised file of {name}" + (" as it is now" if small in store.registry else ""),
            "one that passed its check on this machine",
            f"run `farm models quantize {name} --calibrate VIDEO`, or choose --precision fp32",
        )
    return precision


def file_name(name: str, precision: str) -> str:
    """Name in the registry of the file that a network is run from.

    Args:
        precision: fp32 or int8.
    """
    return name + INT8 if precision == "int8" else name


def open_network(store: ModelStore, name: str, *, threads: int = 1) -> Runtime:
    """Load a network of ONNX's format.

    Quantised files are run by OpenVINO, where they are fast; all others by ONNX Runtime, whose
    results do not depend on the batch by a bit.

    Args:
        store: has its file.
        name: in the registry, of ``file_name``.
        threads: see ``Runtime.load``.

    Raises:
        ModelError: the file is missing or no network.
        SettingInvalid: a quantised file, and no OpenVINO.
    """
    runtime: type[Onnx] | type[OpenVino] = OpenVino if name.endswith(INT8) else Onnx
    return runtime.load(store.path(name), threads=threads)
