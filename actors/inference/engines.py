"""What is asked of TensorRT, and no more: make a plan of a network, load a plan, run it.

``actors.inference.tensorrt_package`` asks the real package. The tests have one that computes with
ONNX Runtime and knows the rules that TensorRT has. Answers that TensorRT gives as a bool cross
this line as a bool: to look at them is the caller's duty, and the tests see to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from kernels.cuda.device import Memory

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
"""Of inputs by name, with their batch."""


class EngineRefused(RuntimeError):
    """TensorRT does not take a network; the message is what it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """What a plan is good for, and nothing else."""

    tensorrt: str
    """Its version."""
    cuda: str
    """Version of the CUDA runtime."""
    gpu: str
    """The GPU's name."""
    capability: str
    """Its compute capability: "9.0"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildFlags:
    """How an engine is made; parts of its results."""

    tf32: bool = False
    """Products of float32 numbers may be rounded to 10 bits first (faster, as half floats are)."""
    effort: int = 3
    """0..5: how long the builder looks for faster kernels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """An input or output of a network."""

    name: str
    dtype: str
    """NumPy's name."""
    shape: Shape
    """-1: left open."""
    is_input: bool


class Draft(Protocol):
    """A network that was read and is not built yet."""

    @property
    def inputs(self) -> tuple[Tensor, ...]: ...

    def build(
        self, profiles: Sequence[Shapes], flags: BuildFlags, timing: bytes
    ) -> tuple[bytes, bytes]:
        """Make a plan for exactly these shapes, one profile for each; takes minutes.

        Args:
            profiles: no inputs in one where the network leaves nothing open.
            timing: what earlier builds measured on such a platform, b"" for nothing; what does not
                belong to this one is not used.

        Returns:
            The plan, and what is known of timing after it.

        Raises:
            MemoryError: the GPU's memory is not enough for these shapes.
            EngineRefused: it cannot be built.
        """
        ...


class Graph(Protocol):
    """Work that was recorded with all its addresses."""

    def launch(self, stream: int) -> None: ...


class Context(Protocol):
    """One use of an engine. What is false was not done."""

    def use_profile(self, profile: int, stream: int) -> bool: ...

    def use_memory(self, pointer: int, nbytes: int) -> None:
        """Where it keeps what is between its layers; as long as it runs."""
        ...

    def set_shape(self, name: str, shape: Shape) -> bool: ...

    def unknown(self) -> tuple[str, ...]:
        """Inputs whose shapes are still open."""
        ...

    def shape(self, name: str) -> Shape:
        """Of an output, once the inputs' are known; -1: known only after a run."""
        ...

    def set_address(self, name: str, pointer: int) -> bool: ...

    def enqueue(self, stream: int) -> bool:
        """Start it on a stream; false: it was not started.

        Raises:
            MemoryError: the GPU's memory is not enough.
        """
        ...

    def record(self, stream: int) -> Graph | None:
        """What ``enqueue`` would start, to be started later; None: cannot be recorded.

        Must have run once before with the same shapes.
        """
        ...

    @property
    def complaint(self) -> str:
        """What TensorRT said last of what went wrong."""
        ...


class Engine(Protocol):
    """A plan that was loaded."""

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Inputs and outputs, each in the network's order."""
        ...

    @property
    def profiles(self) -> int: ...

    def workspace(self, profile: int) -> int:
        """Bytes that a context needs between its layers."""
        ...

    def context(self) -> Context:
        """
        Raises:
            MemoryError: the GPU's memory is not enough.
        """
        ...


class TensorRtApi(Protocol):
    """TensorRT on one GPU."""

    @property
    def platform(self) -> Platform: ...

    def read(self, network: Path) -> Draft:
        """
        Raises:
            EngineRefused: the file is missing, no network, or has what TensorRT cannot do.
        """
        ...

    def load(self, plan: bytes) -> Engine | None:
        """None: damaged, or made for another platform.

        Raises:
            MemoryError: the GPU's memory is not enough for its weights.
        """
        ...


class StreamDevice(Protocol):
    """One GPU and one stream of it: a ``kernels.cuda.device.Device`` that names its stream."""

    @property
    def stream(self) -> int:
        """CUDA's handle. What is asked of the device is done on it, in order."""
        ...

    def reserve(self, nbytes: int) -> Memory: ...

    def write(self, pointer: int, pitch: int, rows: NDArray[Any]) -> None: ...

    def read(self, pointer: int, pitch: int, rows: NDArray[Any]) -> None: ...
