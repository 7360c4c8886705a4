"""Networks in ONNX format on ONNX Runtime.

On its CPU kernels results are equal bit for bit for any batch size and number of threads (measured
with 1.31), as long as the graph optimisation and the kernels' version stay: both belong to a job.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from actors.inference.batches import in_ones
from actors.inference.ort import onnxruntime
from actors.inference.runtime import TensorSpec, unloadable

DTYPES: Final = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
}
FATAL_ONLY: Final = 3
CPU_PROVIDER: Final = "CPUExecutionProvider"
STANDIN: Final = "swapfarm_standin"
"""Key in a file's metadata that stand-ins carry (benchmarks/standins.py)."""


class Onnx:
    """A ``Runtime`` for ``.onnx`` files. Other dtypes than float32 are cast at the edge.

    A file whose batch size is fixed at 1 is run row by row; outputs are then joined along their
    first dimension, whatever it counts.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self._inputs = tuple(map(_spec, session.get_inputs()))
        self._outputs = tuple(map(_spec, session.get_outputs()))
        self._single = session.get_inputs()[0].shape[:1] == [1]

    @classmethod
    def load(cls, path: Path, *, threads: int = 1) -> Self:
        """See ``FileRuntime.load``."""
        return cls(open_session(path, threads, [CPU_PROVIDER]))

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self._outputs

    @property
    def standin(self) -> bool:
        """Whether the file says of itself that it is a stand-in for a model."""
        return STANDIN in self._session.get_modelmeta().custom_metadata_map

    def run(self, *inputs: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        """See ``Runtime.run``."""
        if self._single and len(inputs[0]) > 1:
            return in_ones(self.run, inputs)
        feed = {
            spec.name: value.astype(spec.dtype, copy=False)
            for spec, value in zip(self._inputs, inputs, strict=True)
        }
        results = self._session.run(None, feed)
        return tuple(np.asarray(result, np.float32) for result in results)


def open_session(path: Path, threads: int, providers: list[Any]) -> Any:
    """ONNX Runtime's session of a file: one operator after the other, in ``threads`` threads.

    Raises:
        ModelCorrupt: see ``FileRuntime.load``.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.enable_mem_pattern = True
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = FATAL_ONLY
    # A thread that waits must not burn the core that the decoder works on.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:
        # ONNX Runtime's exceptions share no base class of their own.
        if not type(error).__module__.startswith("onnxruntime"):
            raise
        raise unloadable(path, "ONNX", error) from error


def _spec(argument: Any) -> TensorSpec:
    # Sizes that the file leaves open have a name or nothing instead of a number.
    sizes = (size if isinstance(size, int) else 0 for size in argument.shape[1:])
    return TensorSpec(
        name=argument.name, shape=tuple(sizes), dtype=DTYPES.get(argument.type, argument.type)
    )
