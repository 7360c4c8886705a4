"""The process that uploads one file for ``Storage.put``, and ends at once with who started it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from pydantic import TypeAdapter

from cluster.storage import BLOCK, Storage, explained
from scheduler.errors import StorageUnreachable, SwapfarmError, storage_error
from scheduler.failure import Failure
from scheduler.places import Store


def upload(path: Path, uri: str, store: Store) -> None:
    """Upload a file whole.

    Raises:
        StorageError: it is not there. The caller must end its process at once, for when pyarrow's
            stream is let go of it completes what it has.
    """
    system, place = Storage(store).open(uri)
    size = path.stat().st_size
    try:
        source = path.open("rb")
    except OSError as error:
        raise storage_error(error, str(path)) from error
    with source:
        try:
            target = system.open_output_stream(place)
        except OSError as error:
            raise explained(error, uri) from error
        left = size
        while left:
            try:
                block = source.read(min(BLOCK, left))
            except OSError as error:
                _tell(storage_error(error, str(path)))
            if not block:
                _tell(storage_error(OSError("it grew shorter"), str(path)))
            left -= len(block)
            try:
                target.write(block)
            except OSError as error:
                _tell(explained(error, uri))
        try:
            target.close()
            there = system.get_file_info(place).size
        except OSError as error:
            raise explained(error, uri) from error
    if there != size:
        raise StorageUnreachable(
            f"{uri!r} has {there} bytes after the upload", f"{size} bytes", "try again"
        )


def _tell(error: SwapfarmError) -> None:
    """Say why, and end before anything is completed."""
    sys.stdout.buffer.write(TypeAdapter(Failure).dump_json(Failure.of(error)))
    sys.stdout.flush()
    os._exit(error.exit_code)


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


def main() -> None:
    """Upload; on stdout an error of the tree, or nothing."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    path, uri, store = sys.argv[1:]
    try:
        upload(Path(path), uri, TypeAdapter(Store).validate_json(store))
    except SwapfarmError as error:
        _tell(error)
    except FileNotFoundError as error:
        _tell(storage_error(error, path))
    os._exit(0)


if __name__ == "__main__":
    main()
