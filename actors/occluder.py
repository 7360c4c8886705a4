"""Keeps what is before a face in front of it: takes it out of the swapped crops' blend masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from actors.frames import Frame
from actors.objects import ObjectFinder
from kernels.api import Kernels, Look, looking
from kernels.geometry import Affine, apply, compose, invert, resize
from kernels.occlusion import hand_cover
from scheduler.hands import HandObservation
from scheduler.tracks import FaceObservation

SIZE: Final = 256
"""Side of the crop on which a hand's outline is found, in pixels."""


class Occluder:
    """Cuts hands and objects out of what will be pasted, in host memory.

    Args:
        kernels: cuts the crop in which the hand's outline is found.
        objects: finds other things than hands; None: they are not looked for.
    """

    def __init__(self, kernels: Kernels, objects: ObjectFinder | None = None) -> None:
        self._kernels = kernels
        self._objects = objects

    def occlude(
        self,
        frame: Frame,
        hands: Sequence[HandObservation],
        faces: Sequence[FaceObservation] = (),
    ) -> None:
        """Lower ``frame.crops[..., 3]`` where something covers the face.

        Where a pixel is covered wholly the mask becomes 0, so the compositor leaves the decoder's
        samples alone.

        Args:
            frame: with its crops filled and its picture as decoded.
            hands: those of this frame.
            faces: those of the crops, in their order; read by the objects' finder only.
        """
        look = looking(self._kernels, frame.picture)
        for place in range(frame.faces):
            mask = frame.crops[place][..., 3]
            face = faces[place] if self._objects is not None else None
            for cover in covers(look, frame.affines[place], mask, hands, self._objects, face):
                mask *= 1 - cover


def covers(
    look: Look,
    affine: Affine,
    mask: NDArray[np.float32],
    hands: Sequence[HandObservation],
    objects: ObjectFinder | None,
    face: FaceObservation | None,
) -> Iterator[NDArray[np.float32]]:
    """float32 [S, S] how much of a crop's pixels is covered, by all hands and by objects.

    Args:
        look: into the frame as decoded.
        affine: float64 [2, 3] frame pixels -> crop pixels.
        mask: [S, S] the crop's blend mask; what is covered matters where it is above zero.
        hands: of the frame.
        objects: None: they are not looked for.
        face: that of the crop, with ``objects``.
    """
    if hands:
        cover = _hands(look, affine, mask, hands)
        if cover is not None:
            yield cover
    seen = objects.cover(look, face) if objects is not None and face is not None else None
    if seen is not None:
        yield _carried(*seen, affine, len(mask))


def _hands(
    look: Look, affine: Affine, mask: NDArray[np.float32], hands: Sequence[HandObservation]
) -> NDArray[np.float32] | None:
    """float32 [S, S] how much hands cover of a crop; None: nothing of its mask."""
    size = len(mask)
    work = min(size, SIZE)
    to_work = compose(resize(work / size, work / size), affine)
    wanted = mask > 0
    if work < size:
        wanted = cv2.resize(wanted.astype(np.uint8), (work, work)) > 0
    rgb = None
    cover = None
    for hand in hands:
        joints = apply(to_work, hand.landmarks)
        if not _may_reach(joints, wanted):
            continue
        if rgb is None:
            rgb = look(to_work, work)
        one = hand_cover(rgb, joints, wanted)
        if one is not None:
            cover = one if cover is None else np.maximum(cover, one)
    if cover is None or work == size:
        return cover
    return cast(
        NDArray[np.float32],
        cv2.resize(cover, (size, size), interpolation=cv2.INTER_LINEAR),
    )


def _carried(
    cover: NDArray[np.float32], window: Affine, affine: Affine, size: int
) -> NDArray[np.float32]:
    """float32 [size, size] a cover of a face's window in the crop; both maps are the frame's."""
    there = compose(affine, invert(window))
    out = cv2.warpAffine(cover, there, (size, size), flags=cv2.INTER_LINEAR)
    return cast(NDArray[np.float32], out)


def _may_reach(joints: NDArray[np.float64], wanted: NDArray[np.bool_]) -> bool:
    """Whether the joints' extent, widened by a quarter of itself, meets the wanted pixels'."""
    low, high = joints.min(axis=0), joints.max(axis=0)
    margin = (high - low).max() / 4
    rows, columns = np.flatnonzero(wanted.any(axis=1)), np.flatnonzero(wanted.any(axis=0))
    if not len(rows):
        return False
    first, last = np.array([columns[0], rows[0]]), np.array([columns[-1], rows[-1]])
    return bool((low - margin <= last).all() and (high + margin >= first).all())
