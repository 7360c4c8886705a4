"""Single steps on pictures that are in device memory already, for lanes that keep them there.

Each is one launch (the blur two), and does not wait for it. Pointers are to float32 without gaps
unless said otherwise. ``kernels.reference_steps`` defines them in float64.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from kernels.colour import code_scale, encode_matrix
from kernels.cuda.crops import GRAY, LINEAR_CHROMA, rgb_matrix
from kernels.cuda.device import DevicePicture, Texture, sides
from kernels.cuda.launcher import Launcher
from kernels.cuda.pastes import Curves, write_targets
from kernels.cuda.sampled import samples
from kernels.cuda.signatures import Blocks, Channels, Grade, Matrix, Small
from kernels.geometry import invert, plane_affine
from kernels.picture import Roi

Order = Literal["rgb", "bgr"]
FARTHEST_TAP: Final = 64
"""As in blur.cu."""
LEAST, PRODUCT = 0, 1
"""As in mask.cu."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """R'G'B' pictures one behind the other, channels last."""

    pointer: int
    count: int
    width: int
    height: int
    step: int = 3
    """Values from pixel to pixel: 4 where each has a mask."""
    row: int = 0
    """Values from row to row; 0: no gaps. With a larger ``step`` a picture may be every second
    pixel of another."""
    dtype: Literal["uint8", "float32"] = "float32"

    @property
    def pitch(self) -> int:
        """Values from row to row."""
        return self.row or self.width * self.step


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallPicture:
    """A picture that is enlarged where it is used: [height, width] or, of flow, [.., .., 2]."""

    pointer: int
    width: int
    height: int


def pack(
    launcher: Launcher,
    pictures: Batch,
    tensor: int,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    deviation: Sequence[float] = (1.0, 1.0, 1.0),
    order: Order = "rgb",
) -> None:
    """Fill a network's input [n, 3, h, w] with (value - mean) / deviation.

    Args:
        pictures: of bytes, 255 counts as 1.
        mean, deviation: of the tensor's channels, as they are ordered there.
        order: of the tensor's channels.
    """
    unit = 255.0 if pictures.dtype == "uint8" else 1.0
    scale = [1.0 / (unit * float(each)) for each in deviation]
    bias = [-float(a) / float(b) for a, b in zip(mean, deviation, strict=True)]
    row = pictures.pitch
    launcher.run(
        "pack_bytes" if pictures.dtype == "uint8" else "pack_floats",
        *(pictures.width, pictures.height),
        *(pictures.pointer, row * pictures.height, row, pictures.step),
        *(tensor, pictures.width, pictures.height, _channels(scale, bias, order)),
        count=pictures.count,
    )


def unpack(
    launcher: Launcher,
    tensor: int,
    pictures: Batch,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    deviation: Sequence[float] = (1.0, 1.0, 1.0),
    order: Order = "rgb",
    *,
    astray: int = 0,
) -> None:
    """The inverse of ``pack``, clipped to 0..1; a fourth channel of the pictures is left alone.

    Args:
        astray: of an int32 that becomes 1 if a value of the tensor is not finite; 0: nobody asks.
    """
    places = [0, 1, 2] if order == "rgb" else [2, 1, 0]
    scale, bias = ([float(values[at]) for at in places] for values in (deviation, mean))
    row = pictures.pitch
    launcher.run(
        "unpack_floats",
        *(pictures.width, pictures.height),
        *(tensor, pictures.pointer, row * pictures.height, row, pictures.step),
        *(pictures.width, pictures.height, _channels(scale, bias, order), astray),
        count=pictures.count,
    )


