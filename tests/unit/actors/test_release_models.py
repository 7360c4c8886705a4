"""Models whose hash is published beside them: mirrors in turn, checked, then pinned."""

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from actors.fetcher import Fetcher
from actors.models import LOCAL, ModelStore
from actors.registry import ModelSpec, Registry
from scheduler.errors import ModelCorrupt, ModelUnavailable
from tests.unit.actors.broken_server import DATA, Server, serving

SPEC = ModelSpec(
    name="net",
    about="a network",
    source="facefusion:models-1/net.onnx",
    licence="MIT",
    use="commercial",
    credit="nobody",
    kind="swapper",
)
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


def store_of(cache: Path, server: Server, *mirrors: str, spec: ModelSpec = SPEC) -> ModelStore:
    places = {name: server.url(name + "/{release}/{file}") for name in mirrors}
    fetcher = Fetcher(stall_seconds=1.0, pause_seconds=0.01, mirrors=places)
    return ModelStore(cache, Registry({spec.name: spec}), fetcher)


def test_checked_by_its_crc32_then_pinned_by_its_sha256(server: Server, tmp_path: Path) -> None:
    store = store_of(tmp_path, server, "good")
    path = store.path("net")
    assert path.read_bytes() == DATA
    assert store.registry["net"] == replace(SPEC, sha256=SHA256, bytes=len(DATA))
    assert SHA256[:8] in path.name
    later = store_of(tmp_path, server, "nothing")
    assert later.path("net") == path
    assert later.verify("net")
    path.write_bytes(b"x" + DATA[1:])
    assert not later.verify("net")
    with pytest.raises(ModelUnavailable):
        later.path("net")
    assert store_of(tmp_path, server, "bad", "good").path("net").read_bytes() == DATA


@pytest.mark.parametrize("broken", ["bad", "lame", "half", "page", "nothing"])
def test_the_next_mirror_is_asked(server: Server, tmp_path: Path, broken: str) -> None:
    assert store_of(tmp_path, server, broken, "good").path("net").read_bytes() == DATA
    assert {entry.suffix for entry in (tmp_path / "models").iterdir()} == {
        ".onnx",
        ".toml",
        ".lock",
    }


def test_what_one_mirror_began_another_ends(server: Server, tmp_path: Path) -> None:
    store_of(tmp_path, server, "half", "good").path("net")
    asked = [span for path, span in server.asked if path.startswith("/good") and "onnx" in path]
    assert asked == [f"bytes={len(DATA) // 2}-"]


def test_no_mirror_gives_it(server: Server, tmp_path: Path) -> None:
    store = store_of(tmp_path, server, "nothing", "bad")
    with pytest.raises(ModelCorrupt) as raised:
        store.path("net")
    assert "nothing/models-1/net.onnx does not deliver: HTTP 404" in raised.value.found
    assert f"the CRC-32 {zlib.crc32(b'x' + DATA[1:]):08x}" in raised.value.found
    assert f"{zlib.crc32(DATA):08x}" in raised.value.wanted
    assert "farm models add" in raised.value.next_step
    assert not store.present("net")


def test_a_known_hash_needs_no_published_one(server: Server, tmp_path: Path) -> None:
    spec = replace(SPEC, sha256=SHA256, bytes=len(DATA))
    assert store_of(tmp_path, server, "page", spec=spec).path("net").read_bytes() == DATA
    assert not any(path.endswith(".hash") for path, _ in server.asked)


def test_mirrors_of_any_source(server: Server, tmp_path: Path) -> None:
    spec = replace(
        SPEC,
        source=server.url("nothing"),
        mirrors=(server.url("cut-always"), server.url("moved")),
        sha256=SHA256,
        bytes=len(DATA),
    )
    assert store_of(tmp_path, server, spec=spec).path("net").read_bytes() == DATA


def test_a_pin_ends_with_its_release(server: Server, tmp_path: Path) -> None:
    store_of(tmp_path, server, "good").path("net")
    newer = replace(SPEC, source="facefusion:models-2/net.onnx")
    assert store_of(tmp_path, server, spec=newer).registry["net"] == newer
    told = replace(SPEC, about="the same file, better told")
    assert store_of(tmp_path, server, spec=told).registry["net"].about == told.about


def test_two_stores_share_what_comes(server: Server, tmp_path: Path) -> None:
    first, second = (store_of(tmp_path, server, "good") for _ in range(2))
    assert first.path("net") == second.path("net")
    assert sum(path.endswith(".onnx") for path, _ in server.asked) == 1


def test_add_a_file_with_its_hash(server: Server, tmp_path: Path) -> None:
    store = store_of(tmp_path / "cache", server)
    file = tmp_path / "net.onnx"
    file.write_bytes(DATA)
    file.with_suffix(".hash").write_text(f"{zlib.crc32(DATA):08x}\n")
    assert store.add("net", file) == "crc32"
    assert store.path("net").read_bytes() == DATA
    assert file.exists(), "it is copied"


def test_add_a_file_that_is_another(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    file.write_bytes(DATA)
    file.with_suffix(".hash").write_text("00000000")
    store = store_of(tmp_path / "cache", server)
    with pytest.raises(ModelCorrupt, match="CRC-32"):
        store.add("net", file)
    assert not store.present("net")
    pinned = replace(SPEC, sha256="0" * 64, bytes=len(DATA))
    with pytest.raises(ModelCorrupt, match="SHA-256"):
        store_of(tmp_path / "cache", server, spec=pinned).add("net", file)


def test_add_a_file_that_nothing_vouches_for(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    store = store_of(tmp_path / "cache", server)
    with pytest.raises(ModelUnavailable, match="No such file"):
        store.add("net", file)
    file.write_bytes(DATA)
    assert store.add("net", file) == ""
    assert store.verify("net")
    file.write_bytes(b"another")
    with pytest.raises(ModelCorrupt):
        store.add("net", file)


def test_a_file_made_here(server: Server, tmp_path: Path) -> None:
    store = store_of(tmp_path / "cache", server)
    made = tmp_path / "made.onnx"
    made.write_bytes(DATA)
    store.keep(replace(SPEC, name="net.int8", source="quantized:0123#net.onnx"), made)
    later = store_of(tmp_path / "cache", server)
    assert later.path("net.int8").read_bytes() == DATA
    later.path("net.int8").unlink()
    with pytest.raises(ModelUnavailable, match="farm models quantize net "):
        later.path("net.int8")
    assert "net.int8" in (tmp_path / "cache" / "models" / LOCAL).read_text()
