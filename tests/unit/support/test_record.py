"""A long proof that is stopped goes on, and what has failed is not forgotten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.record import FOLDER, part


def test_without_a_folder_every_part_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER, raising=False)
    for _ in range(2):
        with part("a"):
            pass


def test_what_is_done_is_not_done_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path / "record"))
    with part("a") as facts:
        facts["deaths"] = 3
        with pytest.raises(pytest.skip.Exception, match="another run"), part("a"):
            raise AssertionError("it has begun twice")
    told = json.loads((tmp_path / "record" / "a.json").read_text())
    assert (told["deaths"], told["wrong"]) == (3, "")
    with pytest.raises(pytest.skip.Exception, match="has passed before"), part("a"):
        raise AssertionError("it has begun again")


def test_what_has_failed_fails_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    with pytest.raises(AssertionError, match="lost"), part("a"):
        raise AssertionError("lost: 7")
    with pytest.raises(pytest.fail.Exception, match="lost: 7"), part("a"):
        pass


def test_what_was_interrupted_is_begun_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    with pytest.raises(KeyboardInterrupt), part("a"):
        raise KeyboardInterrupt
    begun = False
    with part("a"):
        begun = True
    assert begun
