"""Looks at a film and at what was made of it, side by side: how steady it is, and whom it shows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from actors.decoder import Decoder
from actors.formats import picture_format
from actors.masks import PastedFace
from actors.one_slot import OneSlot
from actors.recognizer import TEMPLATE, Embedder, cut
from kernels.api import Kernels
from kernels.dense_flow import FlowProvider
from kernels.geometry import Affine, apply, compose, display_affine, similarity
from kernels.metrics import known_motion, unsteadiness
from kernels.picture import Picture, Roi
from scheduler.errors import FramesLost
from scheduler.media import VideoIndex

Gray = NDArray[np.uint8]

AROUND: Final = 16
"""Pixels around a mask in which the motion is looked for."""
LEAST: Final = 32
"""Side in pixels below which a face has no dense flow."""
LARGEST: Final = 512
"""Longest side in pixels at which motion is measured; larger faces are made smaller first."""
PORTRAIT: Final = 144
"""Side of a portrait in pixels."""
WIDER: Final = 0.62
"""A portrait's scale over that of the recogniser's picture."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FaceLook:
    """A face to be looked at closely."""

    track: int
    points: NDArray[np.float32]
    """[5, 2] the recogniser's landmarks in coded pixels."""
    portrait: bool = False
    """Whether its pictures are wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steadiness:
    """How much one face changes from the frame before, along the source's motion, in codes."""

    track: int
    warp: float
    own_warp: float
    """The source's."""
    flicker: float
    own_flicker: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Likeness:
    """What one face looks like."""

    track: int
    before: NDArray[np.float32] | None
    """[128] embedding of the source's face; None: nobody asked."""
    after: NDArray[np.float32] | None
    portraits: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None
    """[s, s, 3] R'G'B' before and after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """What one frame has shown."""

    frame: int
    steadiness: tuple[Steadiness, ...] = ()
    likenesses: tuple[Likeness, ...] = ()


@dataclass(slots=True)
class _Past:
    """The frame before."""

    frame: int = -2
    source: Gray = field(default_factory=lambda: np.empty((0, 0), np.uint8))
    output: Gray = field(default_factory=lambda: np.empty((0, 0), np.uint8))
    faces: dict[int, PastedFace] = field(default_factory=dict)


class Inspector:
    """Compares two films frame by frame. Holds two frames of each, whatever their length.

    Args:
        kernels: cut the pictures of faces.
        flow: finds the source's motion.
        recognizer: embeds faces; None: nobody's likeness is measured.
    """

    def __init__(self, kernels: Kernels, flow: FlowProvider, recognizer: Embedder | None) -> None:
        self._kernels = kernels
        self._flow = flow
        self._recognizer = recognizer

    def inspect(
        self,
        source: VideoIndex,
        output: VideoIndex,
        pasted: Iterator[PastedFace],
        *,
        pairs: Collection[int],
        looks: Mapping[int, Sequence[FaceLook]],
    ) -> Iterator[Inspected]:
        """What each frame shows, in order.

        Args:
            source: of the film.
            output: of what was made of it.
            pasted: what the render did, frames rising.
            pairs: frames that are compared with the one before.
            looks: faces to look at closely, by frame.

        Raises:
            FramesLost: the films differ in length or size, or one gives other frames than its
                index names.
        """
        shape = (source.frames, source.width, source.height)
        if shape != (output.frames, output.width, output.height):
            raise FramesLost(
                f"{output.path} has {output.frames} frames of {output.width}x{output.height}",
                f"{source.frames} of {source.width}x{source.height}, as {source.path}",
                "name the film that the result was made of with --film",
            )
        ratio = float(source.sample_aspect_ratio)
        display = display_affine(source.width, source.height, ratio, source.rotation)
        by_frame = groupby(pasted, lambda face: face.frame)
        coming = next(by_frame, None)
        past = _Past()
        films = (_decoded(source), _decoded(output))
        for number, (was, now) in enumerate(zip(*films, strict=True)):
            faces: dict[int, PastedFace] = {}
            if coming is not None and coming[0] == number:
                faces = {face.track: face for face in coming[1]}
                coming = next(by_frame, None)
            measured: tuple[Steadiness, ...] = ()
            if number in pairs or number + 1 in pairs:
                planes = _luma(was), _luma(now)
                if number in pairs and past.frame == number - 1:
                    measured = tuple(self._compare(past, planes, faces))
                past = _Past(number, *planes, faces)
            seen = tuple(self._look(look, was, now, display) for look in looks.get(number, ()))
            yield Inspected(frame=number, steadiness=measured, likenesses=seen)

    def _compare(
        self, past: _Past, planes: tuple[Gray, Gray], faces: Mapping[int, PastedFace]
    ) -> Iterator[Steadiness]:
        for track, face in faces.items():
            before = past.faces.get(track)
            if before is None:
                continue
            # Both masks: a swap that is gone for a frame is the worst flicker of all.
            mask, roi = _both(before, face, planes[0].shape)
            if roi.x1 - roi.x0 < LEAST or roi.y1 - roi.y0 < LEAST:
                continue
            box = np.s_[roi.y0 : roi.y1, roi.x0 : roi.x1]
            pictures = (planes[0], past.source, planes[1], past.output)
            now, then, made, made_then = (_shrunk(plane[box]) for plane in pictures)
            forth, back = self._flow.flow(now, then), self._flow.flow(then, now)
            weight = _shrunk(mask).astype(np.float32) / np.float32(255)
            weight[~known_motion(forth, back)] = 0
            if not weight.any():
                continue
            own_warp, own_flicker = unsteadiness(now, then, forth, weight)
            warp, flicker = unsteadiness(made, made_then, forth, weight)
            yield Steadiness(
                track=track,
                warp=warp,
                own_warp=own_warp,
                flicker=flicker,
                own_flicker=own_flicker,
            )

    def _look(self, look: FaceLook, was: Picture, now: Picture, display: Affine) -> Likeness:
        embeddings: list[NDArray[np.float32] | None] = [None, None]
        if self._recognizer is not None:
            for at, picture in enumerate((was, now)):
                chip = cut(self._recognizer, picture, look.points, display, self._kernels)
                embeddings[at] = self._recognizer.embed(chip)
        portraits = None
        if look.portrait:
            aligned = similarity(apply(display, look.points), TEMPLATE)
            wide = compose(_WIDE, compose(aligned, display))
            shown = (self._kernels.crop(picture, wide, PORTRAIT) for picture in (was, now))
            before, after = (np.asarray(np.rint(crop * 255), np.uint8) for crop in shown)
            portraits = (before, after)
        return Likeness(
            track=look.track, before=embeddings[0], after=embeddings[1], portraits=portraits
        )


_WIDE: Final = np.array(
    # The recogniser's picture shows the middle of a face; a portrait shows the head.
    [[WIDER, 0.0, (PORTRAIT - 150 * WIDER) / 2], [0.0, WIDER, (PORTRAIT - 150 * WIDER) / 2 + 6]]
)


def _decoded(index: VideoIndex) -> Iterator[Picture]:
    """Each picture of a film, valid until the next is taken."""
    for frame in Decoder(index).decode(0, index.frames, OneSlot(picture_format(index))):
        yield frame.picture


def _luma(picture: Picture) -> Gray:
    """A copy of the first plane with 8 bits; of RGB pictures green stands for luma."""
    plane = picture.planes[0]
    if picture.format.depth > 8:
        return np.right_shift(plane, picture.format.depth - 8).astype(np.uint8)
    return plane.astype(np.uint8)


def _both(a: PastedFace, b: PastedFace, shape: tuple[int, ...]) -> tuple[Gray, Roi]:
    """(255 where either face was pasted, [h, w] of the region; the region with some room)."""
    rois = [face.patch.roi for face in (a, b) if not face.patch.roi.empty]
    if not rois:
        return np.empty((0, 0), np.uint8), Roi(x0=0, y0=0, x1=0, y1=0)
    region = Roi(
        x0=max(min(roi.x0 for roi in rois) - AROUND, 0),
        y0=max(min(roi.y0 for roi in rois) - AROUND, 0),
        x1=min(max(roi.x1 for roi in rois) + AROUND, shape[1]),
        y1=min(max(roi.y1 for roi in rois) + AROUND, shape[0]),
    )
    mask = np.zeros((region.y1 - region.y0, region.x1 - region.x0), np.uint8)
    for face in (a, b):
        roi = face.patch.roi
        if not roi.empty:
            part = mask[
                roi.y0 - region.y0 : roi.y1 - region.y0, roi.x0 - region.x0 : roi.x1 - region.x0
            ]
            part[face.patch.touched] = 255
    return mask, region


def _shrunk(plane: Gray) -> Gray:
    """``plane``, made smaller where its longest side is above ``LARGEST``."""
    scale = LARGEST / max(plane.shape)
    if scale >= 1:
        return np.ascontiguousarray(plane)
    size = (max(LEAST, round(plane.shape[1] * scale)), max(LEAST, round(plane.shape[0] * scale)))
    return cast(Gray, cv2.resize(plane, size, interpolation=cv2.INTER_AREA))
