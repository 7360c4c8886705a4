from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from farm.cli import main
from farm.config import load_settings, merged, origins, read_layers
from scheduler.errors import SettingInvalid


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in [name for name in os.environ if name.startswith(("SWAPFARM_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def files(home: Path) -> Path:
    folder = home / ".config" / "swapfarm"
    (folder / "profiles").mkdir(parents=True)
    (folder / "config.toml").write_text(
        "lanes = 1\nchunk_seconds = 5\n[encoder]\nquality = 1\npreset = 'slow'\n"
        "[face_mask]\nblur = 0.1\n"
    )
    (folder / "profiles" / "night.toml").write_text("lanes = 2\n[encoder]\nquality = 2\n")
    return folder


def test_flags_over_variables_over_profile_over_file_over_built_in(home: Path) -> None:
    files(home)
    variables = {
        "HOME": str(home),
        "SWAPFARM_ENCODER_QUALITY": "3",
        "SWAPFARM_FACE_MASK_BLUR": "0.9",
    }
    flags = {"face_mask": {"blur": "0.2"}}
    layers = read_layers(None, variables | {"HOME": str(home)}, profile="night", flags=flags)
    settings = merged(layers)
    assert settings.face_mask.blur == 0.2
    assert settings.encoder.quality == 3
    assert settings.lanes == 2
    assert settings.chunk_seconds == 5
    assert settings.keep is False
    found = origins(layers)
    assert found["face_mask.blur"] == "the command line"
    assert found["encoder.quality"] == "the environment (SWAPFARM_*)"
    assert found["lanes"].endswith("night.toml")
    assert found["chunk_seconds"].endswith("config.toml")
    assert found["keep"] == "built-in"


def test_a_profile_is_named_by_file_name_or_variable(home: Path) -> None:
    folder = files(home)
    path = str(folder / "profiles" / "night.toml")
    environment = {"HOME": str(home)}
    assert load_settings(environment=environment, profile=path).lanes == 2
    assert load_settings(environment=environment | {"SWAPFARM_PROFILE": "night"}).lanes == 2
    with pytest.raises(SettingInvalid, match=r"no profile at .*day\.toml") as caught:
        load_settings(environment=environment, profile="day")
    assert "night" in caught.value.wanted


def test_an_error_names_the_layer_that_it_is_in(home: Path) -> None:
    folder = files(home)
    (folder / "profiles" / "night.toml").write_text("[face_mask]\nblur = 2\n")
    environment = {"HOME": str(home)}
    with pytest.raises(SettingInvalid, match=r"'face_mask\.blur' = 2 in .*night\.toml"):
        load_settings(environment=environment, profile="night")
    with pytest.raises(SettingInvalid, match="--face-mask-blur 2"):
        load_settings(environment=environment, flags={"face_mask": {"blur": "2"}})


def test_another_codec_drops_what_was_meant_for_the_one_below(home: Path) -> None:
    files(home)
    layers = read_layers(None, {"HOME": str(home)}, flags={"encoder": {"codec": "libsvtav1"}})
    settings = merged(layers)
    assert (settings.encoder.preset, settings.encoder.quality) == ("", None)
    assert origins(layers)["encoder.preset"] == "built-in"
    percent = {"output_video": {"quality": "50"}}
    settings = load_settings(environment={"HOME": str(home)}, flags=percent)
    assert (settings.encoder.quality, settings.output_video.quality) == (None, 50)


def test_config_show_says_where_each_value_is_from(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files(home)
    monkeypatch.setenv("SWAPFARM_STABILIZE", "flow")
    assert main(["config", "show", "--json", "--profile", "night"]) == 0
    rows = {row["name"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert rows["stabilize"]["value"] == ["flow"]
    assert rows["stabilize"]["from"] == "the environment (SWAPFARM_*)"
    assert rows["lanes"]["from"].endswith("night.toml")
    assert rows["face_swapper.model"] == {
        "name": "face_swapper.model",
        "value": "mesh",
        "from": "built-in",
        "variable": "SWAPFARM_FACE_SWAPPER_MODEL",
        "flags": ["--swapper", "--face-swapper-model"],
    }
    assert main(["config", "show", "--changed"]) == 0
    out = capsys.readouterr().out
    assert "face_mask.blur" in out
    assert "face_swapper.model" not in out


def test_config_init_writes_a_file_once(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "init"]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path == home / ".config" / "swapfarm" / "config.toml"
    assert "# codec = " in path.read_text()
    assert main(["config", "init"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["config", "init", "--overwrite"]) == 0


INI = """
[face_detector]
face_detector_model = retinaface
face_detector_angles = 0 90
face_detector_size =
[face_selector]
face_selector_gender = unsure
reference_face_distance = 0.25
[face_masker]
face_mask_types = box occlusion
face_mask_padding = 1 2 3 4
[processors]
processors = face_swapper face_enhancer lip_syncer
face_swapper_model = hyperswap_1a_256
face_swapper_pixel_boost = 512x512
lip_syncer_weight = 0.4
[output_creation]
output_video_fps = 29.97
output_video_quality = 90
[execution]
execution_thread_count = 8
[misc]
log_level = warn
future_option = 1
"""


def test_a_facefusion_ini_becomes_a_profile_and_what_is_left_is_said(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "facefusion.ini").write_text(INI)
    assert main(["config", "import", str(home / "facefusion.ini"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["mapped"]["face_swapper_pixel_boost"] == "face_swapper.pixel_boost"
    assert set(facts["left"]) == {
        "processors: lip_syncer",
        "face_selector_gender",
        "lip_syncer_weight",
        "execution_thread_count",
        "log_level",
        "future_option",
    }
    settings = load_settings(environment={"HOME": str(home)}, profile="facefusion")
    assert settings.face_detector.model == "retinaface"
    assert settings.face_detector.angles == (0, 90)
    assert settings.face_mask.types == ("box", "occlusion")
    assert settings.face_mask.padding == (1, 2, 3, 4)
    assert settings.face_swapper.model == "hyperswap_1a_256"
    assert settings.face_swapper.pixel_boost == 512
    assert settings.face_enhancer.model == "gfpgan_1.4"
    assert settings.reference.face_distance == 0.25
    assert str(settings.output_video.fps) == "30000/1001"
    assert settings.output_video.quality == 90


def test_an_enhancer_that_is_no_processor_stays_off(home: Path, tmp_path: Path) -> None:
    from farm.facefusion import import_ini

    path = tmp_path / "f.ini"
    path.write_text("[processors]\nprocessors = face_swapper\nface_enhancer_model = codeformer\n")
    found = import_ini(path)
    assert found.values == {}
    assert found.left[0][0] == "face_enhancer_model"


@pytest.mark.parametrize("content", [b"no section = 1", b"\xff\xfe\x00"])
def test_what_is_no_ini_is_one_clear_error(
    home: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "f.ini").write_bytes(content)
    assert main(["config", "import", str(home / "f.ini")]) == 2
    assert main(["config", "import", str(home / "absent.ini")]) == 2
    assert "error[setting.invalid]" in capsys.readouterr().err
