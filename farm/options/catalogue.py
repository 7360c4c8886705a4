"""The list of all options, read off the model: names, variables, flags, ranges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, get_args

from annotated_types import Ge, Le
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from farm.options.fields import Choice, Flag
from farm.options.settings import Settings

PREFIX: Final = "SWAPFARM_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option, whichever way it is set."""

    path: tuple[str, ...]
    """Where it is in a settings file: section and key, or key alone."""
    field: FieldInfo
    flag: Flag | None
    """None: it belongs to the machine and has no flag."""
    panel: str

    @property
    def name(self) -> str:
        """``encoder.codec``: as documents and errors write it."""
        return ".".join(self.path)

    @property
    def variable(self) -> str:
        return PREFIX + "_".join(self.path).upper()

    @property
    def parameter(self) -> str:
        """Name of the command's parameter."""
        return "__".join(self.path)

    @property
    def default(self) -> Any:
        """None where it depends on the machine."""
        return None if self.field.default is PydanticUndefined else self.field.default

    @property
    def switch(self) -> bool:
        return self.field.annotation is bool

    @property
    def many(self) -> bool:
        """Takes several values."""
        return getattr(self.field.annotation, "__origin__", None) is tuple

    @property
    def words(self) -> tuple[str, ...]:
        """What it can be, where that is a list of words."""
        places = [*self.field.metadata]
        for argument in get_args(self.field.annotation):
            places += getattr(argument, "__metadata__", ())
        return next((p.words for p in places if isinstance(p, Choice)), ())

    @property
    def range(self) -> str:
        """``0..1`` where it has one."""
        places = [*self.field.metadata]
        for argument in get_args(self.field.annotation):
            for part in getattr(argument, "__metadata__", ()):
                places += part.metadata if isinstance(part, FieldInfo) else [part]
        low = next((p.ge for p in places if isinstance(p, Ge)), None)
        high = next((p.le for p in places if isinstance(p, Le)), None)
        return "" if low is None or high is None else f"{low}..{high}"


def shown(value: Any) -> str:
    """A value as one would write it on the command line."""
    if isinstance(value, tuple | list):
        return ",".join(map(shown, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def _read(model: type[BaseModel], path: tuple[str, ...]) -> Iterator[Option]:
    for name, field in model.model_fields.items():
        part = field.annotation
        if isinstance(part, type) and issubclass(part, BaseModel):
            yield from _read(part, (*path, name))
            continue
        flag = next((m for m in field.metadata if isinstance(m, Flag)), None)
        panel = (flag.panel if flag else "") or getattr(model, "panel", "")
        yield Option(path=(*path, name), field=field, flag=flag, panel=panel)


@cache
def catalogue() -> tuple[Option, ...]:
    """All options, in the order in which the model declares them."""
    return tuple(_read(Settings, ()))


@cache
def by_name() -> Mapping[str, Option]:
    """All options by their dotted name."""
    return {option.name: option for option in catalogue()}
