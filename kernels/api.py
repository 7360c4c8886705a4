"""What a kernel back end does with pictures. Every back end gives the same pictures.

``kernels.reference`` is the float64 definition, ``kernels.cpu`` the fast one for CPUs. All chunks
of a job run on one back end: they agree within tolerances (docs/compositing.md), not bit for bit.

Colour: R'G'B' here is always the stream's own non-linear signal (its matrix undone, its transfer
still applied), 0..1 for black..white of the stream's range; values outside are clipped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kernels.geometry import Affine
from kernels.picture import Picture, PictureFormat, Roi

Image8 = NDArray[np.uint8]
Image = NDArray[np.float32]
Look = Callable[[Affine, int], Image8]
"""``Kernels.thumbnail`` of a frame at hand, square: by the map and the side in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Patch:
    """Where one paste may have changed a picture; everywhere else it kept every byte.

    The law: a luma sample (for "rgb" pictures: a sample of any plane) outside ``roi`` or with
    ``touched`` False keeps its bytes; a chroma sample keeps them when all luma samples of its
    block (1 << sub_x wide, 1 << sub_y high) are untouched.
    """

    roi: Roi
    """In luma pixels, cut to the frame, edges on whole chroma blocks; empty: nothing changed."""
    touched: NDArray[np.bool_]
    """[roi height, roi width], luma resolution: the blend mask is above zero there."""


def plane_touched(touched: NDArray[np.bool_], fmt: PictureFormat, plane: int) -> NDArray[np.bool_]:
    """Which samples of a plane may change: any luma sample of their block is touched.

    Args:
        touched: bool [h, w] at luma resolution, of a frame or of a ``Patch``'s region.
        fmt: the picture's format.
        plane: 0-based number of the plane.
    Returns: bool at the plane's resolution, sizes rounded up.
    """
    for step in (1 << fmt.sub_x, 1 << fmt.sub_y) if plane else ():
        blocks = touched[:, ::step].copy()
        for other in range(1, step):
            samples = touched[:, other::step]
            blocks[:, : samples.shape[1]] |= samples
        touched = blocks.T
    return touched


def positive(**sizes: int) -> None:
    """Raises ValueError: one of the sizes is below 1 pixel."""
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"{name} {value}; wanted at least 1 pixel")


class Kernels(Protocol):
    """Pixels in, pixels out; no state between calls, same bytes whatever the thread count."""

    def thumbnail(self, picture: Picture, affine: Affine, width: int, height: int) -> Image8:
        """A small picture of (a part of) the frame, for a network to look at.

        Planes are area-filtered down first and only the small result is converted to R'G'B'.

        Args:
            picture: any format.
            affine: float64 [2, 3] frame pixels -> output pixels (may turn, stretch and shift).
            width, height: of the output in pixels.
        Returns: uint8 [height, width, 3] R'G'B'; black where the frame does not reach.
        Raises ValueError: the affine has no inverse, or a size is below 1.
        """
        ...

    def crop(self, picture: Picture, affine: Affine, size: int) -> Image:
        """The aligned crop of a face, at Catmull-Rom quality.

        Planes are sampled at their own resolution and siting, with the Catmull-Rom cubic
        (a = -0.5), subsampled chroma bilinearly: it has no finer detail to lose. A plane that
        shrinks by more than 1.5 is box-filtered first. Beyond the frame's
        edges the edge samples repeat. Only what the crop sees is converted.

        Args:
            picture: any format.
            affine: float64 [2, 3] frame pixels -> crop pixels.
            size: side of the crop in pixels.
        Returns: float32 [size, size, 3] R'G'B' 0..1.
        Raises ValueError: the affine has no inverse, or the size is below 1.
        """
        ...

    def paste(
        self,
        picture: Picture,
        crop: Image,
        mask: Image,
        affine: Affine,
        before: Image | None = None,
    ) -> Patch:
        """Put a changed crop back into the frame, in place.

        Only the difference between ``crop`` and what ``crop()`` gives for the same affine is
        brought in: Laplacian-blended over the mask in linear light, warped to the frame's planes
        with the Catmull-Rom cubic, added, and rounded with an ordered dither that is fixed to
        the frame's pixels. No difference, no change: the original's grain stays.

        Args:
            picture: any format; its planes are patched.
            crop: float32 [S, S, 3] R'G'B' 0..1 as from ``crop()``.
            mask: float32 [S, S], 0 keep the frame .. 1 take the crop.
            affine: float64 [2, 3] frame pixels -> crop pixels.
            before: what ``crop()`` gives for this picture and affine, where the caller has it.
        Returns: the patch: region and mask of what may have changed.
        Raises ValueError: shapes that do not fit, or the affine has no inverse.
        """
        ...


def looking(kernels: Kernels, picture: Picture) -> Look:
    """A look into a picture in host memory."""
    return lambda affine, side: kernels.thumbnail(picture, affine, side, side)
