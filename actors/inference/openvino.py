"""Networks in ONNX format on OpenVINO's CPU kernels: opt-in, for INT8 above all.

A file that is quantised statically (actors/quantizer.py) runs here three to four times as fast as
in float, in ONNX Runtime less than twice. The package is an extra: ``pip install
swapfarm[openvino]``.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from actors.inference.batches import in_ones
from actors.inference.runtime import TensorSpec, unloadable
from scheduler.errors import SettingInvalid

DTYPES: Final = {"f32": "float32", "f16": "float16", "i64": "int64"}


class OpenVino:
    """A ``Runtime`` for ``.onnx`` files. Other dtypes than float32 are cast at the edge.

    float32 stays float32: by itself OpenVINO computes in bfloat16 where a CPU can.
    """

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._request = compiled.create_infer_request()
        self._inputs = tuple(map(_spec, compiled.inputs))
        self._outputs = tuple(map(_spec, compiled.outputs))
        first = compiled.inputs[0].get_partial_shape()
        self._single = bool(first.rank.get_length() and first[0].is_static and first[0] == 1)

    @staticmethod
    def installed() -> bool:
        """Whether the package is here; says nothing about whether it works."""
        return find_spec("openvino") is not None

    @classmethod
    def load(cls, path: Path, *, threads: int = 1) -> Self:
        """See ``FileRuntime.load``.

        Raises:
            SettingInvalid: OpenVINO is not installed.
        """
        try:
            import openvino  # an extra, 180 MB
        except ImportError as error:
            raise SettingInvalid(
                "OpenVINO is not installed",
                "the package that runs networks in INT8",
                "run `pip install 'swapfarm[openvino]'`, or choose --precision fp32",
            ) from error

        core = openvino.Core()
        try:
            model = core.read_model(str(path))
            for port in model.inputs:
                # Its kernels fail on some mixes with float64; no input here needs it.
                if port.get_element_type() == openvino.Type.f64:
                    port.get_node().set_element_type(openvino.Type.f32)
            model.validate_nodes_and_infer_types()
            compiled = core.compile_model(
                model,
                "CPU",
                {
                    "INFERENCE_NUM_THREADS": threads,
                    "NUM_STREAMS": 1,
                    "INFERENCE_PRECISION_HINT": "f32",
                    "ENABLE_CPU_PINNING": False,
                },
            )
        except RuntimeError as error:
            raise unloadable(path, "ONNX", error) from error
        return cls(compiled)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self._outputs

    def run(self, *inputs: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        """See ``Runtime.run``."""
        if self._single and len(inputs[0]) > 1:
            return in_ones(self.run, inputs)
        feed = [
            np.ascontiguousarray(value, spec.dtype)
            for spec, value in zip(self._inputs, inputs, strict=True)
        ]
        self._request.infer(feed, share_inputs=True)
        # The request's own tensors are written anew by the next run.
        return tuple(
            np.array(self._request.get_output_tensor(place).data, np.float32)
            for place in range(len(self._outputs))
        )


def _spec(port: Any) -> TensorSpec:
    sizes = [
        size.get_length() if size.is_static else 0 for size in list(port.get_partial_shape())[1:]
    ]
    kind = port.get_element_type().get_type_name()
    # A tensor may have gathered more names while the graph was simplified; its node keeps its own.
    name = port.get_node().get_friendly_name().partition("/sink_port_")[0]
    return TensorSpec(name=name, shape=tuple(sizes), dtype=DTYPES.get(kind, str(kind)))
