"""Films, faces and results that are in an object store: how a job gets and gives them."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path
from typing import Final

from cluster.storage import Storage
from farm.cancelling import cancelling
from farm.config import Settings
from scheduler.errors import OutputInvalid, storage_error
from scheduler.jobs import JobSpec
from scheduler.places import Destination, Store, uri_of

INPUTS: Final = "inputs"
OUTPUTS: Final = "outputs"


class Remote:
    """The object store of the settings in force, for one job.

    Args:
        settings: where it is, and where what is fetched is kept: the work folder, which every node
            reaches, or the cache folder.
    """

    def __init__(self, settings: Settings) -> None:
        part = settings.storage
        self._store = Store(endpoint=part.endpoint, region=part.region, seconds=part.timeout)
        self._storage = Storage(self._store)
        self._overwrite = settings.overwrite
        self._inputs = inputs_folder(settings)
        self._outputs = outputs_folder(settings)

    def here(self, typed: Path) -> Path:
        """A file, fetched if it is in the store.

        Raises:
            StorageError: it is not there, or cannot be had.
        """
        uri = uri_of(str(typed))
        if uri is None:
            return typed
        with cancelling():
            return self._storage.fetch(uri, self._inputs)

    def role_here(self, swap: str) -> str:
        """The same for the face in ``A=FACE``."""
        letter, equals, face = swap.partition("=")
        return f"{letter}{equals}{self.here(Path(face))}" if uri_of(face) else swap

    def result(self, typed: Path | None) -> tuple[Path | None, Destination | None]:
        """Where a job writes its result, and where that goes when it is whole.

        Raises:
            OutputInvalid: it is there already.
            StorageError: the store, or its bucket, is not to be had.
        """
        uri = uri_of(str(typed)) if typed else None
        if uri is None:
            return typed, None
        if self._storage.exists(uri) and not self._overwrite:
            raise OutputInvalid(
                f"{uri!r} is there already", "a new object", "choose another -o, or add --overwrite"
            )
        try:
            self._outputs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(error, str(self._outputs)) from error
        name = f"{secrets.token_hex(4)}-{uri.rpartition('/')[2]}"
        return self._outputs / name, Destination(uri=uri, store=self._store)


def bound_for(job: JobSpec, destination: Destination | None) -> JobSpec:
    """A job whose result goes to the store; there, `farm report` does not find it."""
    return replace(job, destination=destination, report=False) if destination else job


def inputs_folder(settings: Settings) -> Path:
    """Where fetched files are kept."""
    return (settings.work_dir or settings.cache_dir).absolute() / INPUTS


def outputs_folder(settings: Settings) -> Path:
    """Where results are until they are in the store."""
    return (settings.work_dir or settings.state_dir).absolute() / OUTPUTS
