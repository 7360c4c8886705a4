"""How results appear: written beside their place, synced, then renamed. Never half a file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from scheduler.jobs import Segment
from scheduler.media import VideoIndex


def partial_of(path: Path) -> Path:
    """Where a list beside the film is written before it gets its name."""
    return path.with_name(f".{path.name}.partial")


def publish_hashes(index: VideoIndex, segments: Sequence[Segment], path: Path) -> None:
    """One line a frame: index, PTS, hash."""
    temporary = partial_of(path)
    frame = 0
    try:
        with temporary.open("w") as file:
            for segment in segments:
                for digest in segment.frame_hashes:
                    file.write(f"{frame}\t{index.pts[frame]}\t{digest}\n")
                    frame += 1
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def publish_masks(segments: Sequence[Segment], path: Path) -> None:
    """The segments' mask tables, one after the other, as one Parquet file."""
    temporary = partial_of(path)
    try:
        schema = pq.read_schema(segments[0].masks_path)
        with temporary.open("wb") as file:
            with pq.ParquetWriter(file, schema) as writer:
                for segment in segments:
                    writer.write_table(pq.read_table(segment.masks_path, schema=schema))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def publish_film(partial: Path, output: Path) -> None:
    """Give the finished, already synced file its name, and make the name survive a power cut."""
    partial.replace(output)
    descriptor = os.open(output.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
