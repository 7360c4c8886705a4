"""Networks in TensorFlow Lite's format on LiteRT's CPU kernels (XNNPACK).

For the two small networks of the analysis LiteRT on one thread is the fastest runtime measured
here: the same face mesh takes three times as long in ONNX Runtime.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from actors.inference.runtime import TensorSpec, unloadable


class LiteRt:
    """A ``Runtime`` for ``.tflite`` files with float32 tensors and a batch dimension of 1."""

    # File descriptor 2 belongs to the process, so its guard does too.
    _stderr: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, interpreter: Any) -> None:
        self._interpreter = interpreter
        self._inputs = interpreter.get_input_details()
        self._outputs = interpreter.get_output_details()

    @classmethod
    def load(cls, path: Path, *, threads: int = 1) -> Self:
        """See ``FileRuntime.load``."""
        try:
            content = path.read_bytes()
            with cls._without_greeting():
                # The interpreter keeps a reference to the bytes it was given.
                interpreter = Interpreter(model_content=content, num_threads=threads)
                interpreter.allocate_tensors()
        except (OSError, ValueError, RuntimeError) as error:
            raise unloadable(path, "LiteRT", error) from error
        return cls(interpreter)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return tuple(map(_spec, self._inputs))

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return tuple(map(_spec, self._outputs))

    def run(self, *inputs: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        """See ``Runtime.run``. Rows run one after the other: these networks are fixed at 1."""
        rows = len(inputs[0])
        results = tuple(np.empty((rows, *spec.shape), np.float32) for spec in self.outputs)
        for row in range(rows):
            for detail, value in zip(self._inputs, inputs, strict=True):
                self._interpreter.set_tensor(detail["index"], value[row : row + 1])
            self._interpreter.invoke()
            for detail, result in zip(self._outputs, results, strict=True):
                result[row] = self._interpreter.get_tensor(detail["index"])[0]
        return results

    @classmethod
    @contextmanager
    def _without_greeting(cls) -> Iterator[None]:
        """Hold back what LiteRT writes to file descriptor 2 while it loads; pass on all but INFO.

        LiteRT 2.3 announces its delegate for every network and has no switch for it; the line
        would tear the live progress display.
        """
        # In memory: a full disk would else be told as a damaged network.
        with cls._stderr, os.fdopen(os.memfd_create("litert"), "w+b") as held:
            sys.stderr.flush()
            saved = os.dup(2)
            os.dup2(held.fileno(), 2)
            try:
                yield
            finally:
                os.dup2(saved, 2)
                os.close(saved)
                held.seek(0)
                for line in held.readlines():
                    if not line.startswith(b"INFO: "):
                        os.write(2, line)


def _spec(detail: dict[str, Any]) -> TensorSpec:
    return TensorSpec(
        name=str(detail["name"]),
        shape=tuple(int(size) for size in detail["shape"][1:]),
        dtype=np.dtype(detail["dtype"]).name,
    )
