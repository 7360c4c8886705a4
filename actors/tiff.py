"""TIFF files with words in them, which OpenCV does not write (TIFF 6.0, baseline and Deflate)."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SHORT, _LONG, _ASCII, _BYTES, _RATIONAL = 3, 4, 2, 7, 5


def encode_tiff(pixels: NDArray[Any], *, description: str, xmp: bytes, profile: bytes) -> bytes:
    """A TIFF of [h, w] grey or [h, w, 3 or 4] B'G'R' and transparency, 8 or 16 bits.

    Args:
        description: text of the tag ImageDescription.
        xmp: packet of the tag XMP; empty: none.
        profile: ICC profile; empty: none.
    """
    height, width = pixels.shape[:2]
    samples = 1 if pixels.ndim == 2 else pixels.shape[2]
    ordered = pixels if samples == 1 else pixels[..., [2, 1, 0, *range(3, samples)]]
    bits = 8 * pixels.dtype.itemsize
    strip = zlib.compress(np.ascontiguousarray(ordered).astype(f"<u{bits // 8}").tobytes(), 6)
    text = description.encode("ascii", "replace") + b"\0"
    tags: list[tuple[int, int, bytes]] = [
        (256, _LONG, struct.pack("<I", width)),
        (257, _LONG, struct.pack("<I", height)),
        (258, _SHORT, struct.pack(f"<{samples}H", *[bits] * samples)),
        (259, _SHORT, struct.pack("<H", 8)),
        (262, _SHORT, struct.pack("<H", 1 if samples == 1 else 2)),
        (270, _ASCII, text),
        (273, _LONG, struct.pack("<I", 8)),
        (274, _SHORT, struct.pack("<H", 1)),
        (277, _SHORT, struct.pack("<H", samples)),
        (278, _LONG, struct.pack("<I", height)),
        (279, _LONG, struct.pack("<I", len(strip))),
        (282, _RATIONAL, struct.pack("<II", 72, 1)),
        (283, _RATIONAL, struct.pack("<II", 72, 1)),
        (284, _SHORT, struct.pack("<H", 1)),
        (296, _SHORT, struct.pack("<H", 2)),
        *([(338, _SHORT, struct.pack("<H", 2))] if samples == 4 else []),
        *([(700, _BYTES, xmp)] if xmp else []),
        *([(34675, _BYTES, profile)] if profile else []),
    ]
    body = bytearray(strip + bytes(len(strip) % 2))
    sizes = {_SHORT: 2, _LONG: 4, _ASCII: 1, _BYTES: 1, _RATIONAL: 8}
    entries = b""
    for tag, kind, value in tags:
        count = len(value) // sizes[kind]
        if len(value) > 4:
            place = 8 + len(body)
            body += value + bytes(len(value) % 2)
            value = struct.pack("<I", place)
        entries += struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")
    directory = 8 + len(body)
    head = b"II*\0" + struct.pack("<I", directory)
    return head + bytes(body) + struct.pack("<H", len(tags)) + entries + bytes(4)
