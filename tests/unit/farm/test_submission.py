from __future__ import annotations

from pathlib import Path

import pytest

from farm.config import Settings, load_settings
from farm.submission import (
    build_job,
    default_output,
    encoder_settings,
    stabilize_settings,
    survey_job_spec,
)
from scheduler.errors import OutputInvalid, SettingInvalid, StorageUnwritable, SwapfarmError
from scheduler.jobs import EncoderSettings, StabilizeSettings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(environment={"HOME": str(tmp_path)})


def encoder(settings: Settings, codec: str | None = None, **given: object) -> EncoderSettings:
    choice: dict[str, object] = {"preset": None, "quality": None, "pix_fmt": ""} | given
    return encoder_settings(settings, codec=codec, **choice)  # type: ignore[arg-type]


def test_each_codec_has_its_own_defaults_and_the_user_the_last_word(settings: Settings) -> None:
    assert encoder(settings) == EncoderSettings(codec="libx264", preset="veryfast", quality=18)
    assert encoder(settings, "libsvtav1").preset == "8"
    assert encoder(settings, "libx265", preset="slow", quality=30).quality == 30


@pytest.mark.parametrize(("codec", "quality"), [("h264", None), ("libx264", 52), ("libx265", -1)])
def test_unknown_codecs_and_qualities_are_refused(
    settings: Settings, codec: str, quality: int | None
) -> None:
    with pytest.raises(SettingInvalid, match="Next:"):
        encoder(settings, codec, quality=quality)


def test_quality_of_the_settings_file_is_for_its_own_codec(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[encoder]\ncodec = "libx265"\nquality = 33\n')
    settings = load_settings(file, environment={"HOME": str(tmp_path)})
    assert encoder(settings).quality == 33
    assert encoder(settings, "libx264").quality == 18


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
        encoder=EncoderSettings(),
        **more,  # type: ignore[arg-type]
    )


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
    job_for(settings, tmp_path, tmp_path / "old.mp4", overwrite=True)
    with pytest.raises(OutputInvalid):
        job_for(settings, tmp_path, tmp_path / "link.mp4", overwrite=True)


def test_a_job_knows_absolute_paths_only(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    job = build_job(
        settings,
        video=Path("film with space.mp4"),
        sources=[Path("sub/../face.jpg")],
        output=Path("out.mkv"),
        encoder=EncoderSettings(),
    )
    assert job.media == str(tmp_path / "film with space.mp4")
    assert job.swap.sources == (str(tmp_path / "face.jpg"),)
    assert Path(job.partial).parent == tmp_path
    assert job.partial.endswith(".partial.mkv")
    assert Path(job.folder).parent == settings.state_dir / "jobs"


def test_without_a_source_or_with_an_unknown_swapper_there_is_no_job(
    settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(SettingInvalid, match="swapper 'magic'"):
        job_for(settings, tmp_path, tmp_path / "o.mp4", swapper="magic")


@pytest.mark.parametrize("interval", [0, -1, 25])
def test_the_detector_looks_at_least_once_a_second(
    settings: Settings, tmp_path: Path, interval: int
) -> None:
    with pytest.raises(SettingInvalid, match="--detect-every"):
        job_for(settings, tmp_path, tmp_path / "o.mp4", detect_every=interval)


def test_how_often_the_detector_looks_is_the_users(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("detect_every = 3\n")
    settings = load_settings(file, environment={"HOME": str(tmp_path)})

    def interval(**given: int) -> int:
        job = build_job(
            settings,
            video=Path("film.mp4"),
            sources=[Path("face.jpg")],
            output=tmp_path / "o.mp4",
            encoder=EncoderSettings(),
            **given,
        )
        return job.analysis.interval

    assert interval() == 3
    assert interval(detect_every=24) == 24
    assert survey_job_spec(settings, video=Path("film.mp4")).analysis.interval == 3
    file.write_text("detect_every = 25\n")
    with pytest.raises(SettingInvalid, match="detect_every"):
        load_settings(file, environment={"HOME": str(tmp_path)})


def test_filters_are_named_or_none() -> None:
    assert stabilize_settings(None) == StabilizeSettings()
    assert not stabilize_settings(None, off=True).any
    assert stabilize_settings(None, off=True).warmup == 0
    chosen = stabilize_settings("snap, colour")
    assert (chosen.snap, chosen.colour, chosen.flow, chosen.guard) == (True, True, False, False)
    assert chosen.warmup >= StabilizeSettings().warmup > 0
    with pytest.raises(SettingInvalid, match="filter 'smooth'"):
        stabilize_settings("flow,smooth")
    with pytest.raises(SettingInvalid, match="with --no-stabilize"):
        stabilize_settings("flow", off=True)
