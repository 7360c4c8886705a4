"""What the compositor's stage does to the faces of a frame that lies in a GPU's memory: filters,
what is before the face, the paste. As `actors.stabilizer`, `occluder` and `compositor`.

What covers a face is found by the CPU, on small pictures that are copied to it: one of 128 x 128
of each face whose looks are known, one of at most 256 x 256 where a hand is near. What is found
goes back as a plane of the crop's size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from actors.compositor import may_see, unusable
from actors.device_frames import DeviceFrame
from actors.device_stabilizer import DeviceStabilizer
from actors.device_swapper import device_face
from actors.objects import ObjectFinder
from actors.occluder import covers
from kernels.api import Image8, Patch
from kernels.cuda.crops import Crops
from kernels.cuda.launcher import Launcher
from kernels.cuda.pastes import Pastes, Pixels
from kernels.cuda.steadying import look
from kernels.cuda.steps import merge_masks
from kernels.geometry import Affine, invert
from kernels.pasting import blend_box, frame_roi
from kernels.picture import Roi
from scheduler.hands import HandObservation
from scheduler.jobs import StabilizeSettings
from scheduler.tracks import FaceObservation

SMALLER: Final = 8
"""Masks are looked at so many times smaller where only their sum and their height are wanted."""
_NOWHERE: Final = Roi(x0=0, y0=0, x1=0, y1=0)


class DeviceFinisher:
    """``actors.finisher.Finisher`` for frames in device memory.

    Args:
        launcher: of the stream in which all is done.
        filters: which temporal filters work.
        objects: finds what is before faces but hands; None: that is not looked for.
        border: float32 [size, size] that no blend mask was above when the swapper made it.
        telling: whether `composite` and `strengths` are asked for what they tell.
    """

    def __init__(
        self,
        launcher: Launcher,
        filters: StabilizeSettings,
        objects: ObjectFinder | None,
        border: NDArray[np.float32],
        *,
        telling: bool,
    ) -> None:
        self._launcher = launcher
        self._crops, self._pastes = Crops(launcher), Pastes(launcher)
        self._stabilizer = DeviceStabilizer(filters, launcher) if filters.any else None
        self._objects = objects
        self._border = border
        self._telling = telling

    def stabilize(self, frame: DeviceFrame) -> None:
        """Steady the crops in place."""
        if self._stabilizer is not None:
            faces = [device_face(frame, place) for place in range(frame.faces)]
            transfer = frame.picture.format.transfer
            self._stabilizer.stabilize(frame.handle.frame_index, faces, transfer)

    def strengths(self, frame: DeviceFrame) -> list[tuple[float, float]]:
        """(largest value, sum) of each face's blend mask; waits for them."""
        found = []
        for place in range(frame.faces):
            face = device_face(frame, place)
            side = face.size // SMALLER
            means = self._launcher.memory("strengths", 4 * side * side)
            look(
                self._launcher,
                Pixels(pointer=face.crop, row=4 * face.size, step=4),
                SMALLER,
                self._launcher.memory("strengths' luma", side * side),
                (side, side),
                mask=means,
            )
            values = self._launcher.fetched(means, (side, side), "float32")
            found.append((float(values.max()), SMALLER**2 * float(values.sum(dtype=np.float64))))
        return found

    def occlude(
        self,
        frame: DeviceFrame,
        hands: Sequence[HandObservation],
        faces: Sequence[FaceObservation],
    ) -> None:
        """Lower the blend masks where something covers the face."""

        def thumbnail(affine: Affine, side: int) -> Image8:
            pointer = self._launcher.memory("thumbnail", 3 * side * side)
            self._crops.thumbnail(frame.picture, invert(affine), side, side, pointer)
            return self._launcher.fetched(pointer, (side, side, 3), "uint8")

        for place in range(frame.faces):
            there = device_face(frame, place)
            face = faces[place] if self._objects is not None else None
            found = covers(thumbnail, there.affine, self._border, hands, self._objects, face)
            for cover in found:
                merge_masks(
                    self._launcher,
                    [self._launcher.sent("cover", 1 - cover)],
                    there.crop + 12,
                    (there.size, there.size),
                    "product",
                    held=True,
                    step=4,
                )

    def composite(self, frame: DeviceFrame) -> tuple[Patch, ...]:
        """Patch the planes. Of what is touched only the boxes are told, unless more is wanted.

        Raises:
            RenderError: an affine without an inverse.
        """
        patches: tuple[Patch, ...] = ()
        for place in range(frame.faces):
            try:
                patches += (self._paste(frame, place, patches),)
            except ValueError as error:
                raise unusable(place, frame.handle.frame_index, error) from error
        return patches

    def _paste(self, frame: DeviceFrame, place: int, done: tuple[Patch, ...]) -> Patch:
        launcher, picture, face = self._launcher, frame.picture, device_face(frame, place)
        size, affine, to_frame = face.size, face.affine, invert(face.affine)
        # Where the mask is zero nothing changes: the whole crop does as well as a box of it.
        support = Roi(x0=0, y0=0, x1=size, y1=size)
        roi = frame_roi(support, to_frame, picture.format)
        if roi.empty:
            return Patch(roi=_NOWHERE, touched=np.zeros((0, 0), np.bool_))
        before = face.original
        if any(may_see(affine, size, picture.format, patch) for patch in done):
            before = launcher.memory("seen anew", 12 * size * size)
            self._crops.crop(picture, to_frame, support, size, before)
        touched = self._pastes.paste(
            picture,
            Pixels(pointer=before, row=3 * size, step=3),
            Pixels(pointer=face.crop, row=4 * size, step=4),
            Pixels(pointer=face.crop + 12, row=4 * size, step=4),
            *(size, affine, blend_box(support, size), roi),
        )
        where = np.zeros((0, 0), np.uint8)
        if self._telling:
            shape = roi.y1 - roi.y0, roi.x1 - roi.x0
            where = launcher.fetched(touched, shape, "uint8")
        return Patch(roi=roi, touched=where.astype(np.bool_))
