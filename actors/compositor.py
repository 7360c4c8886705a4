"""Puts the swapped crops of a frame back into its planes."""

from __future__ import annotations

import math

import numpy as np

from actors.frames import Frame
from kernels.api import Kernels, Patch
from kernels.geometry import Affine, crop_roi, invert
from kernels.picture import PictureFormat
from scheduler.errors import RenderError


class Compositor:
    """Pastes each face's crop over its mask, in the order in which they lie in the slot.

    Args:
        kernels: the job's kernel back end.
    """

    def __init__(self, kernels: Kernels) -> None:
        self._kernels = kernels

    def composite(self, frame: Frame) -> tuple[Patch, ...]:
        """Patch ``frame.picture`` in place.

        Faces may overlap: a later one is pasted over what an earlier one left. A sample that no
        patch touches keeps the decoder's bytes.

        Args:
            frame: with ``faces`` crops [..., :3] R'G'B' 0..1 (stream's transfer), masks
                [..., 3] 0..1, originals and affines frame -> crop.
        Returns: one patch a face, in order; empty for a face that lies outside the frame.
        Raises RenderError: the slot holds a crop that is not finite, or an affine without an
            inverse: the swapper's fault, and the same at every attempt.
        """
        patches: tuple[Patch, ...] = ()
        for face in range(frame.faces):
            patches += (self._paste(frame, face, patches),)
        return patches

    def _paste(self, frame: Frame, face: int, done: tuple[Patch, ...]) -> Patch:
        crop, affine = frame.crops[face], frame.affines[face]
        try:
            fmt = frame.picture.format
            fresh = any(may_see(affine, len(crop), fmt, patch) for patch in done)
            before = None if fresh else frame.originals[face]
            return self._kernels.paste(frame.picture, crop[..., :3], crop[..., 3], affine, before)
        except ValueError as error:
            raise unusable(face, frame.handle.frame_index, error) from error


def unusable(face: int, frame_index: int, error: ValueError) -> RenderError:
    """The error of a face that cannot be pasted, by its place in the slot."""
    return RenderError(
        f"face {face + 1} of frame {frame_index}: {error}",
        "a crop of finite values and an affine that can be inverted from the swapper",
        "choose another model; if it is one of ours, report it with this message",
    )


def may_see(affine: Affine, size: int, fmt: PictureFormat, patch: Patch) -> bool:
    """Whether a crop's samples may lie on what a patch changed."""
    step = float(np.hypot(*invert(affine)[:, :2]).max())
    # Twice what the cubic and the box before it reach, on planes of half the frame's resolution.
    margin = math.ceil(8 * step) + 8
    seen = crop_roi(affine, size, fmt.width, fmt.height, margin)
    return (
        seen.x0 < patch.roi.x1
        and patch.roi.x0 < seen.x1
        and seen.y0 < patch.roi.y1
        and patch.roi.y0 < seen.y1
    )
