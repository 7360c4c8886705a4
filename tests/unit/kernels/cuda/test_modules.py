"""Which machine code a GPU gets: shipped, kept, or made."""

import pytest

from kernels.cuda import modules, nvrtc
from kernels.cuda.nvrtc import NvrtcError


@pytest.fixture
def made(monkeypatch):
    """Counts what is compiled."""
    calls, honest = [], nvrtc.compile_source

    def counted(name, source, headers, architecture):
        calls.append(architecture)
        return honest(name, source, headers, architecture)

    monkeypatch.setattr(nvrtc, "compile_source", counted)
    return calls


def test_shipped_code_is_taken_for_later_gpus_of_the_same_kind(tmp_path, made):
    shipped = tmp_path / "shipped"
    for capability in modules.ARCHITECTURES:
        modules.store(modules.cubin_path(shipped, capability), b"code %d" % capability)
    for capability, taken in (
        (75, 75),
        (80, 80),
        (87, 86),
        (89, 89),
        (90, 90),
        (103, 100),
        (121, 120),
    ):
        code = modules.machine_code(capability, tmp_path / "cache", shipped)
        assert code == b"code %d" % taken
    assert not made
    assert not (tmp_path / "cache").exists()
    own = modules.machine_code(75, tmp_path / "cache", None)
    assert own.startswith(b"\x7fELF")
    assert made == ["sm_75"]


def test_unknown_gpu_compiles_once_and_keeps_it(tmp_path, made):
    cache = tmp_path / "deep" / "cache"
    first = modules.machine_code(110, cache, tmp_path)
    assert first.startswith(b"\x7fELF")
    assert modules.machine_code(110, cache, tmp_path) == first
    assert made == ["sm_110"]
    (kept,) = cache.iterdir()
    kept.write_bytes(b"half")
    assert modules.machine_code(110, cache, tmp_path) == first
    assert made == ["sm_110", "sm_110"]
    assert kept.read_bytes() == first


def test_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no")

    monkeypatch.setattr(modules.os, "replace", refuse)
    with pytest.raises(OSError, match="no"):
        modules.store(tmp_path / "a.cubin", b"code")
    assert list(tmp_path.iterdir()) == []


def test_compiler_says_what_it_refuses():
    with pytest.raises(NvrtcError, match=r"bad\.cu does not compile(.|\n)*undefined"):
        nvrtc.compile_source("bad.cu", "__global__ void f() { nothing(); }", {}, "sm_90")
    with pytest.raises(NvrtcError, match="sm_12345"):
        nvrtc.compile_source("bad.cu", "", {}, "sm_12345")


def test_missing_library_is_named(monkeypatch):
    monkeypatch.setattr(nvrtc, "LIBRARIES", ("libnvrtc.so.0",))
    nvrtc._library.cache_clear()
    with pytest.raises(NvrtcError, match="Next: install the package"):
        nvrtc.version()
    nvrtc._library.cache_clear()
