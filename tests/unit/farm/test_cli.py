import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import farm.cli
from farm.cli import main
from scheduler.errors import Cancelled, MediaMissing


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home of its own; nothing of the user's settings, and reports where tests clean up."""
    for name in [name for name in os.environ if name.startswith(("SWAPFARM_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def raising(error: Exception) -> object:
    def load(config: Path | None = None) -> None:
        raise error

    return load


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"farm {version('swapfarm')}\n"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_teaches_by_example(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    out = capsys.readouterr().out
    for words in ("farm submit film.mp4", "farm doctor", "farm models list", "agreed"):
        assert words in out


@pytest.mark.parametrize("command", ["submit", "doctor", "models"])
def test_each_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert f"farm {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sumbit"], "submit"),
        (["--verison"], "--version"),
        (["submit", "film.mp4", "--sorce", "a.png"], "--source"),
        (["submit", "film.mp4"], "--source"),
        (["submit", "film.mp4", "-s", "a.png", "--lanes", "many"], "--lanes"),
        (["submit", "-s", "a.png"], "TARGET"),
        (["submit", "a.mp4", "-t", "b.mp4", "-s", "a.png"], "two targets"),
        (["submit", "a.mp4", "-s", "a.png", "--face-order", "left-right"], "--face-order"),
        (["submit", "a.mp4", "-s", "a.png", "--reference-distance", "1"], "--reference-distance"),
        (["submit", "a.mp4", "-s", "a.png", "--face-mask-types", "box", "hat"], "hat"),
        (["doctor", "extra"], "extra"),
    ],
)
def test_a_mistyped_command_line_is_one_clear_error(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert lines[0].startswith("error[setting.invalid]: ")
    assert words in lines[0]
    assert [line.split(":")[0] for line in lines[1:]] == ["  wanted", "  next"]


def test_a_settings_file_that_is_not_there_is_one_clear_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--config", "absent.toml", "doctor"]) == 2
    assert capsys.readouterr().err.startswith("error[setting.invalid]: no settings file at absent")


@pytest.mark.parametrize(
    "error",
    [MediaMissing("no file\x1b[2J\n'a'", "a film", "check the path"), Cancelled("a", "b", "c")],
)
def test_an_error_of_the_tree_gives_its_code(
    error: MediaMissing | Cancelled,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(farm.cli, "load_settings", raising(error))
    assert main(["doctor", "--json"]) == error.exit_code
    captured = capsys.readouterr()
    assert len(captured.err.splitlines()) == 3
    assert "\x1b" not in captured.err
    (line,) = captured.out.splitlines()
    event = json.loads(line)
    assert event.pop("time").endswith("Z")
    assert event == {
        "event": "error",
        "code": error.code,
        "found": error.found,
        "wanted": error.wanted,
        "next": error.next_step,
        "exit_code": error.exit_code,
    }


def test_a_bug_is_short_on_the_terminal_and_whole_in_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    monkeypatch.setattr(farm.cli, "load_settings", raising(ZeroDivisionError("by zero")))
    assert main(["doctor"]) == 70
    err = capsys.readouterr().err
    assert err.startswith("error[internal]: ZeroDivisionError: by zero\n")
    assert "Traceback" not in err
    (report,) = home.glob("farm-crash-*.txt")
    assert str(report) in err
    text = report.read_text()
    assert "Traceback" in text
    assert "ZeroDivisionError: by zero" in text
    assert version("swapfarm") in text


def test_a_bug_without_a_place_for_its_report_shows_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(home / "absent"))
    monkeypatch.setattr(farm.cli, "load_settings", raising(ZeroDivisionError("by zero")))
    assert main(["doctor"]) == 70
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_is_exit_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(config: Path | None = None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(farm.cli, "load_settings", interrupt)
    assert main(["doctor"]) == 130


def test_doctor_says_what_it_saw_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    checks = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {check["event"] for check in checks} == {"check"}
    assert {"python", "ray", "encoder libx264", "gpu"} <= {check["check"] for check in checks}


def test_doctor_fails_with_exit_code_1(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "file").write_text("")
    config = home / "config.toml"
    config.write_text(f"cache_dir = '{home}/file/cache'\n")
    assert main(["--config", str(config), "doctor"]) == 1
    out = capsys.readouterr().out
    assert re.search(r"^fail +cache dir ", out, re.MULTILINE)
    assert "next: set cache_dir" in out


COMMAND = (sys.executable, "-c", "import sys; from farm.cli import main; sys.exit(main())")


@pytest.mark.parametrize("arguments", [["doctor"], ["doctor", "--json"], ["--help"]])
def test_a_reader_that_goes_away_is_no_error(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*COMMAND, *arguments], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_the_shell_can_complete_commands() -> None:
    words = {"_FARM_COMPLETE": "complete_bash", "COMP_WORDS": "farm su", "COMP_CWORD": "1"}
    done = subprocess.run(
        COMMAND, env=dict(os.environ) | words, capture_output=True, text=True, check=False
    )
    assert (done.stdout.split(), done.stderr) == (["submit"], "")


def test_help_loads_no_runtime() -> None:
    heavy = ("ray", "cv2", "onnxruntime", "ai_edge_litert", "openvino", "pyarrow")
    code = f"import sys, farm.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
