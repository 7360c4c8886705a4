"""The store that keeps the files of models and samples on this machine.

A model whose SHA-256 the program does not know is checked against the CRC-32 that is published
beside it when it comes, and from then on against the SHA-256 that it had: that is written into the
store's own registry, ``local.toml``. Models that only this machine has (quantised ones, stand-ins)
are there too.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from actors.fetcher import FACEFUSION, Fetcher, Report
from actors.registry import ModelSpec, Registry
from scheduler.errors import ModelCorrupt, ModelError, ModelUnavailable, storage_error

LOCAL: Final = "local.toml"
"""In the folder of the files: a registry of this machine's own, laid over the program's."""
QUANTIZED: Final = "quantized:"
"""Begins the source of a file that this program made of another one."""
INT8: Final = ".int8"
"""Ends the name of a quantised model."""
FP16: Final = ".fp16"
"""Ends the name of a model in half floats."""
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
        self._own = Registry.load() if registry is None else registry
        self.registry = self._known()
        self._fetcher = fetcher or Fetcher()

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
                self.registry = self._known()
                spec = self.registry[name]
                if not self._usable(spec):  # another process may have been faster
                    self._fetch(spec, report)
        return self._place(self.registry[name])

    def usable(self, name: str) -> bool:
        """Whether the file is here and right: by its hash up to ALWAYS_HASHED, else by its size."""
        return self._usable(self.registry[name])

    def verify(self, name: str) -> bool:
        """Whether the file is here and has its SHA-256, whatever its size."""
        spec = self.registry[name]
        place = self._place(spec)
        return place.exists() and _sha256(place) == spec.sha256

    def add(self, name: str, file: Path) -> str:
        """Take a file from elsewhere on this machine for a model.

        Returns:
            What vouches for it: "sha256", "crc32" (a ``.hash`` file beside it) or "" (nothing: the
            caller has looked at it).

        Raises:
            ModelUnknown: no such name in the registry.
            ModelUnavailable: it cannot be read.
            ModelCorrupt: it is not the file that it should be.
            DiskFull, StorageUnwritable: it cannot be kept.
        """
        spec = self.registry[name]
        published = file.with_suffix(".hash")
        crc32 = ""
        try:
            if not spec.sha256 and published.exists():
                crc32 = published.read_text("ascii", "replace").strip().lower()
            with file.open("rb"):
                pass
        except OSError as error:
            raise ModelUnavailable(
                f"{file}: {error.strerror}", "a readable file", "check the path"
            ) from error
        with self._lock(spec), _keeping(self._folder):
            part = self._folder / f"{spec.filename}.part"
            shutil.copyfile(file, part)
            self._adopt(spec, part, str(file), crc32)
        return "sha256" if spec.sha256 else "crc32" if crc32 else ""

    def keep(self, spec: ModelSpec, file: Path) -> None:
        """Move a finished file of the store's disk into it, under a name that only it knows.

        Args:
            spec: its SHA-256 and size are filled in.

        Raises:
            DiskFull, StorageUnwritable: it cannot be kept.
        """
        spec = replace(spec, sha256=_sha256(file), bytes=file.stat().st_size)
        with _keeping(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            _sync(file)
            file.replace(self._place(spec))
            self._pin(spec)

    def _known(self) -> Registry:
        """The registry with what this machine knows beyond it."""
        local = self._folder / LOCAL
        if not local.exists():
            return self._own
        here = {}
        for name, spec in Registry.load(local).items():
            own = spec
            if name in self._own:
                own = self._own[name]
            if spec.source == own.source:
                here[name] = replace(own, sha256=spec.sha256, bytes=spec.bytes)
            elif not (spec.source.startswith(FACEFUSION) and own.source.startswith(FACEFUSION)):
                here[name] = spec
            # else: the program has moved on to another release of it
        return self._own.over(Registry(here))

    def _pin(self, spec: ModelSpec) -> None:
        """Write a model into this machine's own registry."""
        local = self._folder / LOCAL
        with (self._folder / ".local.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = Registry.load(local) if local.exists() else Registry({})
            fresh = local.with_suffix(".part")
            fresh.write_text(before.over(Registry({spec.name: spec})).text(), encoding="utf-8")
            _sync(fresh)
            fresh.replace(local)
        self.registry = self._known()

    def _place(self, spec: ModelSpec) -> Path:
        return self._folder / spec.filename

    def _usable(self, spec: ModelSpec) -> bool:
        place = self._place(spec)
        if not spec.sha256 or not place.exists() or place.stat().st_size != spec.bytes:
            return False
        return spec.bytes > ALWAYS_HASHED or _sha256(place) == spec.sha256

    def _fetch(self, spec: ModelSpec, report: Report | None) -> None:
        """Bring a file, and all others that are missing and come in the same archive."""
        if spec.source.startswith(QUANTIZED):
            name = spec.name.removesuffix(INT8).removesuffix(FP16)
            to = " --to fp16" if spec.name.endswith(FP16) else ""
            raise ModelUnavailable(
                f"{spec.name} was made on this machine, and its file is gone or damaged",
                "a file that no source has",
                f"make it again: `farm models quantize {name} --calibrate VIDEO{to}`",
            )
        together = {spec.name: spec}
        if spec.member:
            for other in self.registry.values():
                if other.origin == spec.origin and not self.present(other.name):
                    together[other.name] = other
        # The name stays the same from try to try, so that a broken download is continued.
        parts = {each.member: self._folder / f"{each.filename}.part" for each in together.values()}
        troubles: list[ModelError] = []
        for source in (spec.source, *spec.mirrors):
            for origin in self._fetcher.places(source):
                try:
                    self._fetch_from(origin, together.values(), parts, report)
                    return
                except (ModelUnavailable, ModelCorrupt) as error:
                    troubles.append(error)
        if len(troubles) == 1:
            raise troubles[0]
        raise type(troubles[-1])(
            f"no source gives {spec.name}: " + "; ".join(each.found for each in troubles),
            troubles[-1].wanted,
            "check the network and try again, or bring the file: `farm models add FILE`",
        )

    def _fetch_from(
        self,
        origin: str,
        specs: Iterable[ModelSpec],
        parts: Mapping[str, Path],
        report: Report | None,
    ) -> None:
        with _keeping(self._folder):
            try:
                self._fetch_once(origin, specs, parts, report)
            except ModelCorrupt:
                # What was continued may have begun as another file: once more, from the start.
                self._fetch_once(origin, specs, parts, report)

    def _fetch_once(
        self,
        origin: str,
        specs: Iterable[ModelSpec],
        parts: Mapping[str, Path],
        report: Report | None,
    ) -> None:
        crc32 = "" if all(spec.sha256 for spec in specs) else self._fetcher.published(origin)
        self._fetcher.fetch(origin, parts, report)
        for spec in specs:
            self._adopt(spec, parts[spec.member], origin, crc32)

    def _adopt(self, spec: ModelSpec, part: Path, origin: str, crc32: str) -> None:
        """Put a file that has come in its place, if it is the right one."""
        sha256, size = _sha256(part), part.stat().st_size
        if spec.sha256:
            right, found = (sha256, size) == (spec.sha256, spec.bytes), f"the SHA-256 {sha256}"
            wanted = f"{spec.bytes} bytes and {spec.sha256}"
        else:
            found = f"the CRC-32 {_crc32(part)}"
            right, wanted = crc32 in ("", _crc32(part)), f"the CRC-32 {crc32} that is published"
        if not right:
            part.unlink()
            raise ModelCorrupt(
                f"{spec.name} from {origin} has {size} bytes and {found}",
                wanted,
                "try again; if it stays so, the source has changed: do not use it",
            )
        _sync(part)
        if spec.sha256:
            part.replace(self._place(spec))
        else:
            self.keep(spec, part)

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


def _crc32(path: Path) -> str:
    crc = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            crc = zlib.crc32(block, crc)
    return f"{crc:08x}"


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
