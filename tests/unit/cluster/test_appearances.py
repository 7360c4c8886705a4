"""Which samples renders get: those of the whole film's tracks, however it was cut."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cluster.appearances import write_appearances
from scheduler.appearances import MOST, PERIOD, FaceSample, to_table
from scheduler.jobs import Analysis

FRAMES = 40 * PERIOD


def written(folder: Path, *borders: int) -> pa.Table:
    """Two faces in every frame; track 1 is the left one until the middle, then the right one."""
    folder.mkdir()
    frames = np.repeat(np.arange(FRAMES), 2)
    left = np.arange(2 * FRAMES) % 2 == 0
    tracks = np.where(left == (frames < FRAMES // 2), 1, 2)
    pq.write_table(
        pa.table({"frame": frames, "track": pa.array(tracks, pa.int32())}), folder / "tracks"
    )
    analyses = []
    edges = [0, *borders, FRAMES]
    for number, (start, stop) in enumerate(pairwise(edges)):
        samples = [
            FaceSample(
                frame=at,
                place=place,
                texels=np.full((32, 32, 4), at // PERIOD + 100 * place, np.uint8),
            )
            for at in range(start, stop)
            if at % PERIOD == 0
            for place in (0, 1)
        ]
        path = folder / f"{number}"
        pq.write_table(to_table(samples), path)
        analyses.append(
            Analysis(
                chunk=number,
                faces_path="",
                frames_path="",
                frames=stop - start,
                faces=0,
                appearances_path=str(path),
            )
        )
    write_appearances(analyses, folder / "tracks", folder / "film")
    return pq.read_table(folder / "film")


def test_samples_follow_their_track_and_no_chunk_shows(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole")
    rows = whole.to_pylist()
    assert len(rows) == 2 * MOST
    for row in rows:
        place = (row["track"] == 1) != (row["frame"] < FRAMES // 2)
        assert row["texels"][0] == row["frame"] // PERIOD + 100 * place
    cut = written(tmp_path / "cut", 7, 8, 100, FRAMES - 1)
    assert cut.equals(whole)


def test_a_film_without_faces_has_no_samples(tmp_path: Path) -> None:
    pq.write_table(to_table([]), tmp_path / "0")
    pq.write_table(pa.table({"frame": pa.array([], pa.int64()), "track": []}), tmp_path / "tracks")
    empty = Analysis(
        chunk=0,
        faces_path="",
        frames_path="",
        frames=5,
        faces=0,
        appearances_path=str(tmp_path / "0"),
    )
    write_appearances([empty], tmp_path / "tracks", tmp_path / "film")
    assert pq.read_table(tmp_path / "film").num_rows == 0
