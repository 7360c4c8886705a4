"""ONNX networks of a few nodes, whose answers are known by arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

from actors.inference.onnx import Onnx

Shape = Sequence[str | int]
Node = tuple[str, list[str], str, dict[str, object]]
"""Kind, inputs, output, attributes."""

FLOAT = TensorProto.FLOAT


def network(
    path: Path,
    *,
    inputs: dict[str, Shape],
    outputs: dict[str, Shape],
    nodes: Sequence[Node],
    constants: dict[str, ArrayLike] | None = None,
    kinds: dict[str, int] | None = None,
) -> Onnx:
    """A loaded network.

    Args:
        path: where its file goes.
        inputs, outputs: shapes with the batch dimension, in order.
        nodes: in order.
        constants: float32.
        kinds: element types of inputs that are not float32.
    """
    graph = helper.make_graph(
        [helper.make_node(kind, take, [give], **more) for kind, take, give, more in nodes],
        "small",
        [
            helper.make_tensor_value_info(name, (kinds or {}).get(name, FLOAT), list(shape))
            for name, shape in inputs.items()
        ],
        [helper.make_tensor_value_info(n, FLOAT, list(shape)) for n, shape in outputs.items()],
        [
            numpy_helper.from_array(np.asarray(value, np.float32), name)
            for name, value in (constants or {}).items()
        ],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), str(path))
    return Onnx.load(path)


def tinting_swapper(
    path: Path, size: int, *, mask: bool = False, source: Sequence[int] = (512,)
) -> Onnx:
    """target + 0.1 x the source's first three numbers, one to a channel.

    Args:
        mask: a second output, the target's green.
        source: shape of a row of the source; a picture's means stand for its numbers.
    """
    shape: Shape = ["n", 3, size, size]
    if len(source) == 1:
        who: list[Node] = [("Gather", ["source", "first"], "who", {"axis": 1})]
    else:
        who = [("ReduceMean", ["source"], "who", {"axes": [2, 3], "keepdims": 0})]
    outputs: dict[str, Shape] = {"output": shape}
    nodes: list[Node] = [
        *who,
        ("Reshape", ["who", "column"], "columns", {}),
        ("Mul", ["columns", "tenth"], "tint", {}),
        ("Add", ["target", "tint"], "output", {}),
    ]
    if mask:
        outputs["mask"] = ["n", 1, size, size]
        nodes += [
            ("Gather", ["target", "green"], "mask", {"axis": 1}),
        ]
    nodes = [
        ("Cast", ["first_"], "first", {"to": TensorProto.INT64}),
        ("Cast", ["column_"], "column", {"to": TensorProto.INT64}),
        ("Cast", ["green_"], "green", {"to": TensorProto.INT64}),
        *nodes,
    ]
    constants = {"tenth": 0.1, "first_": [0, 1, 2], "column_": [-1, 3, 1, 1], "green_": [1]}
    return network(
        path,
        inputs={"source": ["n", *source], "target": shape},
        outputs=outputs,
        nodes=nodes,
        constants=constants,
    )


def linear(path: Path, rows: ArrayLike, *, shape: Shape = ("n", 512)) -> Onnx:
    """x, flattened, times a matrix [numbers, out]."""
    matrix = np.asarray(rows, np.float32)
    return network(
        path,
        inputs={"input": shape},
        outputs={"output": ["n", matrix.shape[1]]},
        nodes=[("Flatten", ["input"], "flat", {}), ("MatMul", ["flat", "m"], "output", {})],
        constants={"m": matrix},
    )
