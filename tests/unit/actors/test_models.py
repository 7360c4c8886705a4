"""The registry's promises and the store's: right bytes or a clear error, whoever else fetches."""

import hashlib
import selectors
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from actors.fetcher import Fetcher, Report
from actors.models import ModelStore
from actors.registry import ModelSpec, Registry
from scheduler.errors import (
    ModelCorrupt,
    ModelUnavailable,
    ModelUnknown,
    SettingInvalid,
    StorageUnwritable,
)

DATA = b"weights" * 20_000


def spec_of(source: Path, data: bytes = DATA) -> ModelSpec:
    return ModelSpec(
        name="net",
        about="a network",
        source=f"file:{source}",
        sha256=hashlib.sha256(data).hexdigest(),
        bytes=len(data),
        licence="CC0-1.0",
        credit="nobody",
        kind="detector",
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "net.bin"
    path.write_bytes(DATA)
    return path


def store_of(tmp_path: Path, *specs: ModelSpec, fetcher: Fetcher | None = None) -> ModelStore:
    return ModelStore(tmp_path / "cache", Registry({each.name: each for each in specs}), fetcher)


class Counting(Fetcher):
    """Counts downloads and replaces the bytes of the first ones by ``bad``."""

    def __init__(self, *bad: bytes) -> None:
        super().__init__()
        self.calls = 0
        self.bad = list(bad)

    def fetch(self, origin: str, wanted: Mapping[str, Path], report: Report | None = None) -> None:
        self.calls += 1
        super().fetch(origin, wanted, report)
        if self.bad:
            for target in wanted.values():
                target.write_bytes(self.bad.pop(0))


def test_own_registry() -> None:
    registry = Registry.load()
    assert {"face_detection_full_range", "face_landmark", "astronaut"} <= set(registry)
    for spec in registry.values():
        assert spec.licence, spec.name
        assert not spec.standin, spec.name
        if spec.origin.startswith("pypi:"):
            assert len(spec.sha256) == 64, spec.name
            assert int(spec.sha256, 16) >= 0
            assert spec.bytes > 0
            assert "==" in spec.origin, "pinned"
            assert spec.member
            assert spec.kind == "sample" or spec.use == "commercial"
        else:
            assert spec.origin.startswith("facefusion:models-3."), spec.name
            assert spec.filename.endswith(".onnx")
            assert spec.inputs, spec.name
            assert spec.outputs, spec.name
            assert spec.range[0] < spec.range[1], spec.name


def test_a_registry_is_read_as_it_was_written(tmp_path: Path) -> None:
    registry = Registry.load()
    path = tmp_path / "models.toml"
    path.write_text(registry.text())
    assert dict(Registry.load(path)) == dict(registry)


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ModelUnknown) as raised:
        Registry.load()["face_landmarks"]
    assert "face_landmark" in raised.value.next_step


@pytest.mark.parametrize(
    "text",
    [
        "not toml",
        "name = 3",
        "[net]\nkind = 'detector'",
        "[net]\nabout=''\nsource=''\nsha256=''\nbytes=1\nlicence=''\ncredit=''\ncolor='rgb'",
        b"\xff\xfe",
        None,
    ],
    ids=["text", "no table", "missing keys", "unknown key", "not UTF-8", "no file"],
)
def test_bad_registry_names_the_file(tmp_path: Path, text: str | bytes | None) -> None:
    path = tmp_path / "models.toml"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SettingInvalid, match=r"models\.toml"):
        Registry.load(path)


def test_fetched_once(tmp_path: Path, source: Path) -> None:
    fetcher = Counting()
    store = store_of(tmp_path, spec_of(source), fetcher=fetcher)
    assert not store.present("net")
    path = store.path("net")
    assert path.read_bytes() == DATA
    assert path.suffix == ".bin"
    source.unlink()
    assert store.path("net") == path
    assert store.verify("net")
    assert fetcher.calls == 1
    assert {entry.suffix for entry in path.parent.iterdir()} <= {".bin", ".lock", ""}


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: b"x" + data[1:]], ids=["short", "changed"]
)
def test_a_damaged_file_is_fetched_again(
    tmp_path: Path, source: Path, damage: Callable[[bytes], bytes]
) -> None:
    store = store_of(tmp_path, spec_of(source))
    path = store.path("net")
    path.write_bytes(damage(DATA))
    assert not store.verify("net")
    assert store.path("net").read_bytes() == DATA


