"""Networks in ONNX format on an NVIDIA GPU, by ONNX Runtime. Nothing here has run on a GPU yet."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

from actors.inference.onnx import CPU_PROVIDER, DTYPES, Onnx, open_session
from actors.inference.ort import onnxruntime
from kernels.cuda.device import Memory
from scheduler.errors import GpuUnavailable

GPU_PROVIDER: Final = "CUDAExecutionProvider"
GPU: Final = ("cuda", 0)
"""ONNX Runtime's words for the first visible GPU's memory."""


def gpu_options(stream: int | None) -> dict[str, str]:
    """What ONNX Runtime's CUDA provider is told.

    Args:
        stream: the driver's handle; None: it makes one of its own. 0 would be taken for none.
    """
    if stream == 0:
        raise ValueError("stream 0; wanted None or a stream's handle")
    options = {
        "device_id": "0",
        # Trying all algorithms takes seconds for each shape, and may choose another each time.
        "cudnn_conv_algo_search": "HEURISTIC",
        # Else products are rounded to 10 bits: more than the pixels of a face bear.
        "use_tf32": "0",
        # A copy in another stream may see memory that a later operator has taken already.
        "do_copy_in_default_stream": "1",
    }
    if stream is not None:
        options["user_compute_stream"] = str(stream)
    return options


class OnnxOnGpu(Onnx):
    """``Onnx`` on the first visible GPU.

    What the GPU has no kernel for, the processor does. Results may depend on the batch in the last
    bits, as cuDNN chooses its algorithms by shape.

    Args:
        session: ONNX Runtime's.
        stream: in which it works; None: one of its own.
        place: of the memory that ``enqueue`` is given.
    """

    def __init__(
        self, session: Any, stream: int | None = None, place: tuple[str, int] = GPU
    ) -> None:
        super().__init__(session)
        self._stream = stream
        self._place = place
        self._bindings = (
            *(_Tensor(each, is_input=True) for each in session.get_inputs()),
            *(_Tensor(each, is_input=False) for each in session.get_outputs()),
        )
        self._unawaited = onnxruntime.RunOptions()
        # Else the host waits for the stream at the end of each run.
        self._unawaited.add_run_config_entry("disable_synchronize_execution_providers", "1")

    @classmethod
    def open(cls, path: Path, stream: int | None = None) -> Self:
        """Read a network.

        Args:
            stream: of the kernels that fill its inputs and read its outputs.

        Raises:
            GpuUnavailable: this ONNX Runtime has no CUDA, or finds no GPU.
            ModelCorrupt: the file is missing or not a network.
        """
        if GPU_PROVIDER not in onnxruntime.get_available_providers():
            raise _without_cuda(f"ONNX Runtime {onnxruntime.__version__} here has no CUDA in it")
        with redirect_stdout(sys.stderr):  # it says there what it does not find
            # CUDA's libraries that pip has installed are found by nobody else.
            onnxruntime.preload_dlls()
        session = open_session(path, 1, [(GPU_PROVIDER, gpu_options(stream)), CPU_PROVIDER])
        if GPU_PROVIDER not in session.get_providers():
            # It warns on stderr and goes on without: what was asked for must not be slow in secret.
            raise _without_cuda("ONNX Runtime's CUDA libraries cannot be loaded, or find no GPU")
        return cls(session, stream)

    def room(self, rows: int) -> int:
        """Rows that memory given to ``enqueue`` must have room for: nothing is padded."""
        return rows

    def enqueue(self, rows: int, inputs: Sequence[Memory], outputs: Sequence[Memory]) -> None:
        """Start a run from device memory to device memory, in the stream. Nothing waits for it.

        The memory must be there until the stream has come past the run. A file whose batch is fixed
        at 1 is run row by row.

        Args:
            rows: at least one.
            inputs: one for each of ``self.inputs``: rows of that dtype one after the other; where
                the file fixes an input's first size, and not the batch, that input once.
            outputs: the same for ``self.outputs``.

        Raises:
            ValueError: the session has no stream of the caller's, memory is too short, or the file
                leaves a size open.
        """
        if self._stream is None:
            raise ValueError("a session in a stream of its own; wanted one in the kernels' stream")
        runs = rows if self._single else 1
        places = list(zip(self._bindings, (*inputs, *outputs), strict=True))
        for tensor, memory in places:
            wanted = tensor.nbytes(rows // runs) * runs
            if memory.nbytes < wanted:
                raise ValueError(f"{tensor.name} has {memory.nbytes} bytes; wanted {wanted}")
        for run in range(runs):
            binding = self._session.io_binding()
            for tensor, memory in places:
                nbytes = tensor.nbytes(rows // runs)
                bind = binding.bind_input if tensor.is_input else binding.bind_output
                bind(
                    *(tensor.name, *self._place, tensor.dtype.type),
                    *(tensor.shape(rows // runs), memory.pointer + run * nbytes),
                )
            self._session.run_with_iobinding(binding, self._unawaited)


class _Tensor:
    """An input or output, with its batch.

    Args:
        argument: ONNX Runtime's description.
    """

    def __init__(self, argument: Any, *, is_input: bool) -> None:
        self.name: str = argument.name
        self.is_input = is_input
        self.dtype = np.dtype(DTYPES[argument.type])
        self._shape = list(argument.shape)

    def shape(self, rows: int) -> tuple[int, ...]:
        """
        Raises:
            ValueError: the file leaves more open than how many rows there are.
        """
        first, *rest = self._shape or [1]
        if not all(isinstance(size, int) for size in rest):
            raise ValueError(
                f"{self.name} has the shape {self._shape}; wanted sizes that are known"
            )
        if not self._shape:
            return ()
        return (first if isinstance(first, int) else rows, *rest)

    def nbytes(self, rows: int) -> int:
        return int(np.prod(self.shape(rows), dtype=np.int64)) * self.dtype.itemsize


def _without_cuda(found: str) -> GpuUnavailable:
    return GpuUnavailable(
        found,
        "ONNX Runtime for CUDA, for networks on the GPU",
        "choose --device tensorrt, or install onnxruntime-gpu in the place of onnxruntime "
        "(docs/gpu-lane.md); `farm doctor` says what is there",
    )
