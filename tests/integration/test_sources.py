"""Which face of a source picture is put on, and what is said when there is none or too many."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from actors.models import ModelStore
from actors.sources import load_sources, read_picture
from actors.toolbox import LaneKit, Toolbox
from scheduler.errors import SourceAmbiguous, SourceUnreadable, SourceWithoutFace
from scheduler.jobs import SwapSettings


@pytest.fixture(scope="module")
def tools(models: ModelStore) -> Toolbox:
    return Toolbox(LaneKit(cache_dir=models.cache))


def places(tools: Toolbox, *paths: Path, face: int | None = None) -> list[tuple[float, float]]:
    """Centre of each chosen face in its picture, as fractions of its size."""
    swap = SwapSettings(sources=tuple(map(str, paths)), source_face=face)
    sources = load_sources(swap, tools.detector, tools.landmarker, tools.kernels)
    return [
        (x / source.image.shape[1], y / source.image.shape[0])
        for source in sources
        for x, y in [source.landmarks.mean(axis=0)]
    ]


def test_the_one_face_of_each_picture_is_taken(tools: Toolbox, samples: dict[str, Path]) -> None:
    (x, y), again = places(tools, samples["astronaut"], samples["astronaut"])
    assert 0.35 < x < 0.5
    assert 0.15 < y < 0.3
    assert again == (x, y)


def test_faces_are_counted_from_the_left(tools: Toolbox, samples: dict[str, Path]) -> None:
    across = [places(tools, samples["multi_face"], face=n)[0][0] for n in range(1, 6)]
    assert across == sorted(across)
    assert len(set(across)) == 5


def test_which_face_has_to_be_said(tools: Toolbox, samples: dict[str, Path]) -> None:
    with pytest.raises(SourceAmbiguous, match=r"5 faces.*--source-face 1"):
        places(tools, samples["multi_face"])
    with pytest.raises(SourceWithoutFace, match="a face number 6"):
        places(tools, samples["multi_face"], face=6)


def test_a_picture_without_a_face_is_refused(tools: Toolbox, tmp_path: Path) -> None:
    path = tmp_path / "grey.png"
    cv2.imwrite(str(path), np.full((200, 300, 3), 128, np.uint8))
    with pytest.raises(SourceWithoutFace, match=r"grey\.png"):
        places(tools, path)


@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "text", "cut"])
def test_what_is_no_picture_is_refused(
    kind: str, samples: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "source.png"
    whole = samples["astronaut"].read_bytes()
    content = {"empty": b"", "text": b"not a picture", "cut": whole[:40]}
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_bytes(content[kind])
    with pytest.raises(SourceUnreadable, match=r"source\.png"):
        read_picture(path)
    assert capfd.readouterr().err == ""


def test_a_turned_photo_is_set_upright(samples: dict[str, Path], tmp_path: Path) -> None:
    upright = read_picture(samples["astronaut"])[:, :400]
    turned = np.rot90(upright)  # as a camera held sideways sees it
    _, jpeg = cv2.imencode(".jpg", np.ascontiguousarray(turned[..., ::-1]))
    # An APP1 segment with the one tag that says: turn right to look at it.
    tiff = b"MM\0*\0\0\0\x08" + b"\0\1" + b"\x01\x12\0\3\0\0\0\1\0\6\0\0" + b"\0\0\0\0"
    exif = b"Exif\0\0" + tiff
    data = jpeg.tobytes()
    path = tmp_path / "photo.jpg"
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:])
    found = read_picture(path)
    assert found.shape == upright.shape
    assert np.abs(found.astype(int) - upright).mean() < 5


def test_alpha_and_sixteen_bits_are_read_as_plain_pictures(
    samples: dict[str, Path], tmp_path: Path
) -> None:
    rgb = read_picture(samples["astronaut"])
    bgra = np.dstack([rgb[..., ::-1], np.full(rgb.shape[:2], 7, np.uint8)])
    for name, picture in {"alpha": bgra, "deep": bgra[..., :3].astype(np.uint16) * 257}.items():
        path = tmp_path / f"{name}.png"
        cv2.imwrite(str(path), picture)
        np.testing.assert_array_equal(read_picture(path), rgb)
