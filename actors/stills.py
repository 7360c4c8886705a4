"""A picture as the target: read upright as a film of one frame, written with all that it had.

The pipeline works on a PNG of the upright pixels, grey or R'G'B' in 8 or 16 bits, so what it does
not touch comes out as the picture's own decoder gave it. Transparency and the colour profile do not
pass through the pipeline; they are put back in the end.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from actors.segments import sync_file
from actors.tiff import encode_tiff
from scheduler.errors import (
    MediaMissing,
    MediaUnreadable,
    MediaUnsupported,
    OutputInvalid,
    SegmentMismatch,
    storage_error,
)
from scheduler.jobs import Segment
from scheduler.output import ImageSettings

Pixels = NDArray[Any]
"""8 or 16 bits: [h, w] grey, or [h, w, 3] B'G'R', or [h, w, 4] with transparency last."""

_TIFF: Final = (b"II*\0", b"MM\0*")
"""What a TIFF, and EXIF within other files, starts with: little or big end first."""
_ORIENTATION: Final = 0x0112
_WEBP_SIDE: Final = 16383
_TURNS: Final[dict[int, Callable[[Pixels], Pixels]]] = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.swapaxes(0, 1),
    6: lambda p: p.swapaxes(0, 1)[:, ::-1],
    7: lambda p: p.swapaxes(0, 1)[::-1, ::-1],
    8: lambda p: p.swapaxes(0, 1)[::-1],
}
"""What EXIF's orientation asks a viewer to do (TIFF 6.0, tag 274)."""
_COMPOSITE: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeSynthetic"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Still:
    """A picture, upright."""

    pixels: Pixels
    profile: bytes
    """ICC colour profile; empty: none."""

    @property
    def colours(self) -> Pixels:
        """Without transparency."""
        return self.pixels[..., :3] if self.pixels.ndim == 3 else self.pixels

    @property
    def alpha(self) -> Pixels | None:
        """[h, w] transparency, if it has any."""
        has = self.pixels.ndim == 3 and self.pixels.shape[2] == 4
        return self.pixels[..., 3] if has else None


def read_still(path: Path) -> Still:
    """Read a picture and turn it as its EXIF orientation says.

    Raises:
        MediaMissing, MediaUnreadable: there is none, or it is damaged.
        MediaUnsupported: several pictures in one file, or samples that are not 8 or 16 bits.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except FileNotFoundError as error:
        raise MediaMissing(
            f"no file at {path}", "a picture", "check the path; a relative one starts here"
        ) from error
    except OSError as error:
        raise MediaUnreadable(
            f"{path} cannot be read ({error.strerror})", "a readable picture", "check the file"
        ) from error
    try:
        pixels, kinds, values = cv2.imdecodeWithMetadata(data, flags=cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise _unreadable(path) from error
    if pixels is None:
        raise _unreadable(path)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise MediaUnsupported(
            f"{path} has samples of the kind {pixels.dtype}",
            "8 or 16 bits",
            "convert it first, for example to a 16-bit PNG",
        )
    if bytes(data[:4]) in _TIFF and pixels.shape[2:] == (4,) and pixels.dtype == np.uint8:
        pixels = _with_alpha(path)
    pages = _pages(data)
    if pages > 1:
        raise MediaUnsupported(
            f"{path} holds {pages} pictures", "one picture", "take them apart first"
        )
    found = {int(kind): bytes(np.ravel(v)) for kind, v in zip(kinds, values, strict=True)}
    turn = _TURNS[_orientation(found.get(int(cv2.IMAGE_METADATA_EXIF), b""))]
    return Still(
        pixels=np.ascontiguousarray(turn(pixels)),
        profile=found.get(int(cv2.IMAGE_METADATA_ICCP), b""),
    )


def _with_alpha(path: Path) -> Pixels:
    """[h, w, 4] of a TIFF whose colours OpenCV would darken by their transparency."""
    with av.open(str(path)) as film:
        frame = next(film.decode(video=0))
        pixels: Pixels = frame.to_ndarray(format="bgra")
        return pixels


def _pages(data: NDArray[np.uint8]) -> int:
    """How many pictures a file holds, by what it starts with and by its chunks."""
    head = bytes(data[:4096])
    if head[:4] in _TIFF:
        order = "<" if head[:2] == b"II" else ">"
        count, place = 0, struct.unpack_from(f"{order}I", head, 4)[0]
        raw = data.data
        while place and place + 2 <= len(data) and count < 1000:
            count += 1
            entries = struct.unpack_from(f"{order}H", raw, place)[0]
            end = place + 2 + 12 * entries
            place = struct.unpack_from(f"{order}I", raw, end)[0] if end + 4 <= len(data) else 0
        return count
    if head[:4] == b"RIFF":
        return bytes(data).count(b"ANMF") or 1
    if head[:4] == b"\x89PNG" and b"acTL" in head:
        at = head.index(b"acTL") + 4
        return int(struct.unpack_from(">I", head, at)[0])
    return 1


def _orientation(exif: bytes) -> int:
    """EXIF's orientation, 1 to 8; 1 where it says none that makes sense."""
    exif = exif.removeprefix(b"Exif\0\0")
    if exif[:4] not in _TIFF:
        return 1
    order = "<" if exif[:2] == b"II" else ">"
    try:
        place = struct.unpack_from(f"{order}I", exif, 4)[0]
        for entry in range(struct.unpack_from(f"{order}H", exif, place)[0]):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", exif, place + 2 + 12 * entry)
            if tag == _ORIENTATION:
                return int(value) if value in _TURNS else 1
    except struct.error:
        return 1
    return 1


