"""An engine for one number of rows, with the work of each set of addresses recorded once.

A network of some hundred layers takes the host longer to start than a GPU to run; a recorded graph
is started at once. Its addresses are part of it: a lane's slots stay where they are, so few graphs
are needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from actors.inference.engines import Engine, Graph, Shape, Shapes
from kernels.cuda.device import Memory
from scheduler.errors import GpuFailed

GRAPHS: Final = 64
"""Graphs that are kept for good; other addresses are run without. None is ever dropped, since it
may be at work on the GPU."""
SEEN: Final = 1024
"""Sets of addresses that are remembered, to see which come again."""


class FixedBatch:
    """One context of an engine.

    Args:
        engine: what is run.
        profile: of the engine, for these shapes.
        shapes: of all inputs.
        workspace: has room for what the profile needs. Shared by all that run on the same stream.
        stream: on which all is done.
        recording: whether graphs are used.

    Raises:
        GpuFailed: TensorRT refuses the profile or a shape.
        MemoryError: the GPU's memory is not enough.
    """

    def __init__(
        self,
        engine: Engine,
        profile: int,
        shapes: Shapes,
        workspace: Memory,
        stream: int,
        recording: bool = True,
    ) -> None:
        self._stream = stream
        self._recording = recording
        self._workspace = workspace  # lives as long as what points into it
        self._context = engine.context()
        self._context.use_memory(workspace.pointer, workspace.nbytes)
        self._demand(self._context.use_profile(profile, stream), f"profile {profile}")
        for name, shape in shapes.items():
            self._demand(self._context.set_shape(name, shape), f"{name} with the shape {shape}")
        unknown = self._context.unknown()
        self._demand(not unknown, f"a run without shapes for {', '.join(unknown)}")
        self._names = frozenset(tensor.name for tensor in engine.tensors)
        self.shapes: dict[str, Shape] = {
            tensor.name: self._context.shape(tensor.name) for tensor in engine.tensors
        }
        """Of all inputs and outputs; -1: known only after a run."""
        self._graphs: dict[tuple[tuple[str, int], ...], Graph] = {}
        self._seen: set[tuple[tuple[str, int], ...]] = set()

    def launch(self, pointers: Mapping[str, int]) -> None:
        """Run it on what lies at these addresses; nothing waits for it.

        Args:
            pointers: of all inputs and outputs.

        Raises:
            GpuFailed: TensorRT refuses an address or the run.
            MemoryError: the GPU's memory is not enough.
        """
        if pointers.keys() != self._names or not all(pointers.values()):
            raise ValueError(f"addresses {dict(pointers)}; wanted one each of {set(self._names)}")
        key = tuple(sorted(pointers.items()))
        if key not in self._graphs:
            for name, pointer in pointers.items():
                self._demand(self._context.set_address(name, pointer), f"the address of {name}")
            if key not in self._seen or not self._record(key):
                self._demand(self._context.enqueue(self._stream), "a run")
                self._seen = {key} if len(self._seen) >= SEEN else self._seen | {key}
                return
        self._graphs[key].launch(self._stream)

    def _record(self, key: tuple[tuple[str, int], ...]) -> bool:
        """Whether there is a graph for these addresses now."""
        if not self._recording or len(self._graphs) >= GRAPHS:
            return False
        graph = self._context.record(self._stream)
        if graph is None:
            self._recording = False
            return False
        self._graphs[key] = graph
        return True

    def _demand(self, done: bool, what: str) -> None:
        if not done:
            raise GpuFailed(
                f"TensorRT refused {what}: {self._context.complaint or 'it does not say why'}",
                "an engine that does what it was built for",
                "delete the folder `engines` in the cache folder to have it built again",
            )
