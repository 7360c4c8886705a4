"""What the actors need of an inference runtime, and no more."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from scheduler.errors import ModelCorrupt


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input or output of a network."""

    name: str
    shape: tuple[int, ...]
    """Without the leading batch dimension."""
    dtype: str
    """NumPy's name."""


def unloadable(path: Path, format: str, error: Exception) -> ModelCorrupt:
    """The error of a file that a runtime cannot read.

    Args:
        format: what it should be: ONNX, LiteRT.
        error: what the runtime says.
    """
    return ModelCorrupt(
        found=f"{path} does not load as a network for {format} ({str(error).strip()})",
        wanted=f"a readable {path.suffix} file",
        next_step="`farm models verify` finds damaged files, `farm models pull` fetches them anew",
    )


class Runtime(Protocol):
    """A loaded network. One instance belongs to one thread at a time.

    Results depend on the inputs only: not on the batch they are in, on earlier runs, or on
    ``threads``.
    """

    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...

    def run(self, *inputs: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        """Run a batch.

        Args:
            inputs: one array [n, *shape] for each of ``self.inputs``, in that order.

        Returns:
            One array [n, *shape] for each of ``self.outputs``; the caller owns them.
        """
        ...


class FileRuntime(Runtime, Protocol):
    """A runtime that needs nothing but a file and a CPU."""

    @classmethod
    def load(cls, path: Path, *, threads: int = 1) -> Self:
        """Read a network from a file.

        Raises:
            ModelCorrupt: the file is missing or not a network of this runtime's format.
        """
        ...
