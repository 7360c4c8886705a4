"""Settings in force: command line over SWAPFARM_* over profile over settings file over built-in.

Beside ``cluster/session.py`` this is the only file that reads the environment.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from farm.options.catalogue import PREFIX, Option, by_name, catalogue
from farm.options.settings import Settings
from scheduler.errors import SettingInvalid

__all__ = ["Layer", "Settings", "load_settings", "merged", "origins", "read_layers"]

CONFIG_VARIABLE: Final = "SWAPFARM_CONFIG"
PROFILE_VARIABLE: Final = "SWAPFARM_PROFILE"
BUILT_IN: Final = "built-in"
COMMAND_LINE: Final = "the command line"
ENVIRONMENT: Final = "the environment (SWAPFARM_*)"

_DISPLACED: Final = {
    "encoder.codec": ("encoder.preset", "encoder.quality", "output_video.quality"),
    "encoder.quality": ("output_video.quality",),
    "output_video.quality": ("encoder.quality",),
    "reference.distance": ("reference.face_distance",),
    "reference.face_distance": ("reference.distance",),
}
"""What a lower layer says goes when a higher one sets the key: a preset is meant for the codec
that stands beside it, and of two ways to say the same the higher counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What one place says."""

    origin: str
    """For people: a file's path, ``the environment (SWAPFARM_*)``, ``the command line``."""
    values: dict[str, Any]
    """Nested as in a settings file."""

    def get(self, option: Option) -> Any:
        """What it says of an option; None: nothing."""
        value: Any = self.values
        for part in option.path:
            value = value.get(part) if isinstance(value, dict) else None
        return value


