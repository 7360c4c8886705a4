"""The store that keeps the files of models and samples on this machine."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from actors.fetcher import Fetcher, Report
from actors.registry import ModelSpec, Registry
from scheduler.errors import ModelCorrupt, storage_error

LOCAL: Final = "local.toml"
"""In the folder of the files: a registry of this machine's own, laid over the program's."""
ALWAYS_HASHED: Final = 64 << 20
"""Files up to this size are hashed at each use; larger ones when fetched and by ``verify``."""


class ModelStore:
    """Model files on this machine, fetched when first asked for. Safe for many processes at once.

    Args:
        cache: the program's cache folder; files go to ``models`` in it.
        registry: what there is; default the program's own, under that of the cache folder.
        fetcher: brings what is missing.
    """

    def __init__(
        self, cache: Path, registry: Registry | None = None, fetcher: Fetcher | None = None
    ) -> None:
        self.cache = cache
        self._folder = cache / "models"
        self.registry = self._known() if registry is None else registry
        self._fetcher = fetcher or Fetcher()

    def _known(self) -> Registry:
        local = self._folder / LOCAL
        own = Registry.load()
        return own.over(Registry.load(local)) if local.exists() else own

    def present(self, name: str) -> bool:
        """Whether the file is here; says nothing about its content."""
        return self._place(self.registry[name]).exists()

    def path(self, name: str, report: Report | None = None) -> Path:
        """The file of a model, fetched if it is missing, fetched anew once if it is damaged.

        Raises:
            ModelUnknown: no such name in the registry.
            ModelUnavailable: its source does not deliver.
            ModelCorrupt: what its source delivers is not what the registry names.
            DiskFull, StorageUnwritable: it cannot be kept.
        """
        spec = self.registry[name]
        if not self._usable(spec):
            with self._lock(spec):
                if not self._usable(spec):  # another process may have been faster
                    self._fetch(spec, report)
        return self._place(spec)

    def verify(self, name: str) -> bool:
        """Whether the file is here and has the registry's SHA-256, whatever its size."""
        spec = self.registry[name]
        place = self._place(spec)
        return place.exists() and _sha256(place) == spec.sha256

    def _place(self, spec: ModelSpec) -> Path:
        return self._folder / spec.filename

    def _usable(self, spec: ModelSpec) -> bool:
        place = self._place(spec)
        if not place.exists() or place.stat().st_size != spec.bytes:
            return False
        return spec.bytes > ALWAYS_HASHED or _sha256(place) == spec.sha256

    def _fetch(self, spec: ModelSpec, report: Report | None) -> None:
        """Bring a file, and all others that are missing and come in the same archive."""
        together = {spec.name: spec}
        if spec.member:
            for other in self.registry.values():
                if other.origin == spec.origin and not self.present(other.name):
                    together[other.name] = other
        # The name stays the same from try to try, so that a broken download is continued.
        parts = {each.member: self._folder / f"{each.filename}.part" for each in together.values()}
        with _keeping(self._folder):
            try:
                self._fetch_once(together.values(), parts, report)
            except ModelCorrupt:
                # What was continued may have begun as another file: once more, from the start.
                self._fetch_once(together.values(), parts, report)

    def _fetch_once(
        self, specs: Iterable[ModelSpec], parts: Mapping[str, Path], report: Report | None
    ) -> None:
        origin = next(iter(specs)).origin
        self._fetcher.fetch(origin, parts, report)
        for spec in specs:
            self._adopt(spec, parts[spec.member])

    def _adopt(self, spec: ModelSpec, part: Path) -> None:
        found, size = _sha256(part), part.stat().st_size
        if (found, size) != (spec.sha256, spec.bytes):
            part.unlink()
            raise ModelCorrupt(
                f"{spec.name} from {spec.source} has {size} bytes and the SHA-256 {found}",
                f"{spec.bytes} bytes and {spec.sha256}",
                "try again; if it stays so, the source has changed: do not use it",
            )
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(self._place(spec))

    @contextmanager
    def _lock(self, spec: ModelSpec) -> Iterator[None]:
        with _keeping(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            # One lock for an archive: its files are fetched together.
            name = hashlib.sha256(spec.origin.encode()).hexdigest()[:16]
            lock = (self._folder / f".{name}.lock").open("w")
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


@contextmanager
def _keeping(folder: Path) -> Iterator[None]:
    """Turns what goes wrong while a folder is written into the error that says what to do."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, str(folder)) from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
