"""Makes a model's FP16 file, and keeps it only if it does on faces what the float32 one does."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from actors.calibration import calibration_rows
from actors.fidelity import Fidelity, PointFidelity, demand
from actors.half import rehearse, to_half
from actors.inference.onnx import Onnx
from actors.models import FP16, QUANTIZED, ModelStore
from actors.toolbox import LaneKit, Toolbox
from farm.quantizing import compared
from scheduler.errors import storage_error


@dataclass(frozen=True, slots=True, kw_only=True)
class Halved:
    """What came of it."""

    path: str
    nodes: int
    """That give half floats."""
    faces: int
    """That the two versions were compared on."""
    fidelity: Fidelity | PointFidelity


def halve_model(store: ModelStore, name: str, film: Path, faces: int) -> Halved:
    """Make the FP16 version of a swapper, a face enhancer or a landmarker for GPUs.

    Args:
        store: has the model; the FP16 file goes there too, under its name with ``.fp16``.
        film: its faces are what the two versions are compared on.
        faces: how many.

    Raises:
        ModelInexact: the FP16 version gives other pictures; it is not kept.
        SwapfarmError: it cannot be made.
    """
    spec, network = store.registry[name], store.path(name)
    spec = store.registry[name]  # with the hash of what has just been fetched
    tools = Toolbox(LaneKit(cache_dir=store.cache))
    rows = calibration_rows(name, film, store, tools, faces)
    try:
        with tempfile.TemporaryDirectory(dir=network.parent) as folder:
            draft, trial = Path(folder, "fp16.onnx"), Path(folder, "trial.onnx")
            nodes = to_half(network, draft)
            rehearse(draft, trial)
            fidelity = compared(spec, store, Onnx.load(network), Onnx.load(trial), rows)
            demand(fidelity, name, "FP16")
            small = replace(
                spec,
                name=name + FP16,
                about=f"{spec.about} (FP16, compared on {film.name})",
                source=f"{QUANTIZED}{spec.sha256}#{name}.onnx",
                mirrors=(),
            )
            store.keep(small, draft)
    except OSError as error:
        raise storage_error(error, str(network.parent)) from error
    return Halved(
        path=str(store.path(name + FP16)), nodes=nodes, faces=len(rows), fidelity=fidelity
    )
