"""Keeps what is before a face in front of it: takes hands out of the swapped crops' blend masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from actors.frames import Frame
from kernels.api import Kernels
from kernels.geometry import apply, compose, resize
from kernels.occlusion import hand_cover
from scheduler.hands import HandObservation

SIZE: Final = 256
"""Side of the crop on which a hand's outline is found, in pixels."""


class Occluder:
    """Cuts hands out of what will be pasted.

    Args:
        kernels: cuts the crop in which the hand's outline is found.
    """

    def __init__(self, kernels: Kernels) -> None:
        self._kernels = kernels

    def occlude(self, frame: Frame, hands: Sequence[HandObservation]) -> None:
        """Lower ``frame.crops[..., 3]`` where a hand covers the face.

        Where a hand covers a pixel wholly the mask becomes 0, so the compositor leaves the
        decoder's samples alone.

        Args:
            frame: with its crops filled and its picture as decoded.
            hands: those of this frame.
        """
        if not hands:
            return
        for affine, crop in zip(
            frame.affines[: frame.faces], frame.crops[: frame.faces], strict=True
        ):
            cover = self._cover(frame, affine, crop[..., 3], hands)
            if cover is not None:
                crop[..., 3] *= 1 - cover

    def _cover(
        self,
        frame: Frame,
        affine: NDArray[np.float64],
        mask: NDArray[np.float32],
        hands: Sequence[HandObservation],
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
                rgb = self._kernels.thumbnail(frame.picture, to_work, work, work)
            one = hand_cover(rgb, joints, wanted)
            if one is not None:
                cover = one if cover is None else np.maximum(cover, one)
        if cover is None or work == size:
            return cover
        return cast(
            NDArray[np.float32],
            cv2.resize(cover, (size, size), interpolation=cv2.INTER_LINEAR),
        )


def _may_reach(joints: NDArray[np.float64], wanted: NDArray[np.bool_]) -> bool:
    """Whether the joints' extent, widened by a quarter of itself, meets the wanted pixels'."""
    low, high = joints.min(axis=0), joints.max(axis=0)
    margin = (high - low).max() / 4
    rows, columns = np.flatnonzero(wanted.any(axis=1)), np.flatnonzero(wanted.any(axis=0))
    if not len(rows):
        return False
    first, last = np.array([columns[0], rows[0]]), np.array([columns[-1], rows[-1]])
    return bool((low - margin <= last).all() and (high + margin >= first).all())
