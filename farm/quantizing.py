"""Makes a model's INT8 file from a film, and keeps it only if it does what the float one does."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from actors.arcface import ArcFace
from actors.calibration import calibration_rows
from actors.face_networks import FAN, READERS
from actors.fan import Fan, PeppaWutz
from actors.fidelity import (
    Fidelity,
    PointFidelity,
    compare,
    compare_points,
    demand,
    recogniser_of,
)
from actors.inference.onnx import Onnx
from actors.inference.openvino import OpenVino
from actors.inference.runtime import Runtime
from actors.models import INT8, QUANTIZED, ModelStore
from actors.quantizer import Row, quantize
from actors.registry import ModelSpec
from actors.swapper_specs import RECOGNISER
from actors.toolbox import LaneKit, Toolbox
from scheduler.errors import storage_error

HELD_OUT: Final = 5
"""Each fifth face is held out for the check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantized:
    """What came of it."""

    path: str
    convolutions: int
    """That are in INT8."""
    held_out: int
    """Faces that the two versions were compared on."""
    fidelity: Fidelity | PointFidelity
    fp32_ms: float
    """CPU milliseconds of one face, one thread, in float: on ONNX Runtime."""
    int8_ms: float
    """The same in INT8: on OpenVINO."""


def quantize_model(store: ModelStore, name: str, film: Path, faces: int) -> Quantized:
    """Quantise a swapper, a face enhancer or a landmarker for films like one.

    Args:
        store: has the model; the INT8 file goes there too, under its name with ``.int8``.
        film: its faces are what the ranges are measured on.
        faces: to calibrate with; a quarter more is held out for the check.

    Raises:
        ModelInexact: the INT8 version gives other pictures; it is not kept.
        SwapfarmError: it cannot be made.
    """
    spec, network = store.registry[name], store.path(name)
    spec = store.registry[name]  # with the hash of what has just been fetched
    tools = Toolbox(LaneKit(cache_dir=store.cache))
    rows = calibration_rows(name, film, store, tools, faces * HELD_OUT // (HELD_OUT - 1))
    held = rows[HELD_OUT // 2 :: HELD_OUT]
    learned = [row for place, row in enumerate(rows) if place % HELD_OUT != HELD_OUT // 2]
    exact = Onnx.load(network)
    try:
        with tempfile.TemporaryDirectory(dir=network.parent) as folder:
            draft = Path(folder, "int8.onnx")
            convolutions = quantize(network, learned, draft)
            fast = OpenVino.load(draft)
            fidelity = compared(spec, store, exact, fast, held)
            demand(fidelity, name)
            times = [_milliseconds(each, held) for each in (exact, fast)]
            small = replace(
                spec,
                name=name + INT8,
                about=f"{spec.about} (INT8, calibrated with {film.name})",
                source=f"{QUANTIZED}{spec.sha256}#{name}.onnx",
                mirrors=(),
            )
            store.keep(small, draft)
    except OSError as error:
        raise storage_error(error, str(network.parent)) from error
    return Quantized(
        path=str(store.path(name + INT8)),
        convolutions=convolutions,
        held_out=len(held),
        fidelity=fidelity,
        fp32_ms=times[0],
        int8_ms=times[1],
    )


def compared(
    spec: ModelSpec, store: ModelStore, exact: Runtime, fast: Runtime, held: Sequence[Row]
) -> Fidelity | PointFidelity:
    """How near a version of a network comes to the network, by what it is for."""
    if spec.name in READERS:
        return compare_points(exact, fast, held, Fan if spec.name == FAN else PeppaWutz)
    recogniser = ArcFace(Onnx.load(store.path(RECOGNISER)))
    return compare(
        exact,
        fast,
        held,
        signed=spec.range[0] < 0,
        embed=recogniser_of(recogniser, spec.template, spec.input[0]),
    )


def _milliseconds(network: Runtime, rows: Sequence[Row]) -> float:
    """CPU time of the quickest run; the first ones only warm up."""
    best = float("inf")
    for row in (*rows[:1], *rows[:3]):
        inputs = [row[tensor.name] for tensor in network.inputs]
        began = time.process_time()
        network.run(*inputs)
        best = min(best, time.process_time() - began)
    return best * 1e3
