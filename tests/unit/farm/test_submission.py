from __future__ import annotations

from pathlib import Path

import pytest

from farm.config import Settings, load_settings
from farm.specs import analyse_settings, encoder_settings, stabilize_settings
from farm.submission import build_job, default_output, survey_job_spec
from scheduler.errors import (
    ConsentMissing,
    OutputInvalid,
    SettingInvalid,
    StorageUnwritable,
    SwapfarmError,
)
from scheduler.jobs import EncoderSettings, StabilizeSettings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(environment={"HOME": str(tmp_path)})


def with_flags(tmp_path: Path, flags: dict[str, object]) -> Settings:
    return load_settings(environment={"HOME": str(tmp_path)}, flags=flags)


def encoder(tmp_path: Path, **flags: object) -> EncoderSettings:
    return encoder_settings(with_flags(tmp_path, {"encoder": flags}))


def test_each_codec_has_its_own_defaults_and_the_user_the_last_word(tmp_path: Path) -> None:
    assert encoder(tmp_path) == EncoderSettings(codec="libx264", preset="veryfast", quality=18)
    assert encoder(tmp_path, codec="libsvtav1").preset == "8"
    assert encoder(tmp_path, codec="libx265", preset="slow", quality=30).quality == 30
    assert encoder(tmp_path, codec="libsvtav1", quality=63).quality == 63


@pytest.mark.parametrize(
    "flags", [{"codec": "h264"}, {"quality": 52}, {"codec": "libx265", "quality": -1}]
)
def test_unknown_codecs_and_qualities_are_refused(tmp_path: Path, flags: dict[str, object]) -> None:
    with pytest.raises(SettingInvalid, match="Next:"):
        encoder(tmp_path, **flags)


def test_quality_of_the_settings_file_is_for_its_own_codec(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[encoder]\ncodec = "libx265"\nquality = 33\n')
    home = {"HOME": str(tmp_path)}
    assert encoder_settings(load_settings(file, home)).quality == 33
    other = load_settings(file, home, flags={"encoder": {"codec": "libx264"}})
    assert encoder_settings(other).quality == 18
    same = load_settings(file, home, flags={"encoder": {"codec": "libx265"}})
    assert encoder_settings(same).quality == 33


@pytest.mark.parametrize(
    ("video", "codec", "output"),
    [
        ("/a/film.MOV", "libx264", "/a/film.swapped.mov"),
        ("/a/film.avi", "libx264", "/a/film.swapped.mp4"),
        ("/a/film.mov", "ffv1", "/a/film.swapped.mp4"),
    ],
)
def test_the_result_stands_beside_the_film(video: str, codec: str, output: str) -> None:
    assert default_output(Path(video), codec) == Path(output)


def job_for(settings: Settings, tmp_path: Path, output: Path, **more: object) -> None:
    film, face = tmp_path / "film.mp4", tmp_path / "face.jpg"
    film.touch()
    face.touch()
    build_job(
        settings,
        video=film,
        sources=[face],
        output=output,
        **more,  # type: ignore[arg-type]
    )


def test_a_job_must_say_who_consented_where_that_is_asked(tmp_path: Path) -> None:
    asked = with_flags(tmp_path, {"consent": {"required": True, "statement": "  "}})
    with pytest.raises(ConsentMissing, match="--consent"):
        job_for(asked, tmp_path, tmp_path / "out.mp4")
    said = with_flags(tmp_path, {"consent": {"required": True, "statement": "Anna, 3 May"}})
    job_for(said, tmp_path, tmp_path / "out.mp4")


def test_outputs_that_would_destroy_something_are_refused(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "old.mp4").touch()
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "link.mp4").symlink_to(tmp_path / "film.mp4")
    cases: dict[str, type[SwapfarmError]] = {
        "film.mp4": OutputInvalid,
        "link.mp4": OutputInvalid,
        "folder.mp4": OutputInvalid,
        "old.mp4": OutputInvalid,
        "new.txt": OutputInvalid,
        "new": OutputInvalid,
        "missing/new.mp4": StorageUnwritable,
        "film.mp4/new.mp4": StorageUnwritable,
    }
    for name, error in cases.items():
        with pytest.raises(error):
            job_for(settings, tmp_path, tmp_path / name)
    careless = with_flags(tmp_path, {"overwrite": True})
    job_for(careless, tmp_path, tmp_path / "old.mp4")
    with pytest.raises(OutputInvalid):
        job_for(careless, tmp_path, tmp_path / "link.mp4")


def test_a_job_knows_absolute_paths_only(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    job = build_job(
        settings,
        video=Path("film with space.mp4"),
        sources=[Path("sub/../face.jpg")],
        output=Path("out.mkv"),
    )
    assert job.media == str(tmp_path / "film with space.mp4")
    assert job.swap.sources == (str(tmp_path / "face.jpg"),)
    assert Path(job.partial).parent == tmp_path
    assert job.partial.endswith(".partial.mkv")
    assert Path(job.folder).parent == settings.state_dir / "jobs"


def test_without_a_source_or_with_an_unknown_swapper_there_is_no_job(
    settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(SettingInvalid, match="--swapper magic"):
        with_flags(tmp_path, {"face_swapper": {"model": "magic"}})
    with pytest.raises(SettingInvalid, match="neither --source nor --swap"):
        build_job(settings, video=tmp_path / "film.mp4")


@pytest.mark.parametrize("interval", [0, -1, 25])
def test_the_detector_looks_at_least_once_a_second(tmp_path: Path, interval: int) -> None:
    with pytest.raises(SettingInvalid, match="--detect-every"):
        with_flags(tmp_path, {"detect_every": interval})


def test_how_often_the_detector_looks_is_the_users(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("detect_every = 3\n")
    home = {"HOME": str(tmp_path)}
    settings = load_settings(file, home)
    assert analyse_settings(settings).interval == 3
    assert survey_job_spec(settings, video=Path("film.mp4")).analysis.interval == 3
    flags = load_settings(file, home, flags={"detect_every": 24})
    assert analyse_settings(flags).interval == 24
    file.write_text("detect_every = 25\n")
    with pytest.raises(SettingInvalid, match="detect_every"):
        load_settings(file, home)


def test_objects_are_looked_for_on_the_mesh_only(tmp_path: Path) -> None:
    assert analyse_settings(with_flags(tmp_path, {})).objects
    assert not analyse_settings(with_flags(tmp_path, {"objects": False})).objects
    points68 = {"face_landmarker": {"model": "2dfan4"}}
    assert not analyse_settings(with_flags(tmp_path, points68)).objects


def test_filters_are_named_or_none(tmp_path: Path) -> None:
    def chosen(value: object) -> StabilizeSettings:
        return stabilize_settings(with_flags(tmp_path, {"stabilize": value}))

    assert stabilize_settings(with_flags(tmp_path, {})) == StabilizeSettings()
    assert not chosen([]).any
    assert chosen([]).warmup == 0
    some = chosen("snap, colour")
    assert (some.snap, some.colour, some.flow, some.guard) == (True, True, False, False)
    assert some.warmup >= StabilizeSettings().warmup > 0
    with pytest.raises(SettingInvalid, match="--stabilize smooth"):
        chosen(["flow,smooth"])
