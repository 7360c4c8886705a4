"""How results appear: written beside their place, synced, then renamed. Never half a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from actors.segments import sync_folder
from actors.whole_file import whole_file
from scheduler.jobs import Segment
from scheduler.media import VideoIndex


def partial_of(path: Path) -> Path:
    """Where a list beside the film is written before it gets its name."""
    return path.with_name(f".{path.name}.partial")


def publish_hashes(index: VideoIndex, segments: Sequence[Segment], path: Path) -> None:
    """One line a frame: index, PTS, hash.

    Raises:
        StorageUnwritable, DiskFull: it cannot be written.
    """
    frame = 0
    with whole_file(path, partial_of(path)) as file:
        for segment in segments:
            for digest in segment.frame_hashes:
                file.write(f"{frame}\t{index.pts[frame]}\t{digest}\n".encode())
                frame += 1


def publish_masks(segments: Sequence[Segment], path: Path) -> None:
    """The segments' mask tables, one after the other, as one Parquet file.

    Raises:
        StorageUnwritable, DiskFull: it cannot be written.
    """
    schema = pq.read_schema(segments[0].masks_path)
    with whole_file(path, partial_of(path)) as file, pq.ParquetWriter(file, schema) as writer:
        for segment in segments:
            writer.write_table(pq.read_table(segment.masks_path, schema=schema))


def publish_film(partial: Path, output: Path) -> None:
    """Give the finished, already synced file its name, and make the name survive a power cut."""
    partial.replace(output)
    sync_folder(output.parent)
