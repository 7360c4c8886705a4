"""Settings: built-in values, then the TOML file, then SWAPFARM_* variables, then the command line.

Beside ``cluster/session.py`` this is the only file that reads the environment.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from scheduler.errors import SettingInvalid
from scheduler.jobs import MAX_INTERVAL, AnalyseSettings

PREFIX: Final = "SWAPFARM_"
CONFIG_VARIABLE: Final = "SWAPFARM_CONFIG"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class EncoderSection(_Section):
    """How results are encoded unless the command line says otherwise."""

    codec: Literal["libx264", "libx265", "libsvtav1", "ffv1"] = "libx264"
    preset: str = ""
    """The codec's own word for speed; empty: the program's choice for the codec."""
    quality: int | None = Field(default=None, ge=0, le=63)
    """CRF on the codec's own scale; none: the program's choice for the codec."""
    threads: int = Field(default=1, ge=1, le=64)


class LaneSection(_Section):
    """How a lane is laid out on its machine. Never changes a frame."""

    processes: int = Field(default=0, ge=0, le=5)
    """Processes that the five stages share; 0: as many as the machine's cores bear."""


class Settings(_Section):
    """All settings that outlive one command."""

    cache_dir: Path
    """Models, samples and analyses that can be fetched or made again."""
    state_dir: Path
    """Job folders and crash reports."""
    analysis_gb: float = Field(default=4.0, ge=0)
    """Room for analyses in the cache folder, in GB; 0: none are kept."""
    report_gb: float = Field(default=1.0, ge=0)
    """Room for what `farm report` needs of the last jobs, in the state folder, in GB; 0: nothing
    is kept."""
    chunk_seconds: float = Field(default=8.0, gt=0, le=600)
    detect_every: int = Field(default=AnalyseSettings().interval, ge=1, le=MAX_INTERVAL)
    """Frames from one look of the face detector to the next; faces are tracked between."""
    lanes: int = Field(default=0, ge=0, le=1024)
    """Lanes on this machine; 0: as many as its cores bear."""
    encoder: EncoderSection = EncoderSection()
    lane: LaneSection = LaneSection()

    @field_validator("cache_dir", "state_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        value = value.expanduser()
        if not value.is_absolute():
            raise ValueError("must be an absolute path")
        return value


def _known() -> dict[str, tuple[str, ...]]:
    """Every setting by its dotted name: {"lane.processes": ("lane", "processes"), ...}."""
    names: dict[str, tuple[str, ...]] = {}
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            names |= {f"{name}.{key}": (name, key) for key in section.model_fields}
        else:
            names[name] = (name,)
    return names


def _closest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"write {near[0]!r} if that is what you meant" if near else "remove it"


def _base_dir(environment: Mapping[str, str], variable: str, fallback: str) -> Path:
    # The XDG rules say that a relative path in one of these variables is to be ignored.
    named = Path(environment.get(variable, ""))
    home = Path(environment.get("HOME") or Path.home())
    return named if named.is_absolute() else home / fallback


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


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    known = {PREFIX + "_".join(where).upper(): where for where in _known().values()}
    found: dict[str, Any] = {}
    for variable in sorted(environment):
        if not variable.startswith(PREFIX) or variable == CONFIG_VARIABLE:
            continue
        if variable not in known:
            raise SettingInvalid(
                f"environment variable {variable}",
                "one of " + ", ".join([CONFIG_VARIABLE, *known]),
                _closest(variable, [CONFIG_VARIABLE, *known]),
            )
        *section, key = known[variable]
        place = found.setdefault(section[0], {}) if section else found
        place[key] = environment[variable]
    return found


def _overlay(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            value = merged[key] | value
        merged[key] = value
    return merged


def _explain(error: ValidationError, origin: str) -> SettingInvalid:
    first = error.errors(include_url=False)[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = sorted(_known())
        return SettingInvalid(
            f"unknown setting {name!r} in {origin}",
            "one of " + ", ".join(known),
            _closest(name, known),
        )
    return SettingInvalid(
        f"setting {name!r} = {first['input']!r} in {origin}", first["msg"], f"correct {name!r}"
    )


def load_settings(
    config: Path | None = None, environment: Mapping[str, str] | None = None
) -> Settings:
    """The settings in force.

    Args:
        config: the file named on the command line; it must exist. None: SWAPFARM_CONFIG if set
            (must exist), else ``$XDG_CONFIG_HOME/swapfarm/config.toml`` where there is one.
        environment: variables to read; None: this process's.

    Raises:
        SettingInvalid: an unknown setting (named, with the closest known one), a value out of
            range, or a settings file that is missing or not TOML.
    """
    environment = os.environ if environment is None else environment
    named = config or (
        Path(environment[CONFIG_VARIABLE]) if environment.get(CONFIG_VARIABLE) else None
    )
    path = named or _base_dir(environment, "XDG_CONFIG_HOME", ".config") / "swapfarm/config.toml"
    defaults = {
        "cache_dir": _base_dir(environment, "XDG_CACHE_HOME", ".cache") / "swapfarm",
        "state_dir": _base_dir(environment, "XDG_STATE_HOME", ".local/state") / "swapfarm",
    }
    from_file = _overlay(defaults, _from_file(path, required=named is not None))
    from_environment = _from_environment(environment)
    try:
        Settings.model_validate(from_file)
    except ValidationError as error:
        raise _explain(error, str(path)) from error
    try:
        return Settings.model_validate(_overlay(from_file, from_environment))
    except ValidationError as error:
        raise _explain(error, "the environment (SWAPFARM_*)") from error
