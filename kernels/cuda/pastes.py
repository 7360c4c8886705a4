"""Changed crops back into pictures in device memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kernels.colour import TransferTables, encode_matrix
from kernels.cuda.device import DevicePicture, DevicePlane, sides
from kernels.cuda.launcher import Launcher, pitch_of, rows_nbytes
from kernels.cuda.sampled import Sampled, means
from kernels.cuda.signatures import Map, Matrix, Part, Target, nearest
from kernels.geometry import Affine, apply, compose, invert, plane_affine, resize
from kernels.pasting import plane_part
from kernels.picture import PictureFormat, Roi, Transfer
from kernels.pyramid import LEVELS
from kernels.sampling import box_factors, seen_cells


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels:
    """float32 values in device memory."""

    pointer: int
    """Of the first pixel's first value."""
    row: int
    """Values from row to row."""
    step: int
    """Values from pixel to pixel."""

    def at(self, x: int, y: int) -> int:
        """A pointer to a pixel."""
        return self.pointer + 4 * (y * self.row + x * self.step)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """The tables of a transfer curve (``kernels.colour.TransferTables``) in device memory."""

    to_light: int
    from_light: int


class Pastes:
    """Pastes crops into pictures: ``kernels.api.Kernels.paste`` without its copies.

    Args:
        launcher: whose device holds the pictures.
    """

    __slots__ = ("_curves", "_launcher")

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._curves: dict[Transfer, Curves] = {}

    def curves(self, transfer: Transfer) -> Curves:
        """The tables of a transfer, copied to the device when they are first wanted."""
        if transfer not in self._curves:
            tables = TransferTables(transfer)
            self._curves[transfer] = Curves(
                to_light=self._launcher.sent(f"{transfer} to light", tables.linear),
                from_light=self._launcher.sent(f"{transfer} from light", tables.from_root),
            )
        return self._curves[transfer]

    def paste(
        self,
        picture: DevicePicture,
        before: Pixels,
        after: Pixels,
        mask: Pixels,
        size: int,
        affine: Affine,
        box: Roi,
        roi: Roi,
    ) -> int:
        """Patch a picture's planes.

        Args:
            picture: any form; of its planes at least ``roi``, which is patched.
            before: R'G'B' of the crop as the picture has it, its first pixel that of ``box``.
            after: R'G'B' of the whole crop.
            mask: of the whole crop.
            size: the crop's side in pixels.
            affine: float64 [2, 3] frame pixels -> crop pixels.
            box: from ``kernels.pasting.blend_box``.
            roi: from ``kernels.pasting.frame_roi``, not empty.
        Returns: a pointer to uint8 [roi height, roi width], 1 where luma may have changed; good
            until the next paste.
        """
        codes = self._changes(picture.format, before, after, mask, box)
        touched = self._touched(mask, size, affine, roi)
        self._add(picture, codes, touched, size, affine, roi)
        return touched

    def _changes(
        self, fmt: PictureFormat, before: Pixels, after: Pixels, mask: Pixels, box: Roi
    ) -> list[DevicePlane]:
        """How the codes of each plane change in the box, at the crop's resolution."""
        launcher, curves = self._launcher, self.curves(fmt.transfer)
        shapes = [sides(box)]
        for _ in range(LEVELS - 1):
            width, height = shapes[-1]
            shapes.append((-(-width // 2), -(-height // 2)))
        levels = [
            launcher.memory(f"level {number}", 16 * width * height)
            for number, (width, height) in enumerate(shapes)
        ]
        launcher.run(
            "pyramid_base",
            *shapes[0],
            *(before.pointer, before.row, after.at(box.x0, box.y0), after.row, after.step),
            *(mask.at(box.x0, box.y0), mask.row, mask.step, curves.to_light, levels[0]),
            *shapes[0],
        )
        for number in range(1, LEVELS):
            launcher.run(
                "pyramid_down",
                *shapes[number],
                *(levels[number - 1], *shapes[number - 1], levels[number], *shapes[number]),
            )
        total = 0
        for number in range(LEVELS - 2, 0, -1):
            width, height = shapes[number]
            brought = launcher.memory(f"brought {number}", 16 * width * height)
            launcher.run(
                "blend_up",
                *(width, height),
                *(levels[number], levels[number + 1], *shapes[number + 1], total, brought),
                *(width, height),
            )
            total = brought
        width, height = shapes[0]
        pitch = pitch_of(width, 4)
        plane = -(-pitch * height // 512) * 512
        last = rows_nbytes(width, height, 4, pitch)
        codes = launcher.memory("codes", plane * (fmt.planes - 1) + last)
        matrix = np.zeros((3, 4))
        matrix[: fmt.planes, :3] = encode_matrix(fmt)
        launcher.run(
            "blend_codes",
            *(width, height),
            *(levels[0], levels[1], *shapes[1], total, before.pointer, before.row),
            *(curves.to_light, curves.from_light, Matrix.of(matrix), fmt.planes),
            *(codes, pitch // 4, plane // 4, width, height),
        )
        return [
            DevicePlane(
                pointer=codes + number * plane,
                pitch=pitch,
                width=width,
                height=height,
                dtype="float32",
                x0=box.x0,
                y0=box.y0,
            )
            for number in range(fmt.planes)
        ]

    def _touched(self, mask: Pixels, size: int, affine: Affine, roi: Roi) -> int:
        width, height = sides(roi)
        touched = self._launcher.memory("touched", width * height)
        kx, ky = box_factors(affine)
        to_cells = compose(invert(resize(kx, ky)), affine)
        self._launcher.run(
            "touch",
            *(width, height),
            *(mask.pointer, mask.row, mask.step, size, kx, ky),
            Map.of(to_cells, _middle(affine, size)),
            *(roi.x0, roi.y0, touched, width, width, height),
        )
        return touched

    def _add(
        self,
        picture: DevicePicture,
        codes: list[DevicePlane],
        touched: int,
        size: int,
        affine: Affine,
        roi: Roi,
    ) -> None:
        fmt = picture.format
        targets = write_targets(picture)
        for number in range(min(fmt.planes, 2)):
            # Both chroma planes lie alike: one launch.
            alike = range(number, 3 if number else 1)
            part, to_crop = plane_part(roi, fmt, number), compose(affine, plane_affine(fmt, number))
            sources = [self._source(codes[each], to_crop, part, size) for each in alike]
            ready = [source for source, _ in sources]
            to_cells = sources[0][1]
            width, height = sides(part)
            sub_x, sub_y = (fmt.sub_x, fmt.sub_y) if number else (0, 0)
            self._launcher.run(
                "add_change8" if fmt.dtype.itemsize == 1 else "add_change16",
                *(width, height),
                Part(
                    *(part.x0, part.y0, width, height),
                    *(touched, roi.x1 - roi.x0, *sides(roi), sub_x, sub_y),
                ),
                ready[0].map(to_cells, _middle(to_crop, size)),
                *(ready[0].texture, ready[-1].texture),
                *(targets[number], targets[alike[-1]], len(ready), (1 << fmt.depth) - 1),
            )

    def _source(
        self, change: DevicePlane, to_crop: Affine, part: Roi, size: int
    ) -> tuple[Sampled, Affine]:
        """A change as it is sampled, box-filtered where it shrinks, and the map to its cells."""
        launcher, factors = self._launcher, box_factors(to_crop)
        if factors == (1, 1):
            texture = launcher.device.texture(change.texture(zero_beyond=True))
            return Sampled(texture=texture, low=(change.x0, change.y0)), to_crop
        seen, _, to_cells = seen_cells((size, size), to_crop, factors, part)
        name = f"change {change.pointer}"
        (source,) = means(launcher, [name], change, factors, seen, zero_beyond=True)
        return source, to_cells


def write_targets(picture: DevicePicture) -> list[Target]:
    """The planes as kernels write them, an interleaved pair as two; coordinates are the picture's,
    whatever part of it is held."""
    targets = []
    for plane in picture.planes:
        step = plane.channels
        first = plane.pointer - plane.y0 * plane.pitch - plane.x0 * step * plane.itemsize
        for channel in range(step):
            base = first + channel * plane.itemsize
            targets.append(Target(base, plane.pitch, step, picture.shift))
    return targets


def _middle(to_crop: Affine, size: int) -> tuple[int, int]:
    """The whole sample of a plane next to the middle of a crop."""
    x, y = apply(invert(to_crop), [(size - 1) / 2, (size - 1) / 2]).tolist()
    return nearest(x), nearest(y)
