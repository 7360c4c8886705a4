"""A picture of everybody in a film: a row for each identity, its letter, and how it looks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from cluster.service import Survey
from farm.contact_sheet import GAP, INK, PAPER, Image, read_frames, write_png
from farm.progress import duration
from kernels.geometry import apply, display_affine
from scheduler.media import VideoIndex

CELL: Final = 160
"""Side of a portrait in pixels."""
SAMPLES: Final = 5
LABEL: Final = 150
"""Width of the column of letters."""
MOST: Final = 40
"""Identities that are drawn; the table has the rest."""
AROUND: Final = 1.7
"""Side of a portrait over the side of the face in it."""


def write_faces_sheet(survey: Survey, path: Path) -> None:
    """Draw the identities of a film, the one seen longest on top.

    Raises:
        FramesLost: a frame cannot be found again.
        StorageUnwritable, DiskFull: the PNG cannot be written.
    """
    identities = survey.stitched.identities[:MOST]
    height = GAP + len(identities) * (CELL + GAP)
    width = LABEL + SAMPLES * (CELL + GAP) + GAP
    sheet = np.full((height, width, 3), PAPER, np.uint8)
    per_frame = survey.index.seconds / survey.index.frames
    wanted = []
    for row, identity in enumerate(identities):
        top = GAP + row * (CELL + GAP)
        _write(sheet, identity.letter, 20, top + 90, 2.4, 4)
        _write(sheet, duration(identity.frames * per_frame), 20, top + 125, 0.55, 1)
        for column, (frame, box) in enumerate(survey.stitched.samples[identity.letter][:SAMPLES]):
            wanted.append((frame, top, LABEL + column * (CELL + GAP), box))
    wanted.sort()
    shown = read_frames(survey.index, [frame for frame, *_ in wanted], longest=0)
    for image, (_, top, left, box) in zip(shown, wanted, strict=True):
        sheet[top : top + CELL, left : left + CELL] = _portrait(image, survey.index, box)
    write_png(sheet, path)


def _portrait(image: Image, index: VideoIndex, box: Sequence[float]) -> Image:
    """The square around a box [4] in coded pixels of an upright picture."""
    ratio = float(index.sample_aspect_ratio)
    display = display_affine(index.width, index.height, ratio, index.rotation)
    corners = apply(display, np.array(box).reshape(2, 2))
    side = float(np.abs(corners[1] - corners[0]).max()) * AROUND
    x, y = (corners.mean(axis=0) - side / 2).tolist()
    at = np.linspace(0, side, CELL, dtype=np.float32)
    # A large face is made smaller first: a look-up alone would alias.
    blur = max(side / CELL - 1, 0) * 0.5
    smooth = cv2.GaussianBlur(image, (0, 0), blur) if blur > 0.2 else image
    columns, rows = np.meshgrid(at + np.float32(x), at + np.float32(y))
    crop = cv2.remap(smooth, columns, rows, cv2.INTER_LINEAR, borderValue=PAPER)
    return np.asarray(crop, np.uint8)


def _write(image: Image, text: str, x: int, y: int, scale: float, thickness: int) -> None:
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(image, text, (x, y), font, scale, INK, thickness, cv2.LINE_AA)