def write_target(still: Still, path: Path) -> None:
    """Write what the pipeline is to work on.

    Raises:
        StorageUnwritable, DiskFull: it cannot be written.
    """
    colours = np.ascontiguousarray(still.colours)
    done, data = cv2.imencode(".png", colours, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert done, "PNG holds grey and R'G'B' of 8 and 16 bits"
    _write(data.tobytes(), path)


def check_still(still: Still, output: Path, settings: ImageSettings) -> tuple[str, ...]:
    """What the format of the result will not keep; asked before any work is done.

    Returns:
        Sentences for the user.

    Raises:
        OutputInvalid: the format does not hold pictures of that size.
    """
    suffix = output.suffix.lower()
    height, width = _size(still.pixels, settings.scale)
    if suffix == ".webp" and max(height, width) > _WEBP_SIDE:
        raise OutputInvalid(
            f"a WebP of {width}x{height}",
            f"at most {_WEBP_SIDE} pixels on a side",
            "choose another ending for -o, as in .png, or a smaller --output-image-scale",
        )
    notes = []
    if still.pixels.dtype == np.uint16 and suffix not in (".png", ".tiff", ".tif"):
        notes.append(f"{suffix} has 8 bits a sample, the picture 16; .png and .tiff keep them")
    if still.alpha is not None and suffix in (".jpg", ".jpeg"):
        notes.append(f"{suffix} has no transparency; .png, .webp and .tiff keep it")
    if suffix == ".bmp":
        notes.append(
            ".bmp cannot say in the file that faces were altered; say so where you show it"
        )
    return tuple(notes)


def write_still(
    still: Still,
    segments: list[Segment],
    output: Path,
    settings: ImageSettings,
    marking: dict[str, str],
) -> None:
    """Write the rendered picture with the transparency and the profile of the one it was.

    The file says that faces were altered: as EXIF description and as XMP with IPTC's source type
    (PNG, JPEG, WebP), or as TIFF tags. It is synced; the caller renames it.

    Args:
        still: the target.
        segments: its one segment.
        output: where to write; the ending names the format.
        marking: what was altered and by what.

    Raises:
        SegmentMismatch: there is not exactly one frame.
        StorageUnwritable, DiskFull: it cannot be written.
    """
    pixels = _rendered(segments, still)
    if still.alpha is not None:
        colours = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
        pixels = np.concatenate([colours, still.alpha[..., None]], axis=2)
    pixels = _scaled(pixels, settings.scale)
    _write(_encode(pixels, output.suffix.lower(), settings.quality, still.profile, marking), output)


def _rendered(segments: list[Segment], still: Still) -> Pixels:
    depth = "16le" if still.pixels.dtype == np.uint16 else ""
    grey = still.colours.ndim == 2
    name = f"gray{depth}" if grey else ("bgr48le" if depth else "bgr24")
    frames = []
    for segment in segments:
        with av.open(segment.path) as film:
            frames += [frame.to_ndarray(format=name) for frame in film.decode(video=0)]
    if len(frames) != 1 or frames[0].shape != still.colours.shape:
        raise SegmentMismatch(
            f"{len(frames)} frames of a picture", "one of its size", "run the job again"
        )
    pixels: Pixels = frames[0]
    return pixels


def _size(pixels: Pixels, scale: float) -> tuple[int, int]:
    height, width = pixels.shape[:2]
    return max(1, round(height * scale)), max(1, round(width * scale))


def _scaled(pixels: Pixels, scale: float) -> Pixels:
    """Averaged where it shrinks; transparent pixels lend no colour to their neighbours."""
    if scale == 1.0:
        return pixels
    height, width = _size(pixels, scale)
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    if pixels.ndim == 2 or pixels.shape[2] == 3:
        resized: Pixels = cv2.resize(pixels, (width, height), interpolation=way)
        return resized
    top = float(np.iinfo(pixels.dtype).max)
    values: NDArray[np.float32] = pixels.astype(np.float32)
    values[..., :3] *= values[..., 3:] / top
    small: NDArray[Any] = cv2.resize(values, (width, height), interpolation=way)
    small[..., :3] *= top / np.maximum(small[..., 3:], 1e-6)
    rounded: Pixels = np.clip(np.rint(small), 0, top).astype(pixels.dtype)
    return rounded


def _encode(
    pixels: Pixels, suffix: str, quality: int, profile: bytes, marking: dict[str, str]
) -> bytes:
    words = " | ".join(
        f"{key}: {text}" if key != "comment" else text for key, text in marking.items()
    )
    if suffix in (".tif", ".tiff"):
        return encode_tiff(pixels, description=words, xmp=_xmp(words), profile=profile)
    if pixels.dtype == np.uint16 and suffix != ".png":
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if suffix in (".jpg", ".jpeg") and pixels.ndim == 3:
        pixels = np.ascontiguousarray(pixels[..., :3])
    if suffix == ".bmp":
        return _done(cv2.imencode(suffix, pixels))
    # From 90 on a JPEG keeps all colour samples; below, half of them each way, as is usual.
    sampling = (
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
        if quality >= 90
        else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
    )
    parameters = {
        ".webp": [cv2.IMWRITE_WEBP_QUALITY, 101 if quality == 100 else max(1, quality)],
        ".png": [cv2.IMWRITE_PNG_COMPRESSION, 6],
    }.get(
        suffix,
        [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling],
    )
    kinds = [cv2.IMAGE_METADATA_EXIF, cv2.IMAGE_METADATA_XMP]
    values = [np.frombuffer(_exif(words), np.uint8), np.frombuffer(_xmp(words), np.uint8)]
    if profile:
        kinds.append(cv2.IMAGE_METADATA_ICCP)
        values.append(np.frombuffer(profile, np.uint8))
    return _done(cv2.imencodeWithMetadata(suffix, pixels, kinds, values, parameters))


def _done(result: tuple[bool, NDArray[Any]]) -> bytes:
    done, data = result
    assert done, "each of these formats takes 8-bit pictures"
    return data.tobytes()


def _exif(words: str) -> bytes:
    """EXIF with a description and an upright orientation, and nothing else."""
    text = words.encode("ascii", "replace") + b"\0"
    entries = [
        struct.pack("<HHII", 0x010E, 2, len(text), 8 + 2 + 2 * 12 + 4),
        struct.pack("<HHIHH", _ORIENTATION, 3, 1, 1, 0),
    ]
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries) + bytes(4) + text


def _xmp(words: str) -> bytes:
    escaped = words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"'
        ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        f' Iptc4xmpExt:DigitalSourceType="{_COMPOSITE}">'
        f'<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{escaped}</rdf:li></rdf:Alt>'
        "</dc:description></rdf:Description></rdf:RDF></x:xmpmeta>"
        '<?xpacket end="w"?>'
    ).encode()


def _write(data: bytes, path: Path) -> None:
    try:
        path.write_bytes(data)
        sync_file(path)
    except OSError as error:
        raise storage_error(error, os.fspath(path)) from error


def _unreadable(path: Path) -> MediaUnreadable:
    return MediaUnreadable(
        f"{path} is no picture that can be read",
        "a PNG, JPEG, WebP, TIFF or BMP that a viewer opens",
        "open it in a viewer, or copy or download it again",
    )