def load_settings(
    config: Path | None = None,
    environment: Mapping[str, str] | None = None,
    *,
    profile: str | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Settings:
    """The settings in force.

    Args:
        config: the file named on the command line; it must exist. None: SWAPFARM_CONFIG if set
            (must exist), else ``$XDG_CONFIG_HOME/swapfarm/config.toml`` where there is one.
        environment: variables to read; None: this process's.
        profile: file or name of a profile; None: SWAPFARM_PROFILE if set, else none.
        flags: what the command line sets, nested as in a settings file.

    Raises:
        SettingInvalid: an unknown setting (named, with the closest known one), a value out of
            range, or a settings file that is missing or not TOML.
    """
    return merged(read_layers(config, environment, profile=profile, flags=flags))


def read_layers(
    config: Path | None = None,
    environment: Mapping[str, str] | None = None,
    *,
    profile: str | None = None,
    flags: Mapping[str, Any] | None = None,
) -> tuple[Layer, ...]:
    """What each place says, the lowest first; arguments as of ``load_settings``."""
    environment = os.environ if environment is None else environment
    base = _base_dir(environment, "XDG_CONFIG_HOME", ".config") / "swapfarm"
    variable = environment.get(CONFIG_VARIABLE)
    named = config or (Path(variable) if variable else None)
    file = named or base / "config.toml"
    folders = {
        "cache_dir": _base_dir(environment, "XDG_CACHE_HOME", ".cache") / "swapfarm",
        "state_dir": _base_dir(environment, "XDG_STATE_HOME", ".local/state") / "swapfarm",
    }
    layers = [
        Layer(origin=BUILT_IN, values=folders),
        Layer(origin=str(file), values=_from_file(file, required=named is not None)),
    ]
    wanted = profile or environment.get(PROFILE_VARIABLE)
    if wanted:
        layers.append(_profile(wanted, base / "profiles"))
    layers.append(Layer(origin=ENVIRONMENT, values=_from_environment(environment)))
    layers.append(Layer(origin=COMMAND_LINE, values=dict(flags or {})))
    return tuple(layers)


def merged(layers: Sequence[Layer]) -> Settings:
    """The settings that layers, the lowest first, make together.

    Raises:
        SettingInvalid: names the layer that is wrong.
    """
    values: dict[str, Any] = {}
    settings: Settings | None = None
    for layer in layers:
        values = _overlay(values, layer)
        try:
            settings = Settings.model_validate(values)
        except ValidationError as error:
            raise _explain(error, layer.origin) from error
    assert settings is not None
    return settings


def origins(layers: Sequence[Layer]) -> dict[str, str]:
    """{dotted name of each option: the origin of its value}."""
    found = dict.fromkeys(by_name(), BUILT_IN)
    for layer in layers:
        said = [o.name for o in catalogue() if layer.get(o) is not None]
        for name in said:
            for other in _DISPLACED.get(name, ()):
                found[other] = BUILT_IN
        found |= dict.fromkeys(said, layer.origin)
    return found


def _closest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"write {near[0]!r} if that is what you meant" if near else "remove it"


def _base_dir(environment: Mapping[str, str], variable: str, fallback: str) -> Path:
    # The XDG rules say that a relative path in one of these variables is to be ignored.
    named = Path(environment.get(variable, ""))
    home = Path(environment.get("HOME") or Path.home())
    return named if named.is_absolute() else home / fallback


def config_file(environment: Mapping[str, str] | None = None) -> Path:
    """Where the settings file is looked for when nobody names one."""
    environment = os.environ if environment is None else environment
    return _base_dir(environment, "XDG_CONFIG_HOME", ".config") / "swapfarm" / "config.toml"


def _from_file(path: Path, required: bool) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if not required:
            return {}
        raise SettingInvalid(
            f"no settings file at {path}", "a TOML file", "check the path given as --config"
        ) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingInvalid(
            f"settings file {path}: {error}", "a readable TOML file", "correct the file"
        ) from error


def _profile(wanted: str, folder: Path) -> Layer:
    """A profile by its file, or by its name in the folder of profiles."""
    path = Path(wanted).expanduser()
    if path.suffix != ".toml" and len(path.parts) == 1:
        path = folder / f"{wanted}.toml"
    if not path.exists():
        there = ", ".join(sorted(found.stem for found in folder.glob("*.toml")))
        raise SettingInvalid(
            f"no profile at {path}",
            f"a TOML file, or one of {there}" if there else "a TOML file with settings",
            "check --profile (or SWAPFARM_PROFILE); docs/settings.md says how to make one",
        )
    return Layer(origin=str(path), values=_from_file(path, required=True))


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    known = {option.variable: option.path for option in catalogue()}
    others = (CONFIG_VARIABLE, PROFILE_VARIABLE)
    found: dict[str, Any] = {}
    for variable in sorted(environment):
        if not variable.startswith(PREFIX) or variable in others:
            continue
        if variable not in known:
            raise SettingInvalid(
                f"environment variable {variable}",
                "one of " + ", ".join([*others, *known]),
                _closest(variable, [*others, *known]),
            )
        *section, key = known[variable]
        place = found.setdefault(section[0], {}) if section else found
        place[key] = environment[variable]
    return found


def _overlay(below: dict[str, Any], layer: Layer) -> dict[str, Any]:
    values = {key: dict(v) if isinstance(v, dict) else v for key, v in below.items()}
    for name, others in _DISPLACED.items():
        option = by_name()[name]
        said = layer.get(option)
        if said is None or said == Layer(origin="", values=below).get(option):
            continue
        for section, key in (other.split(".") for other in others):
            if isinstance(values.get(section), dict):
                values[section].pop(key, None)
    for key, value in layer.values.items():
        if isinstance(value, dict) and isinstance(values.get(key), dict):
            value = values[key] | value
        values[key] = value
    return values


def _explain(error: ValidationError, origin: str) -> SettingInvalid:
    first = error.errors(include_url=False)[0]
    path = _within(first["loc"])
    name = ".".join(path)
    if first["type"] == "extra_forbidden":
        known = sorted(by_name())
        return SettingInvalid(
            f"unknown setting {name!r} in {origin}",
            "one of " + ", ".join(known),
            _closest(name, known),
        )
    option = by_name().get(name)
    wanted = first["msg"].removeprefix("Value error, ")
    if origin == COMMAND_LINE and option is not None and option.flag is not None:
        flag = option.flag.names[0]
        return SettingInvalid(f"{flag} {first['input']}", wanted, f"correct {flag}")
    return SettingInvalid(
        f"setting {name!r} = {first['input']!r} in {origin}", wanted, f"correct {name!r}"
    )


def _within(location: Iterable[int | str]) -> list[str]:
    """The option's path of an error's location, without the place in a list."""
    return [str(part) for part in location if not isinstance(part, int)][:2]
