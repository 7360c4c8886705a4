"""What the compositor's stage does to the faces of a frame, wherever the frame lies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np

from actors.compositor import Compositor
from actors.frames import Frame, SlotNotes
from actors.objects import ObjectFinder
from actors.occluder import Occluder
from actors.stabilizer import Stabilizer
from kernels.api import Kernels, Patch
from scheduler.hands import HandObservation
from scheduler.jobs import StabilizeSettings
from scheduler.tracks import FaceObservation

S_contra = TypeVar("S_contra", bound=SlotNotes, contravariant=True)


class Finisher(Protocol[S_contra]):
    """The steps, in their order. Each frame is as the one before left it."""

    def stabilize(self, frame: S_contra) -> None:
        """Steady the crops in place; asked of all frames, in order."""
        ...

    def strengths(self, frame: S_contra) -> list[tuple[float, float]]:
        """(largest value, sum) of each face's blend mask."""
        ...

    def occlude(
        self,
        frame: S_contra,
        hands: Sequence[HandObservation],
        faces: Sequence[FaceObservation],
    ) -> None:
        """Lower the blend masks where something covers the face.

        Args:
            hands: of the frame.
            faces: those of the crops, in their order.
        """
        ...

    def composite(self, frame: S_contra) -> tuple[Patch, ...]:
        """Patch the planes; one patch a face, in order.

        Raises:
            RenderError: the swapper left what cannot be pasted.
        """
        ...


class HostFinisher:
    """For frames in host memory.

    Args:
        kernels: the job's kernel back end.
        filters: which temporal filters work.
        objects: finds what is before faces but hands; None: that is not looked for.
    """

    def __init__(
        self, kernels: Kernels, filters: StabilizeSettings, objects: ObjectFinder | None
    ) -> None:
        self._stabilizer = Stabilizer(filters) if filters.any else None
        self._occluder, self._compositor = Occluder(kernels, objects), Compositor(kernels)

    def stabilize(self, frame: Frame) -> None:
        if self._stabilizer is not None:
            self._stabilizer.stabilize(frame)

    def strengths(self, frame: Frame) -> list[tuple[float, float]]:
        masks = frame.crops[: frame.faces, ..., 3]
        return [(float(mask.max()), float(mask.sum(dtype=np.float64))) for mask in masks]

    def occlude(
        self,
        frame: Frame,
        hands: Sequence[HandObservation],
        faces: Sequence[FaceObservation],
    ) -> None:
        self._occluder.occlude(frame, hands, faces)

    def composite(self, frame: Frame) -> tuple[Patch, ...]:
        return self._compositor.composite(frame)
