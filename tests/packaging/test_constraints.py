"""constraints.txt serves every Python that pyproject.toml promises."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
DECLARED = [
    *PROJECT["build-system"]["requires"],
    *PROJECT["project"]["dependencies"],
    *PROJECT["project"]["optional-dependencies"]["dev"],
]
PYTHONS = [
    classifier.rsplit(" ", 1)[1]
    for classifier in PROJECT["project"]["classifiers"]
    if re.fullmatch(r"Programming Language :: Python :: 3\.\d+", classifier)
]


def pins(python: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        pin = Requirement(line)
        (exact,) = pin.specifier
        assert exact.operator == "=="
        assert "+" not in exact.version, "a local version is on no public index"
        if pin.marker is None or pin.marker.evaluate({"python_version": python}):
            found.setdefault(canonicalize_name(pin.name), []).append(exact.version)
    return found


def test_three_pythons_are_promised() -> None:
    assert PYTHONS == ["3.11", "3.12", "3.13"]


@pytest.mark.parametrize("python", PYTHONS)
def test_each_package_has_one_pin(python: str) -> None:
    assert {name: each for name, each in pins(python).items() if len(each) != 1} == {}


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("text", DECLARED)
def test_each_declared_package_is_pinned_within_its_range(text: str, python: str) -> None:
    wanted = Requirement(text)
    if wanted.marker and not wanted.marker.evaluate({"python_version": python}):
        return
    (version,) = pins(python)[canonicalize_name(wanted.name)]
    assert wanted.specifier.contains(version)
