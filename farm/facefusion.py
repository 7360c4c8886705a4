"""FaceFusion's settings file in our words."""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from farm.config import COMMAND_LINE, Layer, merged, read_layers
from farm.options.catalogue import Option, catalogue
from scheduler.errors import SettingInvalid

WHY_NOT: Final[Mapping[str, str]] = {
    "temp_path": "no temporary frames: segments wait in --work-dir",
    "jobs_path": "job folders are in state_dir",
    "source_paths": "belongs to the command line: --source",
    "target_path": "belongs to the command line: farm submit TARGET",
    "output_path": "belongs to the command line: --output",
    "source_pattern": "belongs to the command line: farm batch --source",
    "target_pattern": "belongs to the command line: farm batch --target",
    "output_pattern": "belongs to the command line: farm batch --output",
    "config_path": "--config names our own settings file",
    "temp_frame_format": "frames are never written to files",
    "temp_pixel_format": "frames are never converted to BGR",
    "keep_temp": "frames are never written to files; --keep keeps a job's folder",
    "target_frame_amount": "temporal filters look back as far as they need: --stabilize",
    "workflow": "follows from the target's name",
    "workflow_mode": "follows from the target's name",
    "workflow_strategy": "frames are never written to files",
    "execution_thread_count": "as many lanes as cores: --lanes",
    "execution_queue_count": "queues are bounded by a lane's slots",
    "download_providers": "belongs to the command line: farm models pull --provider",
    "download_scope": "models are fetched when they are needed",
    "video_memory_strategy": "models stay as long as their lane",
    "system_memory_limit": "memory is bounded by design",
    "log_level": "progress goes to stderr, events to --json",
    "halt_on_error": "belongs to the command line: farm batch --halt-on-error",
    "voice_extractor_model": "not offered: there is no lip syncer",
}
"""Keys that have no counterpart, and why."""

NOT_OFFERED: Final = (
    "age_modifier",
    "background_remover",
    "deep_swapper",
    "expression_restorer",
    "face_debugger",
    "face_editor",
    "frame_colorizer",
    "frame_enhancer",
    "lip_syncer",
)
"""Frame processors that we do not have."""
_ENHANCER: Final = "gfpgan_1.4"
"""FaceFusion's, where nobody names one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What of a facefusion.ini we have."""

    values: dict[str, Any]
    """Nested as in a settings file."""
    mapped: tuple[tuple[str, str], ...]
    """(their key, our option)."""
    left: tuple[tuple[str, str], ...]
    """(their key, why it is left out)."""


def import_ini(path: Path) -> Imported:
    """Read a facefusion.ini. Keys without a value are FaceFusion's defaults: they say nothing.

    Raises:
        SettingInvalid: no such file, or no INI file.
    """
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        raise SettingInvalid(
            f"{path}: {getattr(error, 'strerror', None) or error}",
            "FaceFusion's facefusion.ini",
            "check the path",
        ) from error
    said = {
        key: value.strip()
        for section in parser.sections()
        for key, value in parser.items(section)
        if value and value.strip()
    }
    processors = said.pop("processors", "face_swapper").split()
    ours = {
        name.removeprefix("--").replace("-", "_"): option
        for option in catalogue()
        if option.flag
        for name in option.flag.names
        if name.startswith("--")
    }
    values: dict[str, Any] = {}
    mapped: list[tuple[str, str]] = []
    left: list[tuple[str, str]] = []
    if "face_enhancer" in processors:
        said.setdefault("face_enhancer_model", _ENHANCER)
    elif "face_enhancer_model" in said:
        left.append(("face_enhancer_model", "face_enhancer is not among the processors"))
        del said["face_enhancer_model"]
    for name in processors:
        if name not in ("face_swapper", "face_enhancer"):
            left.append((f"processors: {name}", "not offered"))
    for key, value in said.items():
        option = ours.get(key)
        if option is None:
            left.append((key, _reason(key)))
            continue
        wrong = _refused(option, value)
        if wrong:
            left.append((key, f"{value!r} {wrong}"))
        else:
            _put(values, option, value)
            mapped.append((key, option.name))
    return Imported(values=_typed(values), mapped=tuple(mapped), left=tuple(left))


def _reason(key: str) -> str:
    if key.startswith(NOT_OFFERED):
        return "not offered: we have no such processor"
    return WHY_NOT.get(key, "unknown here")


def _put(values: dict[str, Any], option: Option, value: Any) -> None:
    *section, key = option.path
    place = values.setdefault(section[0], {}) if section else values
    place[key] = value


def _bare(values: dict[str, Any]) -> tuple[Layer, ...]:
    """Nothing but the built-in values and these."""
    (built_in, *_) = read_layers(environment={"HOME": "/"})
    return (built_in, Layer(origin=COMMAND_LINE, values=values))


def _refused(option: Option, value: str) -> str:
    """Why our option does not take a value of theirs; empty: it does."""
    layer: dict[str, Any] = {}
    _put(layer, option, value)
    try:
        merged(_bare(layer))
    except SettingInvalid as error:
        return error.wanted
    return ""


def _typed(values: dict[str, Any]) -> dict[str, Any]:
    """The values as numbers, lists and words, not as text."""
    settings = merged(_bare(values)).model_dump(mode="json")
    layer = Layer(origin="", values=values)
    typed: dict[str, Any] = {}
    for option in catalogue():
        if layer.get(option) is not None:
            _put(typed, option, Layer(origin="", values=settings).get(option))
    return typed
