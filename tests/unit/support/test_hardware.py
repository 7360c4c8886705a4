"""A `cuda` test never passes over what is missing in silence."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.support.hardware import (
    FAILING,
    gpu_name,
    has_nvenc,
    lacking,
    must_have_nvofa,
    package,
)

TESTS = Path(__file__).resolve().parents[2]
LISTED = """\
GPU 0: NVIDIA L4 (UUID: GPU-11111111-0000-0000-0000-000000000000)
GPU 1: NVIDIA H200 (UUID: GPU-22222222-0000-0000-0000-000000000000)
  MIG 1g.18gb     Device  0: (UUID: MIG-33333333-0000-0000-0000-000000000000)
"""
ALLOWED = {"test_gpu_route.py::without_driver", "test_completion.py::test_a_real_bash_completes"}
"""A test of what is said where there is no driver; one for machines with another shell."""


@pytest.mark.parametrize(
    ("asked", "ending"), [("1", pytest.fail.Exception), ("", pytest.skip.Exception)]
)
def test_what_is_missing_fails_where_a_gpu_was_asked_for(
    asked: str, ending: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FAILING, asked)
    with pytest.raises(ending, match=r"no such thing\. Next: make one"):
        lacking("no such thing", "make one")
    with pytest.raises(ending, match=r"no_such_package cannot be imported.*Next: pip install it"):
        package("no_such_package", "pip install it")
    assert package("json", "").loads("1") == 1


def test_the_gpu_is_named_by_its_uuid() -> None:
    assert gpu_name(LISTED, "11111111-0000-0000-0000-000000000000") == "NVIDIA L4"
    assert gpu_name(LISTED, "GPU-22222222-0000-0000-0000-000000000000") == "NVIDIA H200"
    assert gpu_name(LISTED, "MIG-33333333-0000-0000-0000-000000000000") == "NVIDIA H200"
    with pytest.raises(LookupError, match="no GPU 7"):
        gpu_name(LISTED, "7")


def test_what_gpus_lack_by_nature() -> None:
    without = ["NVIDIA H200", "NVIDIA A100-SXM4-80GB", "NVIDIA H100 PCIe", "NVIDIA A30"]
    assert not any(map(has_nvenc, without))
    assert all(map(has_nvenc, ["NVIDIA L4", "NVIDIA A10", "NVIDIA GeForce RTX 4090", "Tesla T4"]))
    assert must_have_nvofa("Tesla T4", (7, 5))
    assert must_have_nvofa("NVIDIA A100-SXM4-80GB", (8, 0))
    assert not must_have_nvofa("NVIDIA GeForce GTX 1650", (7, 5))
    assert not must_have_nvofa("NVIDIA H200", (9, 0))


def skips(path: Path) -> set[str]:
    """Parts of a test file that skip by themselves."""
    return {
        f"{path.name}::{getattr(part, 'name', 'module')}"
        for part in ast.parse(path.read_text("utf-8")).body
        for node in ast.walk(part)
        if isinstance(node, ast.Attribute) and node.attr in {"skip", "skipif", "importorskip"}
    }


def test_no_test_skips_by_itself() -> None:
    """What is missing goes through ``tests.support.hardware``."""
    places = [path for path in TESTS.rglob("*.py") if path.parent.name != "support"]
    found = set().union(*map(skips, places))
    assert found <= ALLOWED, found - ALLOWED
    assert found == ALLOWED, "no longer there"
