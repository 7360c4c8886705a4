from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from actors.prober import probe
from farm.contact_sheet import (
    CELL,
    COLUMNS,
    GAP,
    check_sheet_path,
    evenly,
    read_frames,
    time_code,
    write_contact_sheet,
    write_png,
)
from scheduler.errors import FramesLost, SettingInvalid, StorageUnwritable
from scheduler.output import CutSettings

COLOURS = ((200, 30, 40), (20, 180, 60), (30, 40, 210), (240, 240, 240), (10, 10, 10))


def film(path: Path, colours: tuple[tuple[int, int, int], ...] = COLOURS) -> Path:
    """A lossless film, one colour a frame at 10 fps with a white upper left corner, 96x64."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv444p"
        stream.codec_context.time_base = Fraction(1, 10)
        for place, colour in enumerate(colours):
            picture = np.full((64, 96, 3), colour, np.uint8)
            picture[:16, :24] = 255
            frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(
                format="yuv444p", dst_colorspace="itu601"
            )
            frame.pts = place
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("frames", "wanted", "indices"),
    [(1, 6, [0]), (2, 6, [0, 1]), (10, 1, [5]), (10, 2, [2, 7]), (472, 3, [78, 236, 393])],
)
def test_frames_lie_in_the_middle_of_equal_shares(
    frames: int, wanted: int, indices: list[int]
) -> None:
    assert evenly(frames, wanted) == indices


@pytest.mark.parametrize(
    ("seconds", "code"), [(0, "0:00:00.000"), (62.5, "0:01:02.500"), (3599.9996, "1:00:00.000")]
)
def test_time_codes(seconds: float, code: str) -> None:
    assert time_code(seconds) == code


def test_the_wanted_frames_come_in_their_own_colours(tmp_path: Path) -> None:
    index = probe(film(tmp_path / "film.mkv"))
    for wanted, picture in zip((0, 2, 4), read_frames(index, (0, 2, 4)), strict=True):
        assert picture.shape == (320, CELL, 3)
        assert np.abs(picture[200, 300].astype(int) - COLOURS[wanted]).max() <= 3
        assert picture[10, 10].min() >= 250


def test_a_picture_is_turned_clockwise_and_stretched_as_a_player_does(tmp_path: Path) -> None:
    index = probe(film(tmp_path / "film.mkv"))
    turned = next(read_frames(replace(index, rotation=90), (0,)))
    assert turned.shape == (CELL, 320, 3)
    assert turned[10, 310].min() >= 250
    assert turned[10, 10].min() < 100
    wide = next(read_frames(replace(index, sample_aspect_ratio=Fraction(2)), (0,)))
    assert wide.shape == (160, CELL, 3)


def test_a_frame_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    index = probe(film(tmp_path / "film.mkv"))
    shifted = replace(index, pts=tuple(pts + 1 for pts in index.pts))
    with pytest.raises(FramesLost, match=str(shifted.pts[2])):
        next(read_frames(shifted, (2,)))


def test_the_sheet_shows_originals_above_results(tmp_path: Path) -> None:
    before = film(tmp_path / "before.mkv")
    after = film(tmp_path / "after.mkv", COLOURS[::-1])
    sheet = tmp_path / "sheet.png"
    write_contact_sheet(before, after, sheet, frames=5)
    picture = cv2.cvtColor(cv2.imread(str(sheet)), cv2.COLOR_BGR2RGB)
    height, width = 320, CELL
    assert picture.shape == (2 * (2 * height + 3 * GAP) + GAP, COLUMNS * (width + GAP) + GAP, 3)
    for place in range(5):
        band, column = divmod(place, COLUMNS)
        x = GAP + column * (width + GAP) + width // 2
        y = GAP + band * (2 * height + 3 * GAP) + height // 2
        assert np.abs(picture[y, x].astype(int) - COLOURS[place]).max() <= 3
        below = picture[y + height + GAP // 2, x].astype(int)
        assert np.abs(below - COLOURS[4 - place]).max() <= 3
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "after.mkv",
        "before.mkv",
        "sheet.png",
    ]


def test_films_of_different_length_are_not_compared(tmp_path: Path) -> None:
    before = film(tmp_path / "before.mkv")
    after = film(tmp_path / "after.mkv", COLOURS[:4])
    with pytest.raises(FramesLost, match="shows 5 frames"):
        write_contact_sheet(before, after, tmp_path / "sheet.png")
    assert not (tmp_path / "sheet.png").exists()


def test_a_trimmed_result_is_shown_below_the_frames_that_it_shows(tmp_path: Path) -> None:
    before = film(tmp_path / "before.mkv")
    after = film(tmp_path / "after.mkv", COLOURS[2:4])
    cut = CutSettings(start=2, stop=4)
    write_contact_sheet(before, after, tmp_path / "sheet.png", cut=cut)
    picture = cv2.cvtColor(cv2.imread(str(tmp_path / "sheet.png")), cv2.COLOR_BGR2RGB)
    for place in range(2):
        x = GAP + place * (CELL + GAP) + CELL // 2
        for y in (GAP + 160, GAP + 320 + GAP // 2 + 160):
            assert np.abs(picture[y, x].astype(int) - COLOURS[2 + place]).max() <= 3


def test_a_sheet_of_a_picture_shows_it_upright_above_its_result(tmp_path: Path) -> None:
    exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    upright = np.full((480, 320, 3), (10, 20, 200), np.uint8)
    upright[:240] = (200, 20, 10)
    done, data = cv2.imencodeWithMetadata(
        ".jpg",
        np.ascontiguousarray(np.rot90(upright)),
        [cv2.IMAGE_METADATA_EXIF],
        [np.frombuffer(exif, np.uint8)],
    )
    assert done
    (tmp_path / "photo.jpg").write_bytes(data.tobytes())
    cv2.imwrite(str(tmp_path / "result.png"), upright[::2, ::2])
    write_contact_sheet(tmp_path / "photo.jpg", tmp_path / "result.png", tmp_path / "sheet.png")
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    for top in (GAP, GAP + 480 + GAP // 2):
        cell = sheet[top : top + 480, GAP : GAP + 320].astype(int)
        assert np.abs(cell[100, 200] - (200, 20, 10)).max() < 8
        assert np.abs(cell[400, 200] - (10, 20, 200)).max() < 8


def test_a_sheet_is_a_png_and_has_at_least_one_frame(tmp_path: Path) -> None:
    with pytest.raises(SettingInvalid, match="jpg"):
        check_sheet_path(Path("sheet.jpg"))
    with pytest.raises(SettingInvalid, match="0 frames"):
        write_contact_sheet(tmp_path, tmp_path, tmp_path / "sheet.PNG", frames=0)


def test_a_folder_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StorageUnwritable, match="absent"):
        write_png(np.zeros((2, 2, 3), np.uint8), tmp_path / "absent" / "sheet.png")
