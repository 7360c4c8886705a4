"""What an option is made of: its flags and help beside its type, range and default.

An option is a field of a section of ``farm.options.settings.Settings``. From that one declaration
come its place in a settings file (``[section] key``), its variable (``SWAPFARM_SECTION_KEY``), its
flags, its line in ``--help`` and its row in ``farm config show``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from scheduler.jobs import PRECISIONS


class Section(BaseModel):
    """A group of options; one panel of ``--help``."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
    panel: ClassVar[str] = ""


@dataclass(frozen=True, slots=True)
class Flag:
    """How an option is written on the command line."""

    names: tuple[str, ...]
    """The name that documents use, then other names for the same thing."""
    help: str
    metavar: str = ""
    """Empty: after the type."""
    unset: str = ""
    """What happens where nobody sets it, for ``--help``; empty: the default value."""
    off: str = ""
    """The flag that turns a switch off, or empties a list."""
    panel: str = ""
    """Empty: the section's."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A string that is one of some words."""

    words: tuple[str, ...]

    def __get_pydantic_core_schema__(
        self, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def _check(self, value: str) -> str:
        if value not in self.words:
            raise ValueError("must be one of " + ", ".join(filter(None, self.words)))
        return value


def _split(value: object) -> object:
    """Words with commas or spaces between them, once or as often as the flag was repeated."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, Sequence) and all(isinstance(part, str) for part in value):
        return [word for part in value for word in part.replace(",", " ").split()]
    return value


Words = BeforeValidator(_split)
"""Before a tuple: lets it be written ``a b``, ``a,b`` or one by one."""


def _sides(value: object) -> object:
    """One to four numbers as in style sheets: all; top/bottom and left/right; ..."""
    parts = _split(value)
    if isinstance(parts, Sequence) and not isinstance(parts, str) and 1 <= len(parts) < 4:
        top, *rest = parts
        right = rest[0] if rest else top
        return [top, right, rest[1] if len(rest) > 1 else top, right]
    return parts


Sides = BeforeValidator(_sides)
"""Before a tuple of four: top, right, bottom, left from one to four numbers."""


def _square(value: object) -> object:
    """``512`` and ``512x512`` are the side of a square."""
    if isinstance(value, str) and "x" in value:
        width, _, height = value.partition("x")
        if width != height:
            raise ValueError("must be a square, as in 512x512 or 512")
        return width
    return value


Square = BeforeValidator(_square)


def distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse an empty list, and drop what comes twice."""
    if not values:
        raise ValueError("must name at least one")
    return tuple(dict.fromkeys(values))


Share = Annotated[float, Field(ge=0, le=1)]
Percent = Annotated[int, Field(ge=0, le=100)]
Margins = Annotated[tuple[Percent, Percent, Percent, Percent], Sides]
Precision = Annotated[str, Choice(PRECISIONS)]
