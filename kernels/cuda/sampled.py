"""Planes as kernels read them: textures of samples, or of box means where a picture shrinks."""

from __future__ import annotations

from dataclasses import dataclass

from kernels.cuda.device import DevicePicture, DevicePlane, Texture, sides
from kernels.cuda.launcher import Launcher, pitch_of, rows_nbytes
from kernels.cuda.signatures import Map
from kernels.geometry import Affine, compose, invert, plane_affine
from kernels.picture import Picture, PictureFormat, Plane, Roi
from kernels.sampling import Factors, box_factors, seen_cells


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """A texture and where its first texel lies among the cells of its plane."""

    texture: int
    low: tuple[int, int]

    def map(self, to_cells: Affine, origin: tuple[int, int]) -> Map:
        """
        Args:
            to_cells: float64 [2, 3] output pixels -> cells of the plane.
            origin: see ``Map.of``.
        """
        moved = to_cells.copy()
        moved[:, 2] -= self.low
        return Map.of(moved, origin)


def plane_maps(picture: DevicePicture, to_frame: Affine) -> list[Affine]:
    """Output pixels -> samples, of each stored plane."""
    return [
        compose(invert(plane_affine(picture.format, number)), to_frame)
        for number in range(len(picture.planes))
    ]


def plane_factors(fmt: PictureFormat, to_frame: Affine) -> list[Factors]:
    """By how much each plane of a picture is box-filtered before a crop samples it."""
    return [
        box_factors(compose(invert(plane_affine(fmt, number)), to_frame))
        for number in range(fmt.planes)
    ]


def samples(launcher: Launcher, picture: DevicePicture) -> list[Sampled]:
    """The planes as they are; an interleaved pair is one."""
    return [
        Sampled(texture=launcher.device.texture(plane.texture()), low=(plane.x0, plane.y0))
        for plane in picture.planes
    ]


def cells(
    launcher: Launcher,
    picture: DevicePicture,
    maps: list[Affine],
    factors: list[Factors],
    box: Roi,
) -> tuple[list[Sampled], list[Affine]]:
    """Box means of what the output pixels ``box`` see of each plane, a pair as two planes.

    Returns: float32 planes, and maps output pixels -> their cells.
    """
    found: list[Sampled] = []
    to_cells: list[Affine] = []
    for number, plane in enumerate(picture.planes):
        shape = picture.format.plane_shape(number)
        seen, _, to_level = seen_cells(shape, maps[number], factors[number], box)
        parts = [f"cells {len(found) + part}" for part in range(plane.channels)]
        found += means(launcher, parts, plane, factors[number], seen)
        to_cells += [to_level] * plane.channels
    return found, to_cells


def means(
    launcher: Launcher,
    names: list[str],
    plane: DevicePlane,
    factors: Factors,
    seen: Roi,
    *,
    zero_beyond: bool = False,
) -> list[Sampled]:
    """Box means of a plane in float32, one for each of its channels.

    Args:
        names: of the memory that they get.
        seen: cells wanted.
        zero_beyond: beyond the plane is zero; else its edges repeat.
    """
    width, height = sides(seen)
    pitch = pitch_of(width, 4)
    pointers = [launcher.memory(name, rows_nbytes(width, height, 4, pitch)) for name in names]
    source = plane.texture(zero_beyond=zero_beyond)
    kernel = {"uint8": "8", "uint16": "16", "float32": "_float"}[plane.dtype]
    kx, ky = factors
    launcher.run(
        f"cell_pairs{kernel}" if plane.channels == 2 else f"cells{kernel}",
        *(width, height),
        launcher.device.texture(source),
        *(plane.x0, plane.y0, kx, ky, 1 / (kx * ky)),
        *(seen.x0, seen.y0, width, height),
        *pointers,
        pitch // 4,
    )
    return [
        Sampled(
            texture=launcher.device.texture(
                Texture(
                    pointer=pointer,
                    pitch=pitch,
                    width=width,
                    height=height,
                    dtype="float32",
                    zero_beyond=zero_beyond,
                )
            ),
            low=(seen.x0, seen.y0),
        )
        for pointer in pointers
    ]


def sent(
    launcher: Launcher, picture: Picture, to_frame: Affine, factors: list[Factors], box: Roi
) -> DevicePicture:
    """The parts of a host picture that the output pixels ``box`` see, copied to the device."""
    fmt = picture.format
    planes = []
    for number, plane in enumerate(picture.planes):
        to_plane = compose(invert(plane_affine(fmt, number)), to_frame)
        (kx, ky), (height, width) = factors[number], plane.shape
        seen, _, _ = seen_cells(plane.shape, to_plane, factors[number], box)
        x0, y0 = seen.x0 * kx, seen.y0 * ky
        x1, y1 = min(seen.x1 * kx, width), min(seen.y1 * ky, height)
        planes.append(
            sent_plane(launcher, f"plane {number}", plane, Roi(x0=x0, y0=y0, x1=x1, y1=y1))
        )
    return DevicePicture(format=fmt, planes=tuple(planes))


def sent_plane(launcher: Launcher, name: str, plane: Plane, part: Roi) -> DevicePlane:
    """A part of a plane in host memory, copied to the device."""
    samples = plane[part.y0 : part.y1, part.x0 : part.x1]
    height, width = samples.shape
    pitch = pitch_of(width, samples.itemsize)
    pointer = launcher.memory(name, rows_nbytes(width, height, samples.itemsize, pitch))
    launcher.device.write(pointer, pitch, samples)
    return DevicePlane(
        pointer=pointer,
        pitch=pitch,
        width=width,
        height=height,
        dtype=samples.dtype.name,
        x0=part.x0,
        y0=part.y0,
    )
