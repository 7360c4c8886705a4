"""Counts over the joined table: how many faces where, how large, and what that asks of a render."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa

CROP_SIZES: Final = (256, 384, 512)
CROP_OVER_FACE: Final = 1.5
"""Side of an aligned crop over the side of the landmarks' box that it holds, about."""


class Census:
    """Faces by frame, fed with chunk tables in film order.

    Args:
        frames: length of the film. Memory is one small integer a frame.
    """

    def __init__(self, frames: int) -> None:
        self._counts = np.zeros(frames, np.int32)
        self._swaps = np.zeros(frames, np.int32)
        self._sides: list[np.ndarray[tuple[int], np.dtype[np.float32]]] = []

    def add(self, table: pa.Table) -> None:
        """Count one chunk's rows (``scheduler.tracks.STITCHED_SCHEMA``)."""
        frames = table.column("frame").to_numpy()
        chosen = table.column("person").to_numpy() >= 0
        np.add.at(self._counts, frames, 1)
        np.add.at(self._swaps, frames[chosen], 1)
        boxes = np.asarray(
            table.column("box").combine_chunks().flatten().to_numpy(zero_copy_only=False)
        ).reshape(-1, 4)[chosen]
        self._sides.append(
            np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]).astype(np.float32)
        )

    @property
    def faces(self) -> int:
        """Rows of the table: one for each face in each frame."""
        return int(self._counts.sum())

    @property
    def frames_with_faces(self) -> int:
        return int(np.count_nonzero(self._counts))

    @property
    def swaps(self) -> int:
        """Faces that are swapped, counted once for each frame that they are in."""
        return int(self._swaps.sum())

    def swaps_in(self, start: int, stop: int) -> int:
        """Faces that are swapped in frames of [start, stop)."""
        return int(self._swaps[start:stop].sum())

    def most_swaps(self, start: int, stop: int) -> int:
        """The most faces that are swapped in any frame of [start, stop)."""
        return int(self._swaps[start:stop].max(initial=0))

    def crop_size(self) -> int:
        """Side of the aligned crop in pixels that keeps nine of ten swapped faces at their detail.

        The same for the whole film, so it cannot differ between chunks.
        """
        sides = np.concatenate(self._sides) if self._sides else np.zeros(0, np.float32)
        if not len(sides):
            return CROP_SIZES[0]
        wanted = float(np.quantile(sides, 0.9)) * CROP_OVER_FACE
        # A crop may be a quarter smaller than the face in the frame before detail is seen to go.
        return next((size for size in CROP_SIZES if size * 1.25 >= wanted), CROP_SIZES[-1])
