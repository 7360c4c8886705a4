"""The oracle believes a good film and catches each way in which a film can be wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.numbered import HEIGHT, SCENE, SWAY, even_pts, make_film, uneven_pts
from tests.support.oracle import faults, look

FRAMES = 60


@pytest.fixture(scope="module")
def faces() -> list[NDArray[np.uint8]]:
    """Two scenes; whether they are faces does not matter here."""
    y, x = np.mgrid[: HEIGHT + 2 * SWAY, : SCENE + 2 * SWAY]
    first = np.stack([x % 256, y % 256, (x + y) % 256], axis=-1)
    noise = np.random.default_rng(5).integers(0, 255, (HEIGHT + 2 * SWAY, SCENE + 2 * SWAY, 3))
    return [first.astype(np.uint8), noise.astype(np.uint8)]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, faces: list[NDArray[np.uint8]]) -> Path:
    return make_film(tmp_path_factory.mktemp("film") / "film.mp4", faces, uneven_pts(FRAMES, 3))


@pytest.mark.parametrize("quality", [18, 34])
@pytest.mark.parametrize("pts", [even_pts(FRAMES), uneven_pts(FRAMES, 3)], ids=["even", "uneven"])
def test_numbers_times_and_clicks_are_read_as_they_were_written(
    quality: int, pts: tuple[int, ...], faces: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    seen = look(make_film(tmp_path / "film.mp4", faces, pts, quality=quality))
    assert seen.numbers == tuple(range(FRAMES))
    assert [time * 600 for time in seen.times] == list(pts)
    assert [round(click, 2) for click in seen.clicks] == [0.25, 1.25, 2.25][: len(seen.clicks)]
    assert len(seen.clicks) >= 2
    assert faults(seen, seen, seen) == []


def test_the_same_film_is_made_each_time(
    source: Path, faces: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    again = make_film(tmp_path / "film.mp4", faces, uneven_pts(FRAMES, 3))
    assert again.read_bytes() == source.read_bytes()


def test_a_number_past_the_first_byte_is_read(
    tmp_path: Path, faces: list[NDArray[np.uint8]]
) -> None:
    film = make_film(
        tmp_path / "film.mp4", faces, even_pts(3), numbers=[255, 256, 65_535], quality=18
    )
    assert look(film).numbers == (255, 256, 65_535)


@pytest.mark.parametrize(
    ("harm", "complaint"),
    [
        ("lost", "lost: 20"),
        ("doubled", "doubled: 20"),
        ("replaced", "lost: 21"),
        ("swapped", "out of order: 20"),
        ("shifted", "at another time: 20"),
        ("late", "clicks moved"),
        ("silent", "0 clicks instead of"),
        ("foreign", "not of this film: 777"),
    ],
)
def test_each_harm_is_caught(
    harm: str, complaint: str, source: Path, faces: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    pts, numbers, delay = list(uneven_pts(FRAMES, 3)), list(range(FRAMES)), 0.0
    match harm:
        case "lost":
            del pts[20], numbers[20]
        case "doubled":
            pts.insert(21, pts[20] + 6)
            numbers.insert(21, 20)
        case "replaced":
            numbers[21] = 20
        case "swapped":
            numbers[20], numbers[21] = 21, 20
        case "shifted":
            pts[20] += 1
        case "late":
            delay = 0.002
        case "silent":
            delay = 1000.0
        case "foreign":
            numbers[20] = 777
    harmed = make_film(tmp_path / "film.mp4", faces, pts, numbers=numbers, sound_delay=delay)
    found = faults(look(harmed), look(source))
    assert any(complaint in each for each in found), found


def test_another_picture_with_the_right_number_is_caught(
    source: Path, faces: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    touched = [face.copy() for face in faces]
    touched[1][90:98, 90:98] = 255
    harmed = look(make_film(tmp_path / "film.mp4", touched, uneven_pts(FRAMES, 3)))
    calm = look(source)
    assert faults(harmed, calm) == []
    (found,) = faults(harmed, calm, calm)
    assert found.startswith("other pictures than undisturbed")


def test_a_frame_without_a_readable_number_is_caught(
    source: Path, faces: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    calm = look(source)
    numbers = [None if number == 30 else number for number in calm.numbers]
    harmed = type(calm)(
        numbers=tuple(numbers), times=calm.times, hashes=calm.hashes, clicks=calm.clicks
    )
    assert faults(harmed, calm) == ["lost: 30", "not of this film: None"]
