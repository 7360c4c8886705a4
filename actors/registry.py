"""The registry: which models and samples there are, whose they are, and what they expect."""

from __future__ import annotations

import difflib
import json
import tomllib
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, Final, Self

from scheduler.errors import ModelUnknown, SettingInvalid

USES: Final = ("commercial", "non-commercial", "unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One file of the registry."""

    name: str
    about: str
    source: str
    """``pypi:NAME==VERSION#path/in/archive``, ``facefusion:RELEASE/FILE``, ``https://...`` or
    ``file:/...`` (see the head of configs/models.toml)."""
    mirrors: tuple[str, ...] = ()
    """Other sources of the same file, tried after it."""
    sha256: str = ""
    """Of the file; empty: not known beforehand, the CRC-32 decides that is published beside it."""
    bytes: int = 0
    """Size of the file; 0: not known."""
    licence: str
    use: str = "unknown"
    """What the licence allows: one of USES."""
    credit: str
    kind: str = "sample"
    """detector, landmarker, recogniser, classifier, swapper, converter, enhancer, masker or
    sample."""
    input: tuple[int, int] = (0, 0)
    """Width and height of the network's picture in pixels; 0: any."""
    colour: str = "rgb"
    """Order of the network's colour channels: rgb or bgr."""
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Pixels x in 0..1 go into the network as (x - mean) / std."""
    template: str = ""
    """Name of the canonical landmark positions that crops are aligned to; empty: none."""
    inputs: tuple[tuple[str, tuple[int, ...]], ...] = ()
    """Name and shape, with the batch dimension, of each input; empty: not written down."""
    outputs: tuple[tuple[int, ...], ...] = ()
    """Shape of each output in the file's order, with the batch dimension."""
    range: tuple[float, float] = (0.0, 0.0)
    """Bounds of the first output's values for a picture of a face; equal: not written down."""
    standin: bool = False
    """It only has the model's shape (benchmarks/standins.py). Never one of the program's own."""

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
        version = self.sha256[:8] or f"{zlib.crc32(self.source.encode()):08x}"
        return f"{self.name}-{version}{suffix}"


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
                    values = {key: _frozen(value) for key, value in entry.items()}
                    specs[name] = ModelSpec(name=name, **values)
                    if specs[name].use not in USES:
                        raise ValueError(f"{name}: use is {specs[name].use!r}, not of {USES}")
            except (OSError, ValueError, TypeError, AttributeError) as error:
                raise SettingInvalid(
                    f"the registry {file}: {error}",
                    "a table for each model with the keys of ModelSpec",
                    "correct the file, or install swapfarm anew",
                ) from error
        return cls(specs)

    def over(self, other: Registry) -> Registry:
        """Both, where ``other`` has its say about the names that it knows."""
        return Registry(self._specs | other._specs)

    def text(self) -> str:
        """The registry as a file that ``load`` reads."""
        return "\n".join(map(_entry, self._specs.values()))

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

    def __contains__(self, name: object) -> bool:
        return name in self._specs

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)


def _frozen(value: Any) -> Any:
    """TOML's lists and tables as tuples."""
    if isinstance(value, dict):
        return tuple((key, _frozen(each)) for key, each in value.items())
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _entry(spec: ModelSpec) -> str:
    lines = [f"[{json.dumps(spec.name)}]"]
    for field in fields(spec):
        value = getattr(spec, field.name)
        if field.name == "name" or (field.default is not MISSING and value == field.default):
            continue
        if field.name == "inputs":
            pairs = (f"{json.dumps(name)} = {list(shape)}" for name, shape in value)
            lines.append(f"inputs = {{ {', '.join(pairs)} }}")
        else:
            lines.append(f"{field.name} = {json.dumps(value, ensure_ascii=False)}")
    return "\n".join([*lines, ""])
