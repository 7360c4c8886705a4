"""The samples of faces over a whole film: which of them renders learn each track's looks from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from scheduler.appearances import PERIOD, SCHEMA, STITCHED_SCHEMA, spread_out
from scheduler.jobs import Analysis


def write_appearances(analyses: Sequence[Analysis], tracks: Path, target: Path) -> None:
    """Write the kept samples of a film (``scheduler.appearances.STITCHED_SCHEMA``).

    Two passes over the chunks' tables: the first reads who is where, the second the samples.

    Args:
        analyses: of all chunks, in film order.
        tracks: the stitched table.
        target: the file to write.
    """
    owners = _owners(tracks)
    of_track: defaultdict[int, list[int]] = defaultdict(list)
    number = 0
    for analysis in analyses:
        table = _read(analysis, ["frame", "place"])
        frames, places = table.column("frame").to_pylist(), table.column("place").to_pylist()
        for row in zip(frames, places, strict=True):
            of_track[owners[row]].append(number)
            number += 1
    kept = spread_out(of_track)
    first = 0
    with pq.ParquetWriter(target, STITCHED_SCHEMA) as writer:
        for analysis in analyses:
            table = _read(analysis, SCHEMA.names)
            here = [(at - first, track) for at, track in kept if first <= at < first + len(table)]
            first += len(table)
            if here:
                chosen = table.take([at for at, _ in here])
                columns = [
                    pa.array([track for _, track in here], pa.int32()),
                    chosen.column("frame"),
                    chosen.column("texels"),
                ]
                writer.write_table(pa.Table.from_arrays(columns, schema=STITCHED_SCHEMA))


def _read(analysis: Analysis, columns: list[str]) -> pa.Table:
    return pq.read_table(analysis.appearances_path, columns=columns, use_threads=False)


def _owners(tracks: Path) -> dict[tuple[int, int], int]:
    """The track of the place-th face of each frame of which there are samples."""
    owners = {}
    place, before = 0, -1
    for frame, track in _rows(tracks):
        place = place + 1 if frame == before else 0
        before = frame
        if frame % PERIOD == 0:
            owners[frame, place] = track
    return owners


def _rows(tracks: Path) -> Iterator[tuple[int, int]]:
    with pq.ParquetFile(tracks) as file:
        for batch in file.iter_batches(columns=["frame", "track"], use_threads=False):
            yield from zip(
                batch.column("frame").to_pylist(), batch.column("track").to_pylist(), strict=True
            )
