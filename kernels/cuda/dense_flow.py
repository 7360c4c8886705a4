"""Dense flow between two small pictures in device memory: what finds it can be exchanged.

`CudaFlow` is the kernels' own, `HostFlow` a CPU's with its copies counted,
``kernels.cuda.nvof.EngineFlow`` the engine that NVIDIA's chips have for it. They do not give the
same flow: all chunks of a job run on one of them.
"""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np

from kernels.cuda.device import DevicePlane
from kernels.cuda.launcher import Launcher
from kernels.cuda.signatures import Small
from kernels.cuda.steps import SmallPicture
from kernels.dense_flow import FlowProvider

ROUNDS: Final = 4
"""Of looking, on each level."""
COARSEST: Final = 8
"""Pixels of the shorter side, on the highest level at least."""
FIRM: Final = 4.0
"""Squared slope, in codes per pixel, of as much structure as outweighs the motion around."""


class DeviceFlow(Protocol):
    """Finds dense flow in device memory. It keeps nothing of the pictures from call to call."""

    def flow(self, now: DevicePlane, before: DevicePlane) -> SmallPicture:
        """Where each pixel of ``now`` lies in ``before``, as a step.

        Args:
            now, before: bytes, of one size, both sides at least 32.
        Returns: x y in its own pixels, which may be larger than those of ``now``. Valid until the
            next call.
        Raises ValueError: pictures that are not so.
        """
        ...


class CudaFlow:
    """`DeviceFlow` by windows on a pyramid, without a host.

    Lucas and Kanade's windows (a Gaussian of 2.5 pixels), four rounds on each level, from coarse
    to fine; ``kernels.reference_flow`` defines it. The finest flow is of 2 x 2 or 4 x 4 pixels, as
    that of ``kernels.dense_flow.DisFlow``, for the same reason. docs/gpu.md says how far the two
    are apart.

    Args:
        launcher: whose device holds the pictures.
        small: pictures are means of 2 x 2 pixels or more: the flow is then of 2 x 2 of theirs.
    """

    __slots__ = ("_finest", "_launcher")

    def __init__(self, launcher: Launcher, *, small: bool = False) -> None:
        self._launcher, self._finest = launcher, 1 if small else 2

    def flow(self, now: DevicePlane, before: DevicePlane) -> SmallPicture:
        check_pair(now, before)
        launcher, levels = self._launcher, self._pyramids(now, before)
        flow = SmallPicture(
            pointer=launcher.sent("no flow", np.zeros(2, np.float32)), width=1, height=1
        )
        turn = 0
        for one, two, width, height in reversed(levels[self._finest - 1 :]):
            for _ in range(ROUNDS):
                turn = 1 - turn
                out = launcher.memory(f"flow {turn}", self._nbytes(levels))
                small = Small.of(flow.pointer, flow.width, flow.height, (width, height))
                launcher.run("follow", width, height, one, two, small, FIRM, out, width, height)
                flow = SmallPicture(pointer=out, width=width, height=height)
        return flow

    def _nbytes(self, levels: list[tuple[int, int, int, int]]) -> int:
        # Of the finest from the start: memory that grows in between would move.
        _, _, width, height = levels[self._finest - 1]
        return 8 * width * height

    def _pyramids(self, now: DevicePlane, before: DevicePlane) -> list[tuple[int, int, int, int]]:
        """Both pictures on each level from the second on, and how large they are there."""
        launcher, levels = self._launcher, list[tuple[int, int, int, int]]()
        one, two, width, height = now.pointer, before.pointer, now.width, now.height
        while len(levels) < self._finest or min(width, height) >= 2 * COARSEST:
            half = (width + 1) // 2, (height + 1) // 2
            outs = [
                launcher.memory(f"{name} level {len(levels) + 1}", 4 * half[0] * half[1])
                for name in ("now", "before")
            ]
            if levels:
                launcher.run("halve_floats", *half, one, two, width, height, *outs, *half, count=2)
            else:
                pitches = now.pitch, before.pitch
                launcher.run(
                    "halve_bytes", *half, one, two, *pitches, width, height, *outs, *half, count=2
                )
            (one, two), (width, height) = outs, half
            levels.append((one, two, width, height))
        return levels


class HostFlow:
    """`DeviceFlow` by what finds it on the host.

    Args:
        launcher: whose device holds the pictures.
        provider: finds the flow.
    """

    def __init__(self, launcher: Launcher, provider: FlowProvider) -> None:
        self._launcher, self._provider = launcher, provider
        self.copied = 0
        """Bytes that went to the host and back."""

    def flow(self, now: DevicePlane, before: DevicePlane) -> SmallPicture:
        check_pair(now, before)
        pictures = []
        for plane in (now, before):
            picture = np.empty((plane.height, plane.width), np.uint8)
            self._launcher.device.read(plane.pointer, plane.pitch, picture)
            pictures.append(picture)
        flow = self._provider.flow(*pictures)
        self.copied += 2 * pictures[0].nbytes + flow.nbytes
        return SmallPicture(
            pointer=self._launcher.sent("host flow", flow), width=now.width, height=now.height
        )


def check_pair(now: DevicePlane, before: DevicePlane) -> None:
    """Raises ValueError: what `DeviceFlow.flow` does not take."""
    for plane in (now, before):
        if plane.dtype != "uint8" or plane.channels != 1:
            raise ValueError(f"pictures of {plane.channels} x {plane.dtype}; wanted bytes")
    sizes = (now.width, now.height), (before.width, before.height)
    if sizes[0] != sizes[1] or min(sizes[0]) < 32:
        raise ValueError(
            f"pictures of {sizes[0]} and {sizes[1]}; wanted two of a size, at least 32"
        )
