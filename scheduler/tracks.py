"""Faces over time as an Arrow table: one row for each face in each frame."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

LANDMARKS: Final = 468
"""Vertices of the face mesh (MediaPipe's canonical order)."""

SCHEMA: Final = pa.schema(
    [
        pa.field("frame", pa.int64(), nullable=False),
        pa.field("track", pa.int32(), nullable=False),
        pa.field("box", pa.list_(pa.float32(), 4), nullable=False),
        pa.field("landmarks", pa.list_(pa.float32(), LANDMARKS * 2), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("visible", pa.float32(), nullable=False),
    ]
)
"""frame: 0-based presentation index. track: -1 before the stitch. box: x0 y0 x1 y1 and landmarks:
x y pairs, both in pixels of the coded picture (pixel centres on whole numbers). score: the
detector's, 0..1. visible: the mesh's face presence, 0..1."""

FRAMES_SCHEMA: Final = pa.schema(
    [
        pa.field("frame", pa.int64(), nullable=False),
        pa.field("change", pa.float32(), nullable=False),
    ]
)
"""change: how much the low-resolution luma differs from the frame before (``kernels.cuts``)."""
