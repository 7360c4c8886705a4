"""Between FFmpeg's names of pixel formats and the planes that kernels work on.

Working formats are planar with one component to a plane and 8 to 16 bits, little-endian: YUV, grey
and GBR. What a decoder gives in another layout (semi-planar, packed, palette, big-endian, float)
is repacked by swscale to the working format with the same components, subsampling and depth. An
alpha plane is not carried on.
"""

from __future__ import annotations

from typing import Final, cast

import numpy as np
from av.video.format import VideoFormat
from av.video.frame import VideoFrame

from kernels.picture import Matrix, Picture, PictureFormat, Plane, Transfer
from scheduler.errors import MediaUnsupported
from scheduler.media import VideoIndex

_SUBSAMPLING: Final = {
    (0, 0): "444",
    (1, 0): "422",
    (1, 1): "420",
    (0, 1): "440",
    (2, 0): "411",
    (2, 2): "410",
}
_DEPTHS: Final = (8, 9, 10, 12, 14, 16)

# ITU-T H.273 code points.
_MATRICES: Final[dict[int, Matrix]] = {
    0: "rgb",
    1: "bt709",
    4: "bt601",
    5: "bt601",
    6: "bt601",
    7: "bt709",
    9: "bt2020",
    10: "bt2020",
}
_TRANSFERS: Final[dict[int, Transfer]] = {
    1: "bt709",
    6: "bt709",
    7: "bt709",
    8: "linear",
    13: "srgb",
    14: "bt709",
    15: "bt709",
    16: "pq",
    18: "hlg",
}
_CENTRED_CODECS: Final = frozenset({"mjpeg", "mpeg1video"})


def _layout(name: str) -> tuple[str, int, int, int, int]:
    """(family, depth, planes, sub_x, sub_y) of any pixel format; family yuv, gray or gbr."""
    fmt = VideoFormat(name, 64, 64)
    parts = [c for c in fmt.components if not c.is_alpha]
    if fmt.has_palette or (fmt.is_rgb and len(parts) == 1):
        return "gbr", 8, 3, 0, 0
    depth = max(c.bits for c in parts)
    if fmt.name.startswith(("bayer", "xyz")) or fmt.name.endswith(("f16le", "f16be")):
        depth = 16
    # Rounding up to a depth that swscale and the encoders have keeps every bit of the source.
    depth = next((d for d in _DEPTHS if d >= depth), 16)
    if fmt.is_rgb or fmt.name.startswith(("bayer", "xyz")):
        return "gbr", depth, 3, 0, 0
    if len(parts) == 1:
        return "gray", depth, 1, 0, 0
    return (
        "yuv",
        depth,
        3,
        (64 // fmt.chroma_width(64)).bit_length() - 1,
        (64 // fmt.chroma_height(64)).bit_length() - 1,
    )


def working_format_of(pix_fmt: str) -> str:
    """FFmpeg's name of the working format that holds all of ``pix_fmt`` but its alpha."""
    family, depth, _, sub_x, sub_y = _layout(pix_fmt)
    ending = "" if depth == 8 else f"{depth}le"
    if family == "gray":
        return f"gray{ending}"
    if family == "gbr":
        return f"gbrp{ending}"
    sub = _SUBSAMPLING.get((sub_x, sub_y))
    if sub is None:
        raise MediaUnsupported(
            f"pictures of the format {pix_fmt}",
            "4:2:0, 4:2:2, 4:4:4, 4:4:0, 4:1:1 or 4:1:0",
            "convert the film first, for example to yuv420p",
        )
    return f"yuv{sub}p{ending}"


def working_pix_fmt(index: VideoIndex) -> str:
    """FFmpeg's name of the format in which the film's pictures lie in a ring."""
    return working_format_of(index.pix_fmt)


def shares_planes(pix_fmt: str, working: str) -> bool:
    """True where the first planes of ``pix_fmt`` are those of ``working``, bit for bit."""
    if pix_fmt == working:
        return True
    fmt = VideoFormat(pix_fmt, 64, 64)
    opaque = [c for c in fmt.components if not c.is_alpha]
    return (
        fmt.is_planar
        and not fmt.is_big_endian
        and working_format_of(pix_fmt) == working
        and pix_fmt.startswith(("yuvj", "yuva4", "gbrap"))
        and max(c.bits for c in opaque) <= 16
        and len({c.plane for c in opaque}) == len(opaque)
    )


def picture_format(index: VideoIndex) -> PictureFormat:
    """What the numbers in the film's planes mean.

    Unspecified tags are read as players read them: the matrix is BT.709 from 720 lines or 1280
    columns on and BT.601 below, the transfer BT.709 (sRGB for RGB), chroma on the left column but
    for MPEG-1 and JPEG. Gamma 2.2 and 2.8 count as sRGB and BT.709.

    Raises:
        MediaUnsupported: a colour matrix that kernels do not know (YCgCo, ICtCp, constant
            luminance BT.2100 and the like).
    """
    family, depth, planes, sub_x, sub_y = _layout(working_pix_fmt(index))
    tags = index.colour
    matrix: Matrix
    if family == "gbr":
        matrix = "rgb"
    elif tags.matrix in (2, 3) or (tags.matrix == 0 and family == "gray"):
        matrix = "bt709" if index.height >= 720 or index.width >= 1280 else "bt601"
    elif tags.matrix in _MATRICES and tags.matrix != 0:
        matrix = _MATRICES[tags.matrix]
    else:
        raise MediaUnsupported(
            f"colour matrix number {tags.matrix} (ITU-T H.273) in {index.path}",
            "BT.601, BT.709, BT.2020 or RGB",
            "convert the film first, for example with a colorspace filter to BT.709",
        )
    transfer: Transfer = _TRANSFERS.get(
        tags.transfer, "srgb" if family == "gbr" or tags.transfer == 4 else "bt709"
    )
    centred = tags.chroma_location in (2, 4, 6) or (
        tags.chroma_location == 0 and index.codec in _CENTRED_CODECS
    )
    return PictureFormat(
        width=index.width,
        height=index.height,
        depth=depth,
        planes=planes,
        sub_x=sub_x,
        sub_y=sub_y,
        matrix=matrix,
        transfer=transfer,
        full_range=tags.full_range or family == "gbr",
        chroma_left=not centred,
    )


def pix_fmt_of(fmt: PictureFormat) -> str:
    """FFmpeg's name of a working format: the inverse of ``picture_format``."""
    ending = "" if fmt.depth == 8 else f"{fmt.depth}le"
    if fmt.planes == 1:
        return f"gray{ending}"
    if fmt.matrix == "rgb":
        return f"gbrp{ending}"
    return f"yuv{_SUBSAMPLING[fmt.sub_x, fmt.sub_y]}p{ending}"


def plane_views(frame: VideoFrame, fmt: PictureFormat) -> Picture:
    """Views, without line padding, of the planes of a frame whose layout is ``fmt``."""
    views = []
    for plane, memory in zip(range(fmt.planes), frame.planes, strict=False):
        rows, columns = fmt.plane_shape(plane)
        line = abs(memory.line_size) // fmt.dtype.itemsize
        samples = np.frombuffer(cast(bytes, memory), fmt.dtype)
        view = samples[: rows * line].reshape(rows, line)[:, :columns]
        # A negative line size means that the picture lies bottom up.
        views.append(cast(Plane, view[::-1] if memory.line_size < 0 else view))
    return Picture(format=fmt, planes=tuple(views))