def merge_masks(
    launcher: Launcher,
    masks: Sequence[int],
    out: int,
    size: tuple[int, int],
    how: Literal["least", "product"] = "least",
    *,
    low: float = 0.0,
    high: float = 1.0,
    border: bool = False,
    held: bool = False,
    row: int = 0,
    step: int = 1,
) -> None:
    """One mask of one to four: (merged - low) / (high - low), clipped to 0..1.

    Args:
        size: (width, height).
        border: whether the outermost pixels become zero.
        held: whether what is in ``out`` is one of those that are merged.
        row, step: of ``out``, values from row to row (0: no gaps) and from pixel to pixel.
    Raises ValueError: no mask, or more than four.
    """
    if not 1 <= len(masks) <= 4:
        raise ValueError(f"{len(masks)} masks; wanted one to four")
    launcher.run(
        "merge_masks",
        *size,
        *(*masks, *[0] * (4 - len(masks))),
        *(LEAST if how == "least" else PRODUCT, low, 1.0 / (high - low), int(border), int(held)),
        *(out, row or size[0] * step, step, *size),
    )


def seam_band(
    launcher: Launcher, mask: int, out: int, size: tuple[int, int], disc: NDArray[np.uint8]
) -> None:
    """``kernels.filters.seam_band``: 1 along the line where a mask is 1/2, else 0.

    Args:
        size: (width, height).
        disc: [k, k], 1 in what is looked at about each pixel; each row without a hole.
    """
    middle = disc.shape[1] // 2
    spans = np.zeros((len(disc), 2), np.int32)
    for row, line in enumerate(disc):
        columns = np.flatnonzero(line)
        if len(columns):
            spans[row] = columns[0] - middle, columns[-1] + 1 - middle
    pointer = launcher.sent("spans", spans)
    launcher.run("seam_band", *size, mask, pointer, len(disc), out, *size)


