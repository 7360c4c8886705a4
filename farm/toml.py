"""Settings as TOML text: Python reads it but does not write it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from farm.options.catalogue import catalogue


def written(values: Mapping[str, Any]) -> str:
    """TOML of settings: top-level keys first, then the sections."""
    lines = [f"{key} = {_value(v)}" for key, v in values.items() if not isinstance(v, Mapping)]
    for section, inside in values.items():
        if isinstance(inside, Mapping):
            lines += ["", f"[{section}]", *(f"{key} = {_value(v)}" for key, v in inside.items())]
    return "\n".join(lines).lstrip("\n") + "\n"


def commented() -> str:
    """A settings file with every option as a comment: its meaning, its range, its default."""
    return "\n".join(_comments()) + "\n"


def _comments() -> Iterator[str]:
    yield "# swapfarm's settings. A line counts once its # is gone. `farm config show` says what is"
    yield "# in force and why; the command line wins over SWAPFARM_* over a profile over this file."
    section = ""
    top = [option for option in catalogue() if len(option.path) == 1]
    rest = [option for option in catalogue() if len(option.path) > 1]
    for option in [*top, *rest]:
        if len(option.path) > 1 and option.path[0] != section:
            section = option.path[0]
            yield f"\n[{section}]"
        words = [word for word in option.words if word]
        hints = [
            option.flag.help if option.flag else "",
            ("One of: " if not option.many else "Some of: ") + ", ".join(words) if words else "",
            option.range,
        ]
        text = " ".join(filter(None, hints))
        if text:
            yield f"# {text}"
        key, default = option.path[-1], option.default
        yield f"# {key}: not set" if default is None else f"# {key} = {_value(default)}"


def _value(value: Any) -> str:
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    # A JSON string is a TOML string, but for the characters beyond 16 bits.
    return json.dumps(str(value), ensure_ascii=False)
