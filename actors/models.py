"""The registry of models and samples, and the store that keeps their files on this machine."""

from __future__ import annotations

import difflib
import fcntl
import hashlib
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from actors.fetcher import Fetcher, Report
from scheduler.errors import (
    ModelCorrupt,
    ModelUnknown,
    SettingInvalid,
    storage_error,
)

ALWAYS_HASHED: Final = 64 << 20
"""Files up to this size are hashed at each use; larger ones when fetched and by ``verify``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One file of the registry."""

    name: str
    about: str
    source: str
    """``pypi:NAME==VERSION#path/in/archive``, ``https://...`` or ``file:/...`` (see the head of
    configs/models.toml)."""
    sha256: str
    bytes: int
    licence: str
    credit: str
    kind: str = "sample"
    """detector, landmarker, recogniser, swapper or sample."""
    input: tuple[int, int] = (0, 0)
    """Width and height of the network's picture in pixels; 0: any."""
    colour: str = "rgb"
    """Order of the network's colour channels: rgb or bgr."""
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Pixels x in 0..1 go into the network as (x - mean) / std."""
    template: str = ""
    """Name of the canonical landmark positions that crops are aligned to; empty: none."""

    @property
    def origin(self) -> str:
        """What is downloaded: the source without the member."""
        return self.source.partition("#")[0]

    @property
    def member(self) -> str:
        """The file's path in the archive; empty when the source is the file."""
        return self.source.partition("#")[2]

    @property
    def filename(self) -> str:
        """Name in the store: a new version of a model never meets an old one's file."""
        suffix = Path(self.member or self.origin).suffix
        return f"{self.name}-{self.sha256[:8]}{suffix}"


def find_configs() -> Path:
    """The folder of models.toml: inside the installed package, else in the source checkout."""
    root = Path(__file__).resolve().parent.parent
    installed = root / "farm" / "configs"
    return installed if installed.is_dir() else root / "configs"


class Registry(Mapping[str, ModelSpec]):
    """Specs by name, in the registry's order."""

    def __init__(self, specs: Mapping[str, ModelSpec]) -> None:
        self._specs = dict(specs)

    @classmethod
    def load(cls, *files: Path) -> Self:
        """Read registry files; without any, the program's own models and samples.

        Raises:
            SettingInvalid: a file that is not TOML, or an entry with missing or unknown keys.
        """
        specs: dict[str, ModelSpec] = {}
        for file in files or (find_configs() / "models.toml", find_configs() / "samples.toml"):
            try:
                entries = tomllib.loads(file.read_text(encoding="utf-8"))
                for name, entry in entries.items():
                    lists = {key: tuple(v) for key, v in entry.items() if isinstance(v, list)}
                    specs[name] = ModelSpec(name=name, **(entry | lists))
            except (OSError, ValueError, TypeError, AttributeError) as error:
                raise SettingInvalid(
                    f"the registry {file}: {error}",
                    "a table for each model with the keys of ModelSpec",
                    "correct the file, or install swapfarm anew",
                ) from error
        return cls(specs)

    def __getitem__(self, name: str) -> ModelSpec:
        """Raises ModelUnknown, with the nearest names."""
        if name in self._specs:
            return self._specs[name]
        near = difflib.get_close_matches(name, self._specs, n=2)
        raise ModelUnknown(
            f"a model {name!r}",
            f"one of {', '.join(self._specs)}",
            f"try {' or '.join(near)}" if near else "see `farm models list`",
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)


class ModelStore:
    """Model files on this machine, fetched when first asked for. Safe for many processes at once.

    Args:
        cache: the program's cache folder; files go to ``models`` in it.
        registry: what there is; default the program's own.
        fetcher: brings what is missing.
    """

    def __init__(
        self, cache: Path, registry: Registry | None = None, fetcher: Fetcher | None = None
    ) -> None:
        self.cache = cache
        self.registry = Registry.load() if registry is None else registry
        self._folder = cache / "models"
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