def test_a_damaged_download_is_tried_once_more(tmp_path: Path, source: Path) -> None:
    fetcher = Counting(b"rubbish")
    store = store_of(tmp_path, spec_of(source), fetcher=fetcher)
    assert store.path("net").read_bytes() == DATA
    assert fetcher.calls == 2


def test_a_source_that_changed_is_refused(tmp_path: Path, source: Path) -> None:
    source.write_bytes(b"another network")
    fetcher = Counting()
    store = store_of(tmp_path, spec_of(source), fetcher=fetcher)
    with pytest.raises(ModelCorrupt) as raised:
        store.path("net")
    assert hashlib.sha256(b"another network").hexdigest() in raised.value.found
    assert hashlib.sha256(DATA).hexdigest() in raised.value.wanted
    assert fetcher.calls == 2
    assert not store.present("net")


def test_a_registry_with_a_wrong_size_says_so(tmp_path: Path, source: Path) -> None:
    store = store_of(tmp_path, replace(spec_of(source), bytes=7))
    with pytest.raises(ModelCorrupt, match=f"{len(DATA)} bytes"):
        store.path("net")


def test_a_source_that_is_gone(tmp_path: Path, source: Path) -> None:
    source.unlink()
    with pytest.raises(ModelUnavailable, match="No such file"):
        store_of(tmp_path, spec_of(source)).path("net")


def test_a_cache_that_cannot_be_made(tmp_path: Path, source: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(StorageUnwritable, match="cache"):
        store_of(tmp_path, spec_of(source)).path("net")


FETCH = """
import sys
from pathlib import Path

from actors.fetcher import Fetcher
from actors.models import ModelStore
from actors.registry import ModelSpec, Registry


class Telling(Fetcher):
    def fetch(self, origin, wanted, report=None):
        print("fetches", flush=True)
        sys.stdin.readline()
        super().fetch(origin, wanted, report)


cache, registry = map(Path, sys.argv[1:])
print(ModelStore(cache, Registry.load(registry), Telling()).path("net"), flush=True)
"""


def test_processes_share_one_download(tmp_path: Path, source: Path) -> None:
    spec = spec_of(source)
    registry = tmp_path / "models.toml"
    entries = (
        f"{key} = {getattr(spec, key)!r}"
        for key in ("about", "source", "sha256", "bytes", "licence", "credit", "kind")
    )
    registry.write_text("\n".join(["[net]", *entries]))
    command = [sys.executable, "-c", FETCH, str(tmp_path / "cache"), str(registry)]
    first, second = (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    )
    with first, second:
        # Whoever says that it fetches holds the lock until it is answered; the other waits.
        said = selectors.DefaultSelector()
        for process in (first, second):
            assert process.stdout is not None
            said.register(process.stdout, selectors.EVENT_READ, process)
        [(key, _)] = said.select(60)[:1]
        assert key.data.stdout.readline() == "fetches\n"
        said.unregister(key.fileobj)
        assert said.select(2.0) == [], "both fetch"
        outputs = [
            process.communicate("go\n", timeout=60)[0]
            for process in (
                key.data,
                *(process for process in (first, second) if process is not key.data),
            )
        ]
        said.close()
    path = ModelStore(tmp_path / "cache", Registry({"net": spec})).path("net")
    assert outputs == [f"{path}\n"] * 2
    assert path.read_bytes() == DATA


def test_a_killed_download_is_taken_up_by_the_next(tmp_path: Path, source: Path) -> None:
    store = store_of(tmp_path, spec_of(source))
    part = store.path("net").with_name(store.path("net").name + ".part")
    store.path("net").replace(part)
    part.write_bytes(DATA[:1000])
    assert store.path("net").read_bytes() == DATA
    assert not part.exists()
