from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from actors.portraits import PortraitAlbum
from actors.recognizer import POINTS as POINTS_OF
from actors.recognizer import SIZE, TEMPLATE, Recognizer, frontal, sharpness
from kernels.cpu import CpuKernels
from kernels.geometry import apply, similarity
from kernels.picture import Picture, PictureFormat
from scheduler.errors import ModelCorrupt
from scheduler.points import MESH
from scheduler.runs import PORTRAITS, best_portraits
from scheduler.tracks import PORTRAITS_SCHEMA, FaceObservation

FORMAT = PictureFormat(width=400, height=300, sub_x=0, sub_y=0, matrix="rgb", full_range=True)


POINTS = POINTS_OF[MESH.count]


class Listing:
    """Stands in for the network: cuts true chips, and its embedding names the chip."""

    size = SIZE

    def __init__(self) -> None:
        self.seen = 0

    def align(self, landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
        return Recognizer.align(self, landmarks)  # type: ignore[arg-type]

    def embed(self, chip: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.seen += 1
        return np.full(128, chip.sum(dtype=np.int64) % 1000, np.float32)


def picture(seed: int) -> Picture:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (3, 30, 40), np.uint8)
    return Picture(
        format=FORMAT, planes=tuple(np.kron(p, np.ones((10, 10), np.uint8)) for p in small)
    )


def face(frame: int, x: float, y: float = 100.0, *, turn: float = 0.0) -> FaceObservation:
    """A face of 90 pixels; ``turn`` presses its left half together."""
    points = np.zeros((MESH.count, 2))
    points[:, 0] = np.linspace(0, 90, MESH.count)
    points[:, 1] = np.linspace(0, 90, MESH.count)
    points[list(POINTS)] = TEMPLATE * 0.6 + (0, 10)
    points[POINTS[1]] += (turn, 0)
    points += (x, y)
    box = np.concatenate([points.min(axis=0), points.max(axis=0)])
    return FaceObservation(
        frame=frame,
        track=-1,
        box=box.astype(np.float32),
        landmarks=points.astype(np.float32),
        score=0.9,
        visible=0.99,
    )


def test_a_frontal_view_is_the_template() -> None:
    points = face(0, 50).landmarks
    affine = Listing().align(points.astype(np.float64))
    assert np.abs(apply(affine, points[list(POINTS)]) - TEMPLATE).max() < 1e-3
    assert frontal(points, np.eye(2, 3)) > 0.999
    assert frontal(face(0, 50, turn=8).landmarks, np.eye(2, 3)) < 0.75


def test_the_template_is_the_mean_of_chips_that_dlib_aligned() -> None:
    # dlib's own template of five points: eyes and nose lie within a few pixels of the mesh's.
    dlibs = np.array(
        [[110.96, 46.35], [89.61, 47.9], [37.06, 46.37], [58.41, 47.91], [74.01, 87.78]]
    )
    off = apply(similarity(TEMPLATE, dlibs), TEMPLATE) - dlibs
    assert np.sqrt(np.square(off).sum(axis=1).mean()) < 4


def test_sharpness_falls_with_blur() -> None:
    rng = np.random.default_rng(1)
    chip = rng.integers(0, 255, (SIZE, SIZE, 3), np.uint8)
    assert sharpness(chip) == 1.0
    soft = np.full((SIZE, SIZE, 3), 90, np.uint8)
    soft[:, ::15] = 100
    assert 0 < sharpness(soft) < 0.5
    assert sharpness(np.full((SIZE, SIZE, 3), 90, np.uint8)) == 0


def test_a_file_that_is_no_network(tmp_path: pytest.TempPathFactory) -> None:
    path = tmp_path / "net.dat"  # type: ignore[operator]
    path.write_bytes(b"no network")
    with pytest.raises(ModelCorrupt, match=r"net\.dat"):
        Recognizer(path)


def album_of(
    frames: range, changes: dict[int, float], turns: dict[int, float]
) -> tuple[pa.Table, int]:
    recognizer = Listing()
    album = PortraitAlbum(recognizer, CpuKernels(), np.eye(2, 3))
    for at in frames:
        faces = [face(at, 20 + at, turn=turns.get(at, 0.0)), face(at, 250)]
        album.add(picture(at), at, faces if at % 11 else [], changes.get(at, 0.0))
    return album.table(), recognizer.seen


def test_only_the_best_few_are_looked_at() -> None:
    table, seen = album_of(range(1, 60), {}, {})
    assert table.schema.equals(PORTRAITS_SCHEMA)
    assert table.num_rows == seen <= 12 * PORTRAITS
    assert table.column("frame").to_pylist() == sorted(table.column("frame").to_pylist())


def test_a_cut_is_no_place_to_go_on() -> None:
    one, _ = album_of(range(1, 10), {}, {})
    two, _ = album_of(range(1, 10), {5: 12.0}, {})
    assert (one.num_rows, two.num_rows) == (2, 4)


def test_nobody_is_a_table_too() -> None:
    album = PortraitAlbum(Listing(), CpuKernels(), np.eye(2, 3))
    album.add(picture(0), 0, [], 0.0)
    assert album.table().num_rows == album.embedded == 0


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 59), st.dictionaries(st.integers(0, 59), st.floats(0, 20), max_size=30))
def test_where_a_chunk_ends_cannot_be_seen(border: int, turns: dict[int, float]) -> None:
    whole, _ = album_of(range(60), {}, turns)
    parts = [album_of(frames, {}, turns)[0] for frames in (range(border), range(border, 60))]
    joined = pa.concat_tables(parts)

    def best(table: pa.Table, place: int) -> list[tuple[int, float, list[float]]]:
        rows = [row for row in table.to_pylist() if row["place"] == place]
        return [
            (rows[at]["frame"], rows[at]["quality"], rows[at]["embedding"])
            for at in best_portraits([(row["frame"], row["quality"]) for row in rows])
        ]

    for place in (0, 1):
        assert best(joined, place) == best(whole, place)
