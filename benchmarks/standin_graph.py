"""A small builder of ONNX graphs: nodes, seeded weights, and the count of multiplications."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET: Final = 17
IR_VERSION: Final = 9
"""Understood by every runtime that is used here."""
STANDIN: Final = "swapfarm_standin"
"""Key in the file's metadata; "1" in stand-ins."""

Array = NDArray[Any]
Value = str
"""Name of a tensor in the graph."""


class Graph:
    """An ONNX graph in the making. The same calls with the same seed give the same bytes."""

    def __init__(self, name: str, seed: int, batch: str | int = "batch") -> None:
        self.name = name
        self.batch = batch
        self._random = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._count = 0

    def input(self, name: str, *shape: int | str, kind: int = TensorProto.FLOAT) -> Value:
        """Declare an input with the leading batch dimension that all of the graph's share."""
        sizes = [self.batch, *shape]
        self._inputs.append(helper.make_tensor_value_info(name, kind, sizes))
        return name

    def plain_input(self, name: str, *shape: int, kind: int) -> Value:
        """Declare an input that has no batch dimension."""
        self._inputs.append(helper.make_tensor_value_info(name, kind, list(shape)))
        return name

    def output(
        self, name: str, value: Value, *shape: int | str, kind: int = TensorProto.FLOAT
    ) -> None:
        """Name a value as an output; ``shape`` is the whole of it, with any batch dimension."""
        self._nodes.append(helper.make_node("Identity", [value], [name], name=name))
        self._outputs.append(helper.make_tensor_value_info(name, kind, list(shape)))

    def weight(self, array: Any, name: str = "") -> Value:
        """A constant: float32, except arrays of integers (int64) and of float16."""
        whole = isinstance(array, np.ndarray) and array.dtype.kind in "iu"
        array = np.asarray(array)
        if array.dtype != np.float16:
            array = array.astype(np.int64 if whole else np.float32)
        self._count += 1
        name = name or f"w{self._count}"
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def random(self, *shape: int, gain: float = 1.0) -> NDArray[np.float32]:
        """Normal numbers with the variance that keeps a layer's output as large as its input."""
        fan_in = int(np.prod(shape[1:])) or 1
        numbers = self._random.standard_normal(shape, np.float32)
        return numbers * np.float32(gain * np.sqrt(1.0 / fan_in))

    def op(self, kind: str, *inputs: Value, **attributes: Any) -> Value:
        """Add a node with one output."""
        return self.ops(kind, 1, *inputs, **attributes)[0]

    def ops(self, kind: str, outputs: int, *inputs: Value, **attributes: Any) -> list[Value]:
        self._count += 1
        names = [f"{kind}{self._count}" + (f"_{i}" if i else "") for i in range(outputs)]
        self._nodes.append(helper.make_node(kind, list(inputs), names, names[0], **attributes))
        return names

    def add(self, a: Value, b: Any) -> Value:
        return self.op("Add", a, self._value(b))

    def sub(self, a: Any, b: Any) -> Value:
        return self.op("Sub", self._value(a), self._value(b))

    def mul(self, a: Value, b: Any) -> Value:
        return self.op("Mul", a, self._value(b))

    def div(self, a: Value, b: Any) -> Value:
        return self.op("Div", a, self._value(b))

    def clip(self, a: Value, low: float, high: float) -> Value:
        return self.op("Clip", a, self._value(low), self._value(high))

    def sum(self, a: Value, *axes: int) -> Value:
        """Sums over axes, which stay with size 1."""
        return self.op("ReduceSum", a, self.weight(np.array(axes)), keepdims=1)

    def reshape(self, a: Value, *shape: int) -> Value:
        """As ONNX: 0 keeps a size, -1 is what is left."""
        return self.op("Reshape", a, self.weight(np.array(shape)))

    def slice(self, a: Value, axis: int, start: int, stop: int) -> Value:
        numbers = (self.weight(np.array([number])) for number in (start, stop, axis))
        return self.op("Slice", a, *numbers)

    def concat(self, values: Sequence[Value], axis: int) -> Value:
        return self.op("Concat", *values, axis=axis)

    def conv(
        self, x: Value, cin: int, cout: int, size: int = 3, stride: int = 1, gain: float = 1.4
    ) -> Value:
        """A convolution with random weights and borders that keep the grid's size / stride."""
        weights = self.weight(self.random(cout, cin, size, size, gain=gain))
        bias = self.weight(np.zeros(cout))
        before = (size - 1) // 2
        after = size - 1 - before if stride == 1 else max(size - stride - before, 0)
        pads = [before, before, after, after]
        return self.op("Conv", x, weights, bias, strides=[stride, stride], pads=pads)

    def dense(self, x: Value, matrix: Array, bias: Array | None = None) -> Value:
        """x [n, k] @ matrix [k, m] + bias [m]."""
        bias = np.zeros(matrix.shape[1]) if bias is None else bias
        return self.op("Gemm", x, self.weight(matrix), self.weight(bias))

    def resize(self, x: Value, times: int, mode: str = "nearest") -> Value:
        scales = self.weight(np.array([1, 1, times, times], np.float32))
        return self.op(
            "Resize",
            *(x, "", scales),
            mode=mode,
            coordinate_transformation_mode="half_pixel" if mode == "linear" else "asymmetric",
            nearest_mode="floor",
        )

    def model(self, about: str) -> onnx.ModelProto:
        """The finished network, checked; says in its metadata that it is a stand-in."""
        graph = helper.make_graph(
            self._nodes, self.name, self._inputs, self._outputs, self._weights
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="swapfarm stand-in",
            doc_string=about,
        )
        helper.set_model_props(model, {STANDIN: "1", "model": self.name})
        onnx.checker.check_model(model, full_check=True)
        return model

    def _value(self, thing: Any) -> Value:
        return thing if isinstance(thing, str) else self.weight(np.asarray(thing, np.float32))


def count_macs(model: onnx.ModelProto, batch: int = 1) -> int:
    """Multiply-accumulates of a network's convolutions and matrix products, from its shapes."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for value in fixed.graph.input:
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param:
                size.dim_value = batch
    inferred = onnx.shape_inference.infer_shapes(fixed, data_prop=True).graph
    shapes = {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*inferred.value_info, *inferred.input, *inferred.output)
    }
    shapes |= {tensor.name: list(tensor.dims) for tensor in inferred.initializer}
    total = 0
    for node in inferred.node:
        if node.op_type == "Conv":  # each output sees all of one output channel's weights
            total += int(np.prod(shapes[node.output[0]]) * np.prod(shapes[node.input[1]][1:]))
        elif node.op_type in ("Gemm", "MatMul"):
            total += int(np.prod(shapes[node.output[0]]) * shapes[node.input[1]][0])
    return total
