"""How results appear: written beside their place, synced, then renamed. Never half a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from actors.content_credentials import sidecar_of, signed_of
from actors.segments import sync_folder
from actors.whole_file import whole_file
from cluster.storage import Storage
from scheduler.errors import StorageError
from scheduler.jobs import JobSpec, Segment
from scheduler.media import VideoIndex
from scheduler.places import Destination


def partial_of(path: Path) -> Path:
    """Where a list beside the film is written before it gets its name."""
    return path.with_name(f".{path.name}.partial")


def partials_of(job: JobSpec) -> list[Path]:
    """All that is written beside the film's place before it gets its name."""
    extras = (path for path in (job.hashes_output, job.masks_output) if path)
    partial = Path(job.partial)
    sidecar = sidecar_of(partial)
    return [
        partial,
        signed_of(partial),
        *([sidecar] if sidecar else []),
        *(partial_of(Path(path)) for path in extras),
    ]


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
    """Give the finished, already synced file its name, and make the name survive a power cut.

    What is signed beside it gets its name first: there is never a new film without it.
    """
    beside = sidecar_of(partial)
    if beside is not None and beside.exists():
        beside.replace(output.with_suffix(beside.suffix))
    partial.replace(output)
    sync_folder(output.parent)


def send(output: Path, destination: Destination) -> None:
    """Put a finished film where it was ordered to, and remove it here.

    Raises:
        StorageError: it did not get there; it stays here, and the error says where.
    """
    storage, beside = Storage(destination.store), sidecar_of(output)
    try:
        if beside is not None and beside.exists():
            storage.put(beside, destination.uri.rpartition(".")[0] + beside.suffix)
            beside.unlink()
        storage.put(output, destination.uri)
    except StorageError as error:
        where = f"{error.next_step}; the finished result is {str(output)!r}"
        raise type(error)(error.found, error.wanted, where) from error
    output.unlink()
