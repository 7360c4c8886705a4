"""A picture that shows what a job did: frames of the film above, the same frames of the result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from actors.film import frames_of, open_film, picture_stream
from actors.formats import picture_format
from actors.prober import probe
from actors.stills import read_still
from actors.whole_file import whole_file
from scheduler.errors import FramesLost, SettingInvalid
from scheduler.media import VideoIndex
from scheduler.output import STILLS, CutSettings
from scheduler.timeline import source_frames

Image = NDArray[np.uint8]
"""[h, w, 3] R'G'B', 8 bits."""

WHOLE: Final = CutSettings()
CELL: Final = 480
"""Longest side of one frame on the sheet, in pixels."""
GAP: Final = 8
PAPER: Final = (24, 24, 24)
INK: Final = (235, 235, 235)
COLUMNS: Final = 3

_MATRICES: Final = {
    "bt601": Colorspace.ITU601,
    "bt709": Colorspace.ITU709,
    "bt2020": Colorspace.BT2020,
    "rgb": Colorspace.ITU709,  # not used: the samples are R'G'B' already
}


def time_code(seconds: float) -> str:
    """Hours, minutes, seconds and milliseconds: 0:01:02.500."""
    millis = round(seconds * 1000)
    minutes, millis = divmod(millis, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{millis // 1000:02}.{millis % 1000:03}"


def evenly(frames: int, wanted: int) -> list[int]:
    """Indices of at most ``wanted`` frames, each in the middle of its equal share of the film."""
    count = min(frames, wanted)
    return [(2 * place + 1) * frames // (2 * count) for place in range(count)]


def read_frames(index: VideoIndex, wanted: Sequence[int], longest: int = CELL) -> Iterator[Image]:
    """The wanted frames as a player shows them: turned, in square pixels.

    Args:
        longest: pixels on the long side; 0: as many as the film has.

    Raises:
        FramesLost: the decoder does not give a frame that the index names.
    """
    with open_film(index.path) as container:
        for frame in wanted:
            yield _upright(_decode(container, index, frame), index, longest)


def _decode(container: InputContainer, index: VideoIndex, wanted: int) -> VideoFrame:
    stream = picture_stream(container, index.stream)
    target = index.pts[wanted]
    keyframe = index.keyframe_before(wanted)
    while True:
        container.seek(index.pts[keyframe], stream=stream, backward=True)
        for frame in frames_of(container, stream):
            if frame.pts is not None and frame.pts >= target:
                if frame.pts == target:
                    return frame
                break
        if keyframe == 0:
            raise FramesLost(
                f"{index.path}: no frame with PTS {target}",
                "each frame that the index names",
                "check that the file plays to its end",
            )
        # The seek landed behind the frame (open groups, sloppy indices): start further back.
        keyframe = index.keyframe_before(keyframe - 1)


def _upright(frame: VideoFrame, index: VideoIndex, longest: int) -> Image:
    layout = picture_format(index)
    rgb = frame.reformat(
        format="rgb24",
        src_colorspace=_MATRICES[layout.matrix],
        dst_colorspace=Colorspace.ITU709,
        src_color_range=ColorRange.JPEG if layout.full_range else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
    ).to_ndarray()
    width = max(1, round(index.width * index.sample_aspect_ratio))
    scale = longest / max(width, index.height) if longest else 1.0
    size = (max(1, round(width * scale)), max(1, round(index.height * scale)))
    shown = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return np.ascontiguousarray(np.rot90(shown, -(index.rotation // 90)), dtype=np.uint8)


def _label(image: Image, text: str) -> Image:
    """``image`` with a word in its lower left corner, readable on any ground."""
    scale, face = 0.45, cv2.FONT_HERSHEY_SIMPLEX
    (width, height), descent = cv2.getTextSize(text, face, scale, 1)
    bottom, left = image.shape[0] - 6, 6
    box = image[bottom - height - 5 : bottom + descent, left - 3 : left + width + 4]
    box[...] = box // 4
    cv2.putText(image, text, (left, bottom - 2), face, scale, INK, 1, cv2.LINE_AA)
    return image


def arrange(pairs: Sequence[tuple[Image, Image]], codes: Sequence[str]) -> Image:
    """Lay pairs of equal-sized pictures out in bands of COLUMNS, originals above results."""
    height, width = pairs[0][0].shape[:2]
    columns = min(COLUMNS, len(pairs))
    bands = -(-len(pairs) // columns)
    band_height = 2 * height + 2 * GAP
    sheet = np.full(
        (bands * (band_height + GAP) + GAP, columns * (width + GAP) + GAP, 3), PAPER, np.uint8
    )
    for place, (pair, code) in enumerate(zip(pairs, codes, strict=True)):
        band, column = divmod(place, columns)
        x = GAP + column * (width + GAP)
        y = GAP + band * (band_height + GAP)
        for row, (image, word) in enumerate(zip(pair, ("original", "swapped"), strict=True)):
            top = y + row * (height + GAP // 2)
            sheet[top : top + height, x : x + width] = _label(image, f"{word}  {code}")
    return sheet


def write_png(image: Image, path: Path) -> None:
    """Write a PNG that appears whole.

    Raises:
        StorageUnwritable, DiskFull: the file cannot be written.
    """
    done, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    assert done, "PNG holds any 8-bit RGB picture"
    with whole_file(path) as file:
        file.write(data.tobytes())


def write_contact_sheet(
    original: Path, result: Path, sheet: Path, frames: int = 6, cut: CutSettings = WHOLE
) -> None:
    """Write a PNG with ``frames`` evenly spaced frames before and after.

    Args:
        original: the film as it was.
        result: the film as it came out.
        sheet: where the PNG goes; replaced if it is there.
        frames: how many frames at most.
        cut: which of the film's frames the result shows.

    Raises:
        SettingInvalid: ``sheet`` is not named .png, or ``frames`` is not positive.
        FramesLost: the two films differ in length, or a frame cannot be found.
        StorageUnwritable, DiskFull: the PNG cannot be written.
    """
    check_sheet_path(sheet)
    if frames < 1:
        raise SettingInvalid(f"{frames} frames", "one frame or more", "ask for more frames")
    if original.suffix.lower() in STILLS:
        photo = _still(original)
        write_png(arrange([(photo, _fitted(_still(result), photo))], [""]), sheet)
        return
    before, after = probe(original), probe(result)
    shown = source_frames(before, cut)
    if len(shown) != after.frames:
        raise FramesLost(
            f"{result} shows {len(shown)} frames of {original}, but has {after.frames}",
            "as many frames in the result as it shows of the film",
            "render the film again",
        )
    wanted = evenly(after.frames, frames)
    sources = [shown[frame] for frame in wanted]
    pairs = [
        (one, _fitted(other, one))
        for one, other in zip(read_frames(before, sources), read_frames(after, wanted), strict=True)
    ]
    codes = [time_code(float(before.time(frame))) for frame in sources]
    write_png(arrange(pairs, codes), sheet)


def _still(path: Path) -> Image:
    """A picture, upright, without transparency, not larger than a cell."""
    pixels = read_still(path).colours
    if pixels.ndim == 2:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR)
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    height, width = pixels.shape[:2]
    scale = CELL / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    shown = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return np.ascontiguousarray(shown[..., ::-1], np.uint8)


def _fitted(image: Image, like: Image) -> Image:
    """``image`` in the size of ``like``: a scaled result may be a pixel off."""
    if image.shape == like.shape:
        return image
    height, width = like.shape[:2]
    return np.asarray(cv2.resize(image, (width, height)), np.uint8)


def check_sheet_path(sheet: Path) -> None:
    """Refuse a contact sheet's name early, before hours of rendering.

    Raises:
        SettingInvalid: it does not end in .png.
    """
    if sheet.suffix.lower() != ".png":
        raise SettingInvalid(
            f"contact sheet {str(sheet)!r}", "a file name that ends in .png", "rename it"
        )
