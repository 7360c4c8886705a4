"""Keeps swapped faces steady from frame to frame where the crops lie in a GPU's memory.

The same filters as ``actors.stabilizer``, which says what they do and why, by the kernels of
``kernels.cuda``: no pixel is copied. What the host decides it decides by sums: it reads a few
hundred bytes of each face.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from actors.stabilizer import (
    ALIKE,
    ANOMALY_HELD,
    HELD,
    MOMENTUM,
    SEAM,
    STILL,
    Box,
    Memory,
    flow_step,
    measure_step,
    out_of_line,
    part_grid,
    shared_part,
)
from kernels.cuda import steadying, steps
from kernels.cuda.dense_flow import CudaFlow, DeviceFlow
from kernels.cuda.device import DevicePlane
from kernels.cuda.device import Memory as DeviceMemory
from kernels.cuda.launcher import Launcher
from kernels.cuda.pastes import Curves, Pastes, Pixels
from kernels.filters import seam_disc, settle_colour
from kernels.geometry import Affine, apply, invert
from kernels.picture import Transfer
from scheduler.jobs import StabilizeSettings

PIXEL: Final = 16
"""Bytes of four values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFace:
    """A swapped face in device memory; the crop is steadied in place."""

    track: int
    affine: Affine
    """Frame pixels -> crop pixels."""
    size: int
    """Side of the crop in pixels."""
    crop: int
    """Pointer to float32 [s, s, 4]: R'G'B' 0..1 and the mask."""
    original: int
    """Pointer to float32 [s, s, 3]."""


@dataclass(slots=True, kw_only=True)
class _Past:
    """What the last frame of a track left behind, as ``actors.stabilizer`` has it."""

    frame: int
    size: int
    centre: NDArray[np.float64]
    sight: DeviceMemory
    original: DeviceMemory
    swapped: DeviceMemory
    mask: DeviceMemory
    change: DeviceMemory
    """As this frame has it, before anything was held."""
    settled: DeviceMemory
    """The same, steadied."""
    support: Box = (0, 0, 0, 0)
    memory: Memory


