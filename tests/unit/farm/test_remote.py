"""What a person types for films in an object store, and what becomes of it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from farm.cli import main
from farm.config import Settings, load_settings
from farm.remote import Remote
from farm.tidying import tidy
from scheduler.places import uri_of


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("typed", "uri"),
    [
        ("s3://films/a b/f.mp4", "s3://films/a b/f.mp4"),
        (str(Path("s3://films/a/f.mp4")), "s3://films/a/f.mp4"),
        ("gs://films/f.mp4", "gs://films/f.mp4"),
        ("/films/f.mp4", None),
        ("s3/films/f.mp4", None),
        ("./s3:/films/f.mp4", None),
    ],
)
def test_names_in_a_store_are_told_from_paths(typed: str, uri: str | None) -> None:
    assert uri_of(typed) == uri


def test_paths_stay_as_they_are_and_ask_nobody(home: Path) -> None:
    remote = Remote(load_settings())
    assert remote.here(Path("film.mp4")) == Path("film.mp4")
    assert remote.role_here("A=face.jpg") == "A=face.jpg"
    assert remote.result(None) == (None, None)
    assert remote.result(Path("out.mp4")) == (Path("out.mp4"), None)


@pytest.mark.parametrize(
    ("order", "found"),
    [
        (["s3://films/f.mp4", "-s", "f.jpg"], "no -o"),
        (["f.mp4", "-s", "f.jpg", "-o", "s3://a/b.mp4", "--contact-sheet", "c.png"], "--contact"),
        (["f.mp4", "-s", "f.jpg", "-o", "s3://a"], "s3://a"),
    ],
)
def test_what_cannot_be_is_refused_before_anybody_is_asked(
    order: list[str], found: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["submit", *order]) == 2
    assert found in capsys.readouterr().err


def test_the_settings_of_the_store_and_a_secret_that_is_not_shown(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWAPFARM_STORAGE_ENDPOINT", "http://store:9000")
    monkeypatch.setenv("SWAPFARM_STORAGE_REGION", "eu-west-1")
    monkeypatch.setenv("SWAPFARM_STORAGE_TIMEOUT", "7")
    monkeypatch.setenv("SWAPFARM_WEBHOOKS_SECRET", "tell-nobody")
    settings = load_settings()
    storage = settings.storage
    assert (storage.endpoint, storage.region, storage.timeout) == (
        *("http://store:9000", "eu-west-1"),
        7.0,
    )
    assert settings.webhooks.secret.get_secret_value() == "tell-nobody"
    for how in ([], ["--json"], ["--changed"]):
        assert main(["config", "show", *how]) == 0
        assert "tell-nobody" not in capsys.readouterr().out


def old(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    os.utime(path, (time.time() - 40 * 86400,) * 2)
    os.utime(path.parent, (time.time() - 40 * 86400,) * 2)
    return path


def at(settings: Settings) -> list[Path]:
    name = "20260101-120000-00aa11"
    return [
        settings.state_dir / "jobs" / name / "tracks.parquet",
        settings.cache_dir / "analysis" / "abc" / "faces.parquet",
        settings.cache_dir / "inputs" / "abc" / "film.mp4",
        settings.state_dir / "reports" / name / "facts.json",
        settings.state_dir / "outputs" / "1-film.mp4",
    ]


def test_what_is_too_old_goes_at_a_start(home: Path) -> None:
    settings = load_settings()
    places = [old(path) for path in at(settings)]
    kept = old(settings.cache_dir / "models" / "net.tflite")
    forever = load_settings(flags={"keep_days": 0})
    assert tidy(forever) == ()
    assert len(tidy(settings)) == len(places)
    assert [path for path in places if path.exists()] == []
    assert kept.exists()


def test_a_folder_of_a_job_that_a_farm_knows_stays(home: Path) -> None:
    settings = load_settings()
    path = old(at(settings)[0])
    entry = settings.state_dir / "farm" / "jobs" / path.parent.name / "entry.json"
    entry.parent.mkdir(parents=True)
    entry.write_text(json.dumps({}))
    assert tidy(settings) == ()
    assert path.exists()