def decode(
    launcher: Launcher, picture: DevicePicture, roi: Roi, out: int, curves: Curves | None = None
) -> None:
    """Fill float32 [roi height, roi width, 3] with a box of a picture in R'G'B'.

    Args:
        picture: any form; of its planes at least what the box and its neighbours need.
        curves: of the picture's transfer: light instead of R'G'B'.
    """
    fmt, sources = picture.format, samples(launcher, picture)
    first, second, third = (*sources, *(sources[-1:] * 2))[:3]
    to_chroma = invert(plane_affine(fmt, min(1, fmt.planes - 1)))
    wide = picture.planes[0].dtype == "uint16"
    kernel = "decode_planar16" if wide else "decode_planar8"
    if picture.interleaved:
        kernel = "decode_p010" if wide else "decode_nv12"
    width, height = sides(roi)
    launcher.run(
        kernel,
        *(width, height),
        *(first.texture, second.texture, third.texture),
        second.map(to_chroma, (fmt.width // 2, fmt.height // 2)),
        Matrix.of(rgb_matrix(picture)),
        *first.low,
        GRAY if fmt.planes == 1 else LINEAR_CHROMA,
        curves.to_light if curves else 0,
        *(roi.x0, roi.y0, width, height, out, 3 * width),
    )


def encode(
    launcher: Launcher,
    rgb: int,
    picture: DevicePicture,
    roi: Roi,
    curves: Curves | None = None,
    *,
    dither: bool = True,
) -> None:
    """Write a box of R'G'B' [roi height, roi width, 3] into a picture's planes.

    A chroma sample is the mean of its block; where it sits on the block's left column, a quarter
    each of the columns next to that and half of it.

    Args:
        picture: any form; of its planes at least the box.
        roi: edges on whole chroma blocks, or the picture's own.
        curves: of the picture's transfer: ``rgb`` is light.
        dither: by ``kernels.dither``; else to the nearest code.
    """
    fmt, targets = picture.format, write_targets(picture)
    matrix = np.zeros((3, 4))
    matrix[: fmt.planes, :3], matrix[: fmt.planes, 3] = encode_matrix(fmt), _zeros(picture)
    sub_x, sub_y = (fmt.sub_x, fmt.sub_y) if fmt.planes == 3 else (0, 0)
    width, height = sides(roi)
    launcher.run(
        "encode8" if fmt.dtype.itemsize == 1 else "encode16",
        *(-(-width >> sub_x), -(-height >> sub_y)),
        *(rgb, 3 * width, curves.from_light if curves else 0, Matrix.of(matrix)),
        Blocks(sub_x, sub_y, int(fmt.chroma_left), fmt.planes, (1 << fmt.depth) - 1, int(dither)),
        *(targets[0], targets[-2] if fmt.planes == 3 else targets[0], targets[-1]),
        *(roi.x0, roi.y0, width, height),
    )


def grade(
    launcher: Launcher,
    crop: int,
    size: tuple[int, int],
    transfer: NDArray[np.float64],
    curves: Curves,
) -> None:
    """``kernels.filters.apply_colour`` on [h, w, 4], whose fourth channel is the mask, in place."""
    gains, biases = ((ctypes.c_float * 3)(*values) for values in transfer.tolist())
    launcher.run(
        "grade", *size, crop, Grade(gains, biases), curves.to_light, curves.from_light, *size
    )


def blur(
    launcher: Launcher,
    picture: int,
    out: int,
    size: tuple[int, int],
    taps: Sequence[float],
    *,
    zero_beyond: bool = False,
) -> None:
    """A symmetric separable filter of [h, w].

    Args:
        taps: the middle one, then those towards one side (``gaussian_taps``).
        zero_beyond: beyond the edges is zero; else mirrored, the edge itself not repeated.
    Raises ValueError: more than ``FARTHEST_TAP`` + 1 taps, or none.
    """
    radius = len(taps) - 1
    if not 0 <= radius <= FARTHEST_TAP:
        raise ValueError(f"{len(taps)} taps; wanted 1 to {FARTHEST_TAP + 1}")
    width, height = size
    weights = launcher.sent("taps", np.asarray(taps, np.float32))
    rows = launcher.memory("blurred rows", 4 * width * height)
    zero = int(zero_beyond)
    launcher.run("blur_rows", *size, picture, weights, radius, zero, rows, *size)
    launcher.run("blur_columns", *size, rows, weights, radius, zero, out, *size)


def gaussian_taps(deviation: float, radius: int) -> list[float]:
    """Weights of a Gaussian for ``blur``: together with their mirror image they add up to 1."""
    values = np.exp(-0.5 * np.square(np.arange(radius + 1) / deviation))
    taps: list[float] = (values / (2.0 * values.sum() - values[0])).tolist()
    return taps


def flow_blend(
    launcher: Launcher,
    before: Texture,
    flow: SmallPicture,
    weight: SmallPicture,
    edge: SmallPicture,
    change: int,
    original: int,
    settled: int,
    crop: int,
    row: int,
    size: tuple[int, int],
) -> None:
    """Blend the change of the frame before, carried by the flow, into that of this frame.

    Args:
        before: float32 of four channels, zero beyond: the part's change of the frame before.
        flow: x y in its own pixels; ``weight``, ``edge``: shares of R'G'B' and of the mask.
        change, settled, crop: [.., row, 4] from the part's first pixel on; the last two are filled.
        original: [.., row, 3], likewise.
        size: (width, height) of the part.
    """
    small = [Small.of(each.pointer, each.width, each.height, size) for each in (flow, weight, edge)]
    launcher.run(
        "flow_blend",
        *size,
        launcher.device.texture(before),
        *small,
        *(change, original, settled, crop, row, *size),
    )


def _channels(scale: Sequence[float], bias: Sequence[float], order: Order) -> Channels:
    places = (0, 1, 2) if order == "rgb" else (2, 1, 0)
    kind = ctypes.c_float * 3
    return Channels(kind(*scale), kind(*bias), (ctypes.c_int * 3)(*places))


def _zeros(picture: DevicePicture) -> NDArray[np.float64]:
    """The codes of black."""
    fmt = picture.format
    luma, _, chroma, _ = code_scale(fmt)
    rest = luma if fmt.matrix == "rgb" else chroma
    return np.array([luma, rest, rest])[: fmt.planes]
