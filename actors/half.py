"""Makes a network's FP16 file: half floats inside, its inputs and outputs as they were.

TensorRT computes in the types that the file has, so this is where half floats come from. What adds
up many numbers, divides by what it has added up, or takes powers stays in float32: half floats end
at 65504 and have 11 bits.

``rehearse`` makes of such a file one whose numbers are a GPU's on any processor: computed in
float32, rounded to half floats wherever the file has half floats. Running the file itself would not
do: ONNX Runtime's CPU kernels take the rounding out again, overflow and all. What it does not show
is a GPU that adds up in half floats, too.

Needs the ``onnx`` package: ``pip install 'swapfarm[quantize]'``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from scheduler.errors import ModelCorrupt, SettingInvalid

IN_FLOAT: Final = (
    *("InstanceNormalization", "LayerNormalization", "GroupNormalization", "LpNormalization"),
    *("ReduceMean", "ReduceSum", "ReduceL2", "ReduceSumSquare", "GlobalAveragePool"),
    *("Pow", "Sqrt", "Reciprocal", "Div", "Exp", "Log", "Softmax", "LogSoftmax"),
)
"""Kinds of nodes that stay in float32, with those of the converter's own list."""

WORK: Final = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Kinds of nodes that are worth it."""


def to_half(network: Path, target: Path) -> int:
    """Write the FP16 version of a network.

    Args:
        network: its ONNX file.
        target: where to write.

    Returns:
        How many of its nodes give half floats.

    Raises:
        SettingInvalid: the ``onnx`` package is not installed.
        ModelCorrupt: the file is no network, or has nothing that could be in half floats.
    """
    onnx = _onnx()
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    try:
        model = onnx.load(network)
        metadata = list(model.metadata_props)
        small = convert_float_to_float16(
            model, keep_io_types=True, op_block_list=[*DEFAULT_OP_BLOCK_LIST, *IN_FLOAT]
        )
    except Exception as error:
        # It raises what the parser, the converter or the shape inference raise.
        raise ModelCorrupt(
            f"{network} cannot be made FP16 ({error})",
            "a readable .onnx file in float32",
            "`farm models verify` finds damaged files",
        ) from error
    _drop_doubles(small.graph)
    halves = _halves(onnx, small)
    count = sum(any(name in halves for name in node.output) for node in small.graph.node)
    work = (node for node in small.graph.node if node.op_type in WORK)
    if not any(node.output[0] in halves for node in work):
        raise ModelCorrupt(
            f"{network} has no work that could be in half floats",
            "a network of convolutions or products in float32",
            "run it with --precision fp32",
        )
    # What a file says of itself must not get lost: a stand-in stays a stand-in.
    del small.metadata_props[:]
    small.metadata_props.extend(metadata)
    onnx.save(small, target)
    return count


def rehearse(half: Path, target: Path) -> None:
    """Write a float32 network with the numbers that an FP16 one has on a GPU.

    Args:
        half: an ONNX file of ``to_half``.
        target: where to write.

    Raises:
        SettingInvalid: the ``onnx`` package is not installed.
    """
    onnx = _onnx()
    model = onnx.load(half)
    halves = _halves(onnx, model)
    kinds, make = onnx.TensorProto, onnx.helper.make_node
    nodes = []
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                _widen(onnx, attribute.t)
            elif node.op_type == "Cast" and attribute.name == "to":
                attribute.i = kinds.FLOAT if attribute.i == kinds.FLOAT16 else attribute.i
        nodes.append(node)
        for place, name in enumerate(node.output):
            if name in halves:
                node.output[place] = f"{name} exact"
                nodes.append(make("Cast", [f"{name} exact"], [f"{name} half"], to=kinds.FLOAT16))
                nodes.append(make("Cast", [f"{name} half"], [name], to=kinds.FLOAT))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    for constant in model.graph.initializer:
        _widen(onnx, constant)
    del model.graph.value_info[:]
    onnx.save(model, target)


def _onnx() -> Any:
    try:
        import onnx
        import onnx.shape_inference
    except ImportError as error:
        raise SettingInvalid(
            "the package onnx is not installed",
            "what making FP16 files needs",
            "run `pip install 'swapfarm[quantize]'`",
        ) from error
    return onnx


def _drop_doubles(graph: Any) -> None:
    """The converter casts what several nodes need in float32 once for each, under one name."""
    once = {node.output[0]: node for node in reversed(graph.node)}
    kept = [node for node in graph.node if once[node.output[0]] is node]
    infos = {each.name: each for each in graph.value_info}
    for held, those in ((graph.node, kept), (graph.value_info, list(infos.values()))):
        del held[:]
        held.extend(those)


def _halves(onnx: Any, model: Any) -> set[str]:
    """Names of what is in half floats between nodes."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    return {
        each.name
        for each in (*graph.value_info, *graph.output)
        if each.type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
    }


def _widen(onnx: Any, tensor: Any) -> None:
    """Half floats of a constant to the same numbers in float32."""
    if tensor.data_type == onnx.TensorProto.FLOAT16:
        values = onnx.numpy_helper.to_array(tensor).astype("float32")
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
