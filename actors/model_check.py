"""Runs a model on a picture that is drawn here, and says whether it does what the registry says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from actors.inference.litert import LiteRt
from actors.inference.onnx import Onnx
from actors.inference.planes import scale_in, scale_out
from actors.inference.runtime import Runtime, TensorSpec
from actors.registry import ModelSpec
from kernels.templates import template_points
from scheduler.errors import SettingInvalid

Floats = NDArray[np.float32]

PICTURES: Final = ("swapper", "enhancer")
"""Kinds whose first output is the picture that went in, changed."""
STRANGE: Final = 0.3
"""Mean difference (of 0..1) at which a picture that comes out is not the one that went in."""
FLAT: Final = 0.6
"""Share of its range that a picture of a face takes up at least."""
NUMBERS: Final = 20.0
"""Length of a recogniser's embedding, about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCheck:
    """What one run showed."""

    inputs: tuple[str, ...]
    """Name and shape of each, as the file has them; 0: any size."""
    outputs: tuple[str, ...]
    """Name, shape and range of values of each."""
    problems: tuple[str, ...]
    """What does not fit the registry; empty: all does."""
    standin: bool
    """The file says of itself that it only has the model's shape."""


def drawn_face(width: int, height: int) -> Floats:
    """float32 [height, width, 3] R'G'B' 0..1: a plain face from the front, the same each time.

    Its eyes, nose and mouth are where ``arcface_128`` has them, in a square in the middle.
    """
    side = min(width, height)
    picture = np.full((height, width, 3), (0.35, 0.4, 0.45), np.float32)
    corner = np.array([(width - side) / 2, (height - side) / 2])
    points = template_points("arcface_128", side) + corner
    eyes, nose, mouth = points[:2], points[2], points[3:]

    def oval(
        centre: NDArray[np.floating], size: tuple[float, float], colour: tuple[float, ...]
    ) -> None:
        axes = (max(1, round(size[0] * side)), max(1, round(size[1] * side)))
        middle = (round(float(centre[0])), round(float(centre[1])))
        cv2.ellipse(picture, middle, axes, 0, 0, 360, colour, -1, cv2.LINE_AA)

    oval(nose - [0, 0.05 * side], (0.42, 0.48), (0.3, 0.2, 0.15))  # hair
    oval(nose, (0.36, 0.42), (0.85, 0.62, 0.5))
    for eye in eyes:
        oval(eye, (0.07, 0.035), (0.95, 0.95, 0.95))
        oval(eye, (0.03, 0.03), (0.2, 0.15, 0.1))
        oval(eye - [0, 0.08 * side], (0.09, 0.015), (0.3, 0.2, 0.15))
    oval(nose, (0.05, 0.04), (0.75, 0.5, 0.4))
    oval(mouth.mean(axis=0), (0.12, 0.035), (0.7, 0.3, 0.3))
    # Light from the left, and some grain: nothing that a network meets is flat.
    light = np.linspace(1.05, 0.85, width, dtype=np.float32)[None, :, None]
    grain = np.random.default_rng(0).normal(0, 0.01, picture.shape).astype(np.float32)
    drawn: Floats = np.clip(picture * light + grain, 0, 1)
    return drawn


def check_model(spec: ModelSpec, path: Path) -> ModelCheck:
    """Run a model once.

    Args:
        spec: what the registry says of it.
        path: its file.

    Raises:
        ModelCorrupt: the file is no network of its format.
        SettingInvalid: nothing can be checked: no network, or none that is run from here.
    """
    network: Runtime
    if path.suffix == ".onnx":
        network = onnx = Onnx.load(path)
        standin = onnx.standin
    elif path.suffix == ".tflite":
        network, standin = LiteRt.load(path), False
    else:
        raise SettingInvalid(
            f"{spec.name} ({spec.kind}), a file of {path.suffix or 'no known'} format",
            "a network in ONNX or TensorFlow Lite format",
            f"`farm models verify {spec.name}` checks its file",
        )
    problems = _misfits(spec, network)
    if problems:
        return ModelCheck(
            inputs=tuple(map(_told, network.inputs)),
            outputs=tuple(map(_told, network.outputs)),
            problems=tuple(problems),
            standin=standin,
        )
    feed = {tensor.name: _fill(spec, tensor) for tensor in network.inputs}
    results = network.run(*(feed[tensor.name] for tensor in network.inputs))
    return ModelCheck(
        inputs=tuple(map(_told, network.inputs)),
        outputs=tuple(
            f"{tensor.name} {list(result.shape)} {result.min():.4g} to {result.max():.4g}"
            for tensor, result in zip(network.outputs, results, strict=True)
        ),
        problems=tuple(_surprises(spec, feed, results)),
        standin=standin,
    )


