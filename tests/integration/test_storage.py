"""An object store as a place for films and results, against a real server process."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.prober import probe
from cluster.storage import Storage
from scheduler.errors import (
    SettingInvalid,
    StorageDenied,
    StorageMissing,
    StorageUnreachable,
    StorageUnwritable,
)
from scheduler.places import Store
from tests.support.s3 import CREDENTIALS, free_port, s3_server

BIG = 13_000_000
"""More than one part of a multipart upload."""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_server("films") as found:
        yield found


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def store(endpoint: str) -> Store:
    return Store(endpoint=endpoint, region="us-east-1", seconds=10)


def test_what_is_put_is_fetched_once_and_whole(store: Store, tmp_path: Path) -> None:
    storage, uri = Storage(store), "s3://films/a/film.mp4"
    original = tmp_path / "film.mp4"
    original.write_bytes(os.urandom(BIG))
    assert not storage.exists(uri)
    storage.put(original, uri)
    assert storage.exists(uri)
    found = storage.fetch(uri, tmp_path / "inputs")
    assert found.name == "film.mp4"
    assert found.read_bytes() == original.read_bytes()
    first = found.stat()
    assert storage.fetch(uri, tmp_path / "inputs").stat().st_ino == first.st_ino
    original.write_bytes(b"another film")
    storage.put(original, uri)
    assert storage.fetch(uri, tmp_path / "inputs").read_bytes() == b"another film"
    storage.remove(uri)
    storage.remove(uri)
    assert not storage.exists(uri)
    with pytest.raises(StorageMissing):
        storage.fetch(uri, tmp_path / "inputs")


def test_a_fetch_that_broke_off_goes_on(store: Store, tmp_path: Path) -> None:
    storage, uri = Storage(store), "s3://films/b.bin"
    original = tmp_path / "b.bin"
    original.write_bytes(b"x" * 1000 + b"y" * 1000)
    storage.put(original, uri)
    whole = storage.fetch(uri, tmp_path / "inputs")
    # Half of it, marked, as a killed process would have left it: the mark must survive.
    whole.with_name(".partial").write_bytes(b"z" * 1000)
    whole.unlink()
    assert storage.fetch(uri, tmp_path / "inputs").read_bytes() == b"z" * 1000 + b"y" * 1000


def test_an_upload_that_is_killed_leaves_nothing(store: Store, tmp_path: Path) -> None:
    """SIGKILL to who ordered it: the process that does the work ends, and completes nothing."""
    storage, uri = Storage(store), "s3://films/c.bin"
    original = tmp_path / "c.bin"
    with original.open("wb") as file:
        file.truncate(400_000_000)
    code = (
        "from pathlib import Path; from cluster.storage import Storage; "
        "from scheduler.places import Store; "
        f"Storage(Store(endpoint={store.endpoint!r}, region='us-east-1'))"
        f".put(Path({str(original)!r}), {uri!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    while "<Key>c.bin</Key>" not in begun(store.endpoint):
        assert process.poll() is None, "too fast for this test"
        time.sleep(0.05)
    process.kill()
    process.wait()
    time.sleep(2)
    assert not storage.exists(uri)
    assert "<Key>c.bin</Key>" in begun(store.endpoint), "it was completed, or it never began"


def begun(endpoint: str) -> str:
    """The multipart uploads that are not completed, in the server's words."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{endpoint}/films?uploads", timeout=10) as answer:
        said: bytes = answer.read()
    return said.decode()


def test_a_file_that_cannot_be_read_is_not_put(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StorageUnwritable):
        Storage(store).put(tmp_path / "nowhere.mp4", "s3://films/d.mp4")
    assert not Storage(store).exists("s3://films/d.mp4")


def test_each_trouble_has_its_own_error(store: Store, tmp_path: Path) -> None:
    storage, file = Storage(store), tmp_path / "f.mp4"
    file.write_bytes(b"f")
    with pytest.raises(StorageMissing, match="nowhere"):
        storage.exists("s3://nowhere/f.mp4")
    with pytest.raises(StorageMissing, match="nowhere"):
        storage.put(file, "s3://nowhere/f.mp4")
    with pytest.raises(SettingInvalid, match="BUCKET"):
        storage.exists("s3://films")
    dead = Storage(Store(endpoint=f"http://127.0.0.1:{free_port()}", region="us-east-1", seconds=2))
    with pytest.raises(StorageUnreachable):
        dead.fetch("s3://films/f.mp4", tmp_path / "inputs")
    with pytest.raises(StorageUnreachable):
        dead.put(file, "s3://films/f.mp4")


def test_credentials_that_the_store_does_not_know(tmp_path: Path) -> None:
    # The first action, which makes the bucket, needs none.
    guarded = {**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": "1"}
    file = tmp_path / "f.mp4"
    file.write_bytes(b"f")
    with s3_server("films", **guarded) as endpoint:
        storage = Storage(Store(endpoint=endpoint, region="us-east-1", seconds=10))
        with pytest.raises(StorageDenied):
            storage.put(file, "s3://films/f.mp4")
        with pytest.raises(StorageDenied):
            storage.exists("s3://films/f.mp4")


def test_google_names_go_to_google(tmp_path: Path) -> None:
    system, path = Storage(Store(endpoint="http://127.0.0.1:1")).open("gs://films/a/f.mp4")
    assert system.type_name == "gcs"
    assert path == "films/a/f.mp4"


def farm(*arguments: str, home: Path, endpoint: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        **CREDENTIALS,
        "SWAPFARM_STORAGE_ENDPOINT": endpoint,
        "SWAPFARM_STORAGE_REGION": "us-east-1",
        "SWAPFARM_STATE_DIR": str(home / "state"),
    }
    command = [sys.executable, "-m", "farm.cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_job_from_store_to_store(
    endpoint: str, store: Store, samples: dict[str, Path], models: object, tmp_path: Path
) -> None:
    storage = Storage(store)
    storage.put(samples["single_face"], "s3://films/in/film.mp4")
    storage.put(samples["astronaut"], "s3://films/in/face.png")
    order = (
        *("submit", "s3://films/in/film.mp4", "-s", "s3://films/in/face.png"),
        *("-o", "s3://films/out/film.mp4", "--no-ray", "--trim-frame-end", "6", "--no-occlusion"),
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hook = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        done = farm(*order, "--webhook", hook, home=tmp_path, endpoint=endpoint)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("s3://films/out/film.mp4\n")
    result = storage.fetch("s3://films/out/film.mp4", tmp_path / "results")
    assert probe(result).frames == 6
    assert list((tmp_path / "state" / "outputs").iterdir()) == []
    waiting = sorted((tmp_path / "state" / "webhooks").glob("*.json"))
    told = [json.loads(json.loads(path.read_text())["body"]) for path in waiting]
    assert [each["state"] for each in told] == ["running", "completed"]
    assert told[1]["output"] == "s3://films/out/film.mp4"
    again = farm(*order, home=tmp_path, endpoint=endpoint)
    assert again.returncode == 3
    assert "output.invalid" in again.stderr
