from pathlib import Path

import pytest
from pydantic import ValidationError

from farm.config import load_settings
from scheduler.errors import SettingInvalid

HOME = {"HOME": "/home/someone"}


def written(folder: Path, text: str) -> Path:
    path = folder / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_built_in_values_follow_the_xdg_rules() -> None:
    settings = load_settings(environment=HOME)
    assert settings.cache_dir == Path("/home/someone/.cache/swapfarm")
    assert settings.state_dir == Path("/home/someone/.local/state/swapfarm")
    assert (settings.chunk_seconds, settings.lanes, settings.lane.processes) == (None, 0, 0)
    assert settings.encoder.codec == "libx264"


def test_xdg_variables_move_the_folders_unless_they_are_relative() -> None:
    environment = HOME | {"XDG_CACHE_HOME": "/big/cache", "XDG_STATE_HOME": "not/absolute"}
    settings = load_settings(environment=environment)
    assert settings.cache_dir == Path("/big/cache/swapfarm")
    assert settings.state_dir == Path("/home/someone/.local/state/swapfarm")


def test_environment_wins_over_file_and_file_over_built_in(tmp_path: Path) -> None:
    path = written(tmp_path, "lanes = 2\nchunk_seconds = 4\n[encoder]\ncodec = 'libx265'\n")
    environment = HOME | {"SWAPFARM_LANES": "3", "SWAPFARM_ENCODER_QUALITY": "20"}
    settings = load_settings(path, environment)
    assert (settings.lanes, settings.chunk_seconds) == (3, 4.0)
    assert (settings.encoder.codec, settings.encoder.quality) == ("libx265", 20)


def test_the_file_in_the_xdg_folder_is_found_by_itself(tmp_path: Path) -> None:
    folder = tmp_path / "swapfarm"
    folder.mkdir()
    written(folder, "lanes = 5\n")
    assert load_settings(environment=HOME | {"XDG_CONFIG_HOME": str(tmp_path)}).lanes == 5


def test_swapfarm_config_names_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "lanes = 6\n")
    assert load_settings(environment=HOME | {"SWAPFARM_CONFIG": str(path)}).lanes == 6


@pytest.mark.parametrize(
    ("text", "name", "closest"),
    [
        ("chunk_second = 3", "chunk_second", "chunk_seconds"),
        ("[encoder]\ncodek = 'libx264'", "encoder.codek", "encoder.codec"),
        ("[lane]\nproceses = 2", "lane.proceses", "lane.processes"),
    ],
)
def test_an_unknown_setting_is_named_with_the_closest_known_one(
    tmp_path: Path, text: str, name: str, closest: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(SettingInvalid) as caught:
        load_settings(path, HOME)
    assert repr(name) in caught.value.found
    assert str(path) in caught.value.found
    assert repr(closest) in caught.value.next_step


def test_an_unknown_setting_like_no_other_is_still_named(tmp_path: Path) -> None:
    with pytest.raises(SettingInvalid, match="qqqqqq") as caught:
        load_settings(written(tmp_path, "qqqqqq = 1"), HOME)
    assert caught.value.next_step == "remove it"


def test_an_unknown_variable_is_named_with_the_closest_known_one() -> None:
    with pytest.raises(SettingInvalid, match="SWAPFARM_LANE_PROCESS") as caught:
        load_settings(environment=HOME | {"SWAPFARM_LANE_PROCESS": "2"})
    assert "'SWAPFARM_LANE_PROCESSES'" in caught.value.next_step


@pytest.mark.parametrize(
    "text",
    [
        "lanes = -1",
        "lanes = 'many'",
        "chunk_seconds = 0",
        "cache_dir = 'relative/folder'",
        "encoder = 'libx264'",
        "[encoder]\ncodec = 'mpeg2video'",
        "[encoder]\nquality = 99",
        "[lane]\nprocesses = 6",
    ],
)
def test_a_value_that_cannot_be_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingInvalid, match=r"config\.toml"):
        load_settings(written(tmp_path, text), HOME)


def test_a_wrong_value_in_the_environment_is_said_to_be_there() -> None:
    with pytest.raises(SettingInvalid, match="environment"):
        load_settings(environment=HOME | {"SWAPFARM_LANES": "many"})


@pytest.mark.parametrize("content", [b"lanes = ", b"\xff\xfe\x00", b"lanes 3"])
def test_a_file_that_is_not_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    with pytest.raises(SettingInvalid, match=r"config\.toml"):
        load_settings(path, HOME)


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SettingInvalid, match="no settings file"):
        load_settings(tmp_path / "absent.toml", HOME)


def test_a_folder_is_no_settings_file(tmp_path: Path) -> None:
    with pytest.raises(SettingInvalid, match="directory"):
        load_settings(tmp_path, HOME)


def test_settings_are_frozen() -> None:
    settings = load_settings(environment=HOME)
    with pytest.raises(ValidationError):
        settings.lanes = 4  # type: ignore[misc]