class DeviceStabilizer:
    """Filters the crops of a film's frames, fed in order, each track for itself.

    Args:
        settings: which filters work.
        launcher: whose device holds the crops.
        flow: finds the motion; without it the CUDA kernels' own.
    """

    def __init__(
        self, settings: StabilizeSettings, launcher: Launcher, flow: DeviceFlow | None = None
    ) -> None:
        self._settings, self._launcher = settings, launcher
        self._flow = flow or CudaFlow(launcher)
        self._small_flow = flow or CudaFlow(launcher, small=True)
        self._pastes = Pastes(launcher)
        self._past: dict[int, _Past] = {}

    def stabilize(self, frame: int, faces: Sequence[DeviceFace], transfer: Transfer) -> None:
        """Steady the faces' crops in place: colours and masks.

        Args:
            frame: its number in the film.
            faces: as the swapper left them.
            transfer: of the film's R'G'B'.
        """
        past, self._past = self._past, {}
        for face in faces:
            before = past.get(face.track)
            if before is not None and (before.frame, before.size) != (frame - 1, face.size):
                before = None
            self._past[face.track] = self._steady(frame, face, before, transfer)

    def _steady(
        self, frame: int, face: DeviceFace, before: _Past | None, transfer: Transfer
    ) -> _Past:
        now = self._look(frame, face)
        if before is not None:
            now.memory = before.memory
        if self._settings.colour:
            self._recolour(face, now.memory, self._pastes.curves(transfer))
        now.support = steadying.lift(
            self._launcher,
            *(face.crop, face.original, now.change.pointer, now.settled.pointer, face.size),
        )
        part = None if before is None else shared_part(now.support, before.support, face.size)
        if before is not None and part is not None:
            self._hold(face, now, before, part)
        return now

    def _look(self, frame: int, face: DeviceFace) -> _Past:
        launcher, size = self._launcher, face.size
        step, fine, whole = _scales(size)
        small = whole // step
        reserve = launcher.device.reserve
        luma = reserve(small**2)
        past = _Past(
            frame=frame,
            size=size,
            centre=apply(invert(face.affine), [(size - 1) / 2, (size - 1) / 2]),
            sight=luma if fine == step else reserve((whole // fine) ** 2),
            original=luma,
            swapped=reserve(small**2),
            mask=reserve(4 * small**2),
            change=reserve(PIXEL * size * size),
            settled=reserve(PIXEL * size * size),
            memory=Memory(),
        )
        crop = Pixels(pointer=face.crop, row=4 * size, step=4)
        original = Pixels(pointer=face.original, row=3 * size, step=3)
        mask, sizes = past.mask.pointer, (small, small)
        steadying.look(launcher, original, step, past.original.pointer, sizes)
        steadying.look(launcher, crop, step, past.swapped.pointer, sizes, mask=mask)
        if fine < step:
            sizes = whole // fine, whole // fine
            steadying.look(launcher, original, fine, past.sight.pointer, sizes)
        return past

    def _recolour(self, face: DeviceFace, memory: Memory, curves: Curves) -> None:
        launcher, size = self._launcher, face.size
        crop = Pixels(pointer=face.crop, row=4 * size, step=4)
        original = Pixels(pointer=face.original, row=3 * size, step=3)
        memory.colours.append(steadying.colour_transfer(launcher, original, crop, size, curves))
        settled = settle_colour(memory.colours, MOMENTUM)
        if not (settled == [[1.0], [0.0]]).all():
            steps.grade(launcher, face.crop, (size, size), settled, curves)

    def _hold(self, face: DeviceFace, now: _Past, before: _Past, part: Box) -> None:
        """Blend what the frame before left into ``now.settled`` and the crop."""
        launcher, size, settings = self._launcher, face.size, self._settings
        step, fine, whole = _scales(size)
        x0, y0, x1, y1 = part
        shape, row = (x1 - x0, y1 - y0), whole // step
        small = shape[0] // step, shape[1] // step
        finder = self._flow if fine == 1 else self._small_flow
        flow = finder.flow(
            *(_plane(past.sight.pointer, whole // fine, part, fine) for past in (now, before))
        )
        first = y0 // step * row + x0 // step
        present, old = (
            steadying.Lumas(
                original=past.original.pointer + first, swapped=past.swapped.pointer + first
            )
            for past in (now, before)
        )
        names = ("followed", "alike", "amounts", "mask part", "band", "weight", "edge")
        held = {name: launcher.memory(name, 4 * small[0] * small[1]) for name in names}
        followed, alike, mask = held["followed"], held["alike"], held["mask part"]
        steadying.likeness(launcher, present, old, flow, followed, alike, small, row=row)
        corner = 16 * (y0 * size + x0)
        carried = steadying.part_texture(launcher, before.settled.pointer, size, (x0, y0), shape)
        change = now.change.pointer + corner
        steadying.flow_amounts(launcher, carried, flow, change, size, step, held["amounts"], shape)
        # Values of four bytes, moved as bytes.
        launcher.run(
            "move_bytes",
            *(4 * small[0], small[1]),
            *(now.mask.pointer + 4 * first, 4 * row, 4 * small[0], small[1]),
            *(mask, 4 * small[0], 4 * small[0], small[1]),
        )
        same, kept = steadying.means(launcher, alike, followed, mask, small)
        score = same / max(kept, 0.1)
        odd = settings.guard and out_of_line(score, now.memory.scores)
        now.memory.scores.append(score)
        band = 0
        if settings.seam and float(np.hypot(*(now.centre - before.centre))) < STILL:
            band = held["band"]
            width = max(2, round(SEAM * size / 256 / step))
            steps.seam_band(launcher, mask, band, small, seam_disc(width))
        shares = steadying.Shares(
            held=HELD,
            anomaly=ANOMALY_HELD,
            alike=ALIKE,
            flow=settings.flow,
            snap=settings.snap,
            out_of_line=odd,
        )
        weight, edge = held["weight"], held["edge"]
        steadying.hold(
            launcher, followed, alike, held["amounts"], band, shares, weight, edge, small
        )
        steps.flow_blend(
            launcher,
            carried,
            flow,
            steps.SmallPicture(pointer=weight, width=small[0], height=small[1]),
            steps.SmallPicture(pointer=edge, width=small[0], height=small[1]),
            change,
            face.original + 12 * (y0 * size + x0),
            now.settled.pointer + corner,
            face.crop + corner,
            size,
            shape,
        )


def _scales(size: int) -> tuple[int, int, int]:
    """How many times smaller the pictures are that are measured and that motion is found in, and
    how many pixels of the crop they cover."""
    return measure_step(size), flow_step(size), size // part_grid(size) * part_grid(size)


def _plane(pointer: int, row: int, part: Box, step: int) -> DevicePlane:
    """A part of a luma that is ``step`` times smaller than the crop."""
    x0, y0, x1, y1 = (edge // step for edge in part)
    return DevicePlane(
        pointer=pointer + y0 * row + x0, pitch=row, width=x1 - x0, height=y1 - y0, dtype="uint8"
    )
