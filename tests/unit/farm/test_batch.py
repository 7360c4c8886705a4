from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from farm.cli import main
from farm.commands.batch import plan_batch
from scheduler.errors import OutputInvalid, SettingInvalid


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in [name for name in os.environ if name.startswith(("SWAPFARM_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for name in ("faces/ann.jpg", "faces/bob.png", "films/one.MP4", "films/sub/two.mkv", "out/x"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    return tmp_path


def test_every_face_goes_on_every_film_under_names_of_their_own(folder: Path) -> None:
    entries = plan_batch(
        ["faces/*"], ["films/**/*.*"], "out/{index}-{source_name}-{target_name}{target_extension}"
    )
    assert [entry.output.name for entry in entries] == [
        "0-ann-one.mp4",
        "1-ann-two.mkv",
        "2-bob-one.mp4",
        "3-bob-two.mkv",
    ]
    assert all(entry.output.is_absolute() for entry in entries)
    assert [entry.source.name for entry in entries] == ["ann.jpg", "ann.jpg", "bob.png", "bob.png"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(folder: Path) -> None:
    odd = Path("films/[a].mp4")
    odd.touch()
    Path("films/a.mp4").touch()
    (entry,) = plan_batch(["faces/ann.jpg"], [str(odd)], "out/{target_name}.mp4")
    assert entry.target == odd


@pytest.mark.parametrize("output", ["out/{name}.mp4", "out/{}.mp4", "out/{index.mp4", "{index.x}"])
def test_an_unknown_name_in_the_pattern_is_one_clear_error(output: str, folder: Path) -> None:
    with pytest.raises(SettingInvalid, match="target_extension"):
        plan_batch(["faces/ann.jpg"], ["films/one.MP4"], output)


def test_two_jobs_never_write_the_same_file(folder: Path) -> None:
    with pytest.raises(OutputInvalid, match="two jobs would write"):
        plan_batch(["faces/*"], ["films/one.MP4"], "out/{target_name}.mp4")
    with pytest.raises(SettingInvalid, match="finds no file"):
        plan_batch(["faces/*.gif"], ["films/one.MP4"], "out/{index}.mp4")


def test_a_job_that_fails_does_not_stop_the_others_unless_asked(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["batch", "-s", "faces/*", "-t", "films/one.MP4", "-o", "out/{index}.txt"]
    assert main([*line, "--json"]) == 9
    events = [json.loads(each) for each in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events] == ["failed", "failed", "batch", "error"]
    assert [event["code"] for event in events[:2]] == ["output.invalid", "output.invalid"]
    assert (events[2]["total"], events[2]["done"], events[2]["failed"]) == (2, 0, 2)
    assert all("time" in event for event in events)
    assert main([*line, "--halt-on-error"]) == 9
    err = capsys.readouterr().err
    assert "0 of 2 jobs done" in err
    assert "not started: 1" in err


def test_an_option_that_is_wrong_for_all_stops_before_the_first(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["batch", "-s", "faces/*", "-t", "films/one.MP4", "-o", "out/{index}.mp4"]
    assert main([*line, "--face-mask-blur", "7"]) == 2
    assert "--face-mask-blur 7" in capsys.readouterr().err
