"""Which file of a network is run, and by which runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from actors.inference.onnx import Onnx
from actors.inference.onnx_gpu import OnnxOnGpu
from actors.inference.openvino import OpenVino
from actors.inference.runtime import Runtime
from actors.models import FP16, INT8, QUANTIZED, ModelStore
from scheduler.devices import CPU, on_gpu
from scheduler.errors import ModelUnavailable, SettingInvalid
from scheduler.jobs import PRECISIONS

SUFFIXES: Final = {"fp32": "", "fp16": FP16, "int8": INT8}
"""What ends the name of a network's file, by precision."""


def resolve_precision(store: ModelStore, names: Sequence[str], precision: str) -> str:
    """What networks are run with on all of a job's lanes: fp32, fp16 or int8.

    To be asked once, before a job is planned: its frames depend on the answer.

    Args:
        names: of networks that go together, in the registry; none: fp32.
        precision: one of PRECISIONS; auto: int8 where this machine has quantised files of all of
            the networks as they are now, and OpenVINO to run them with.

    Raises:
        SettingInvalid: no such precision.
        ModelUnavailable: int8 or fp16, and there is no such file, or it was made of another one.
        ModelUnknown: no such name.
    """
    if precision not in PRECISIONS:
        raise SettingInvalid(
            f"the precision {precision!r}", f"one of {', '.join(PRECISIONS)}", "choose one of these"
        )
    if not names or precision == "fp32":
        return "fp32"
    suffix = SUFFIXES.get(precision, INT8)
    missing = [name for name in names if not _made(store, name, suffix)]
    if precision == "auto":
        here = not missing and all(store.present(name + INT8) for name in names)
        return "int8" if here and OpenVino.installed() else "fp32"
    for name in missing:
        old = " as it is now" if name + suffix in store.registry else ""
        what, to = ("FP16", " --to fp16") if suffix == FP16 else ("quantised", "")
        raise ModelUnavailable(
            f"no {what} file of {name}{old}",
            "one that passed its check on this machine",
            f"run `farm models quantize {name} --calibrate VIDEO{to}`, or choose --precision fp32",
        )
    return precision


def _made(store: ModelStore, name: str, suffix: str) -> bool:
    """Whether a file is known that was made of the network's present one."""
    small = name + suffix
    made_of = f"{QUANTIZED}{store.registry[name].sha256}"
    return small in store.registry and store.registry[small].origin == made_of


def file_name(name: str, precision: str) -> str:
    """Name in the registry of the file that a network is run from.

    Args:
        precision: fp32, fp16 or int8.
    """
    return name + SUFFIXES[precision]


def open_network(
    store: ModelStore,
    name: str,
    *,
    threads: int = 1,
    device: str = CPU,
    stream: int | None = None,
) -> Runtime:
    """Load a network of ONNX's format.

    Quantised files are run by OpenVINO, where they are fast; all others by ONNX Runtime, whose
    results do not depend on the batch by a bit.

    Args:
        store: has its file.
        name: in the registry, of ``file_name``.
        threads: see ``FileRuntime.load``.
        device: of the job (``scheduler.devices``); quantised files run on processors in any case.
        stream: of the kernels, in which ONNX Runtime works too; None: in one of its own.

    Raises:
        GpuUnavailable: ONNX Runtime cannot use the device.
        ModelError: the file is missing or no network.
        SettingInvalid: a quantised file, and no OpenVINO.
    """
    if name.endswith(INT8):
        return OpenVino.load(store.path(name), threads=threads)
    if on_gpu(device):
        return OnnxOnGpu.open(store.path(name), stream)
    return Onnx.load(store.path(name), threads=threads)
