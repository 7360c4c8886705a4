"""Puts the swapped crops of a frame back into its planes."""

from __future__ import annotations

from actors.frames import Frame
from kernels.api import Kernels, Patch
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
                [..., 3] 0..1 and affines frame -> crop.
        Returns: one patch a face, in order; empty for a face that lies outside the frame.
        Raises RenderError: the slot holds a crop that is not finite, or an affine without an
            inverse: the swapper's fault, and the same at every attempt.
        """
        return tuple(self._paste(frame, face) for face in range(frame.faces))

    def _paste(self, frame: Frame, face: int) -> Patch:
        crop, affine = frame.crops[face], frame.affines[face]
        try:
            return self._kernels.paste(frame.picture, crop[..., :3], crop[..., 3], affine)
        except ValueError as error:
            raise RenderError(
                f"face {face + 1} of frame {frame.handle.frame_index}: {error}",
                "a crop of finite values and an affine that can be inverted from the swapper",
                "choose another model; if it is one of ours, report it with this message",
            ) from error
