"""Makes a network's INT8 file: static quantisation of its convolutions, QDQ, per channel.

Ranges of activations come from calibration rows that look like the film at hand (min and max, no
outliers cut: what a swapper paints is in the outliers too). Convolutions that see the network's own
inputs or make its outputs stay in float: they are cheap, and there the steps would be seen. The
file keeps its inputs and outputs, so it is run like the one it was made of; it is fast in OpenVINO.

Needs the ``onnx`` package: ``pip install 'swapfarm[quantize]'``.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from actors.inference.ort import onnxruntime
from scheduler.errors import ModelCorrupt, SettingInvalid

WARNING: Final = 2
SEVERE: Final = 4
"""Of ONNX Runtime's log."""

Row = Mapping[str, NDArray[np.float32]]
"""One run's inputs by name, with a batch of 1."""


def quantize(network: Path, rows: Sequence[Row], target: Path) -> int:
    """Write the INT8 version of a network.

    Args:
        network: its ONNX file.
        rows: calibration inputs, at least one.
        target: where to write; its folder is also used for what is only needed meanwhile.

    Returns:
        How many convolutions are INT8.

    Raises:
        SettingInvalid: the ``onnx`` package is not installed.
        ModelCorrupt: the file is no network, or has no convolution between its first and last.
    """
    try:
        import onnx
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise SettingInvalid(
            f"the package {error.name} is not installed",
            "what quantising needs",
            "run `pip install 'swapfarm[quantize]'`",
        ) from error
    with _quiet(), tempfile.TemporaryDirectory(dir=target.parent) as folder:
        plain, draft = Path(folder, "plain.onnx"), Path(folder, "draft.onnx")
        try:
            # Constants folded, shapes written down: else ranges of constants would be measured.
            quant_pre_process(str(network), str(plain), skip_symbolic_shape=True)
            model = onnx.load(plain)
        except Exception as error:
            # It raises what the parser, the runtime or the shape inference raise.
            raise ModelCorrupt(
                f"{network} cannot be prepared for INT8 ({error})",
                "a readable .onnx file in float32",
                "`farm models verify` finds damaged files",
            ) from error
        inner, outer = _convolutions(model.graph)
        if not inner:
            raise ModelCorrupt(
                f"{network} has no convolution between its first and its last",
                "a network whose work is in its convolutions",
                "run it with --precision fp32",
            )
        quantize_static(
            str(plain),
            str(draft),
            _Reader(rows),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=outer,
        )
        small = onnx.load(draft)
        # What a file says of itself must not get lost: a stand-in stays a stand-in.
        del small.metadata_props[:]
        small.metadata_props.extend(onnx.load(network, load_external_data=False).metadata_props)
        onnx.save(small, target)
    return len(inner)


def _convolutions(graph: Any) -> tuple[list[str], list[str]]:
    """Names of the convolutions with others before and after them, and of the rest."""
    before: dict[str, bool] = {}
    order = []
    for node in graph.node:  # ONNX keeps them in the order of their data
        seen = any(before.get(name, False) for name in node.input)
        if node.op_type == "Conv":
            order.append((node, seen))
        for name in node.output:
            before[name] = seen or node.op_type == "Conv"
    after: dict[str, bool] = {}
    follows = {}
    for node in reversed(graph.node):
        seen = any(after.get(name, False) for name in node.output)
        follows[node.name] = seen
        for name in node.input:
            after[name] = after.get(name, False) or seen or node.op_type == "Conv"
    inner = [node.name for node, seen in order if seen and follows[node.name]]
    return inner, [node.name for node, _ in order if node.name not in inner]


class _Reader:
    """Calibration rows as ONNX Runtime asks for them."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._left = iter(rows)

    def get_next(self) -> Row | None:
        return next(self._left, None)

    def set_range(self, start_index: int, end_index: int) -> None:
        raise NotImplementedError(f"rows {start_index} to {end_index} of an iterator")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """ONNX Runtime's tools advise through two logs; what they do is decided above."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    onnxruntime.set_default_logger_severity(SEVERE)
    try:
        yield
    finally:
        logger.setLevel(level)
        onnxruntime.set_default_logger_severity(WARNING)