def _misfits(spec: ModelSpec, network: Runtime) -> list[str]:
    """What keeps a model from being run as the registry says."""
    found = {tensor.name: tensor.shape for tensor in network.inputs}
    problems = []
    for name, shape in spec.inputs:
        if name not in found:
            problems.append(f"no input {name!r}; its inputs are {', '.join(found)}")
        elif not _fits(found[name], shape[1:]):
            problems.append(f"input {name!r} is {list(found[name])}, not {list(shape[1:])}")
    extra = sorted(set(found) - {name for name, _ in spec.inputs})
    if spec.inputs and extra:
        problems.append(f"inputs that the registry does not know: {', '.join(extra)}")
    if spec.outputs and len(network.outputs) != len(spec.outputs):
        problems.append(f"{len(network.outputs)} outputs, not {len(spec.outputs)}")
    return problems


def _fits(have: tuple[int, ...], want: tuple[int, ...]) -> bool:
    return len(have) == len(want) and all(a in (0, b) for a, b in zip(have, want, strict=True))


def _fill(spec: ModelSpec, tensor: TensorSpec) -> Floats:
    """One row of what an input takes."""
    shape = dict(spec.inputs).get(tensor.name, (1, *tensor.shape))
    if len(shape) == 4:
        channels_last = shape[3] == 3
        height, width = shape[1:3] if channels_last else shape[2:]
        plain = drawn_face(width, height)
        if spec.colour == "bgr":
            plain = plain[..., ::-1]
        planes = np.ascontiguousarray(plain.transpose(2, 0, 1))[None]
        # A source picture is taken as it is.
        if tensor.name != "source":
            scale_in(planes, spec.mean, spec.std)
        return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)) if channels_last else planes
    if shape[1:] == (5, 2):
        return template_points("ffhq_512", 1.0).astype(np.float32)[None]
    if shape == (1,):
        return np.full(1, 0.5, np.float32)
    row = np.random.default_rng(0).standard_normal(shape, np.float32)
    row /= np.linalg.norm(row)
    return row if spec.kind == "swapper" else row * np.float32(NUMBERS)


def _surprises(
    spec: ModelSpec, feed: Mapping[str, Floats], results: tuple[Floats, ...]
) -> list[str]:
    """What of a run's results is not as the registry says."""
    problems = []
    for place, (result, shape) in enumerate(zip(results, spec.outputs, strict=False)):
        if result.shape != shape:
            problems.append(f"output {place} is {list(result.shape)}, not {list(shape)}")
        if not np.isfinite(result).all():
            problems.append(f"output {place} has numbers that are none")
    low, high = spec.range
    if problems or low == high:
        return problems
    first = results[0]
    # Networks overshoot: a tenth of the span is nothing to worry about.
    slack = 0.1 * (high - low)
    if first.min() < low - slack or first.max() > high + slack:
        problems.append(
            f"output 0 has values of {first.min():.4g} to {first.max():.4g}, "
            f"not of {low:g} to {high:g}"
        )
    elif spec.kind in PICTURES:
        target = feed["target" if "target" in feed else "input"]
        before = target * np.reshape(spec.std, (1, 3, 1, 1)) + np.reshape(spec.mean, (1, 3, 1, 1))
        after = first.copy()
        scale_out(after, signed=low < 0)
        if first.max() - first.min() < FLAT * (high - low):
            problems.append(
                f"output 0 has values of {first.min():.4g} to {first.max():.4g} only, "
                f"for a picture of {low:g} to {high:g}"
            )
        strange = float(abs(after - before).mean())
        if strange > STRANGE:
            problems.append(f"the picture that comes out is another one ({strange:.2f} off)")
    return problems


def _told(tensor: TensorSpec) -> str:
    return f"{tensor.name} {list(tensor.shape)}"
