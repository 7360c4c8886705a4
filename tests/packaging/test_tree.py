"""What holds for the source tree as a whole."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("farm", "cluster", "actors", "scheduler", "kernels")
LONGEST = 600


def sources() -> list[Path]:
    """Source files of the project, wherever it was unpacked (no git needed)."""
    places = (ROOT / name for name in (*ROOMS, "tests", "benchmarks", "scripts"))
    return [path for place in places for path in sorted(place.rglob("*")) if path.is_file()]


def modules() -> list[str]:
    names = []
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


def test_no_source_file_is_too_long() -> None:
    suffixes = {".py", ".cu", ".cuh", ".cpp", ".h"}
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in sources()
        if path.suffix in suffixes
    }
    assert len(lengths) > 20
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}


def test_no_file_is_a_drawer_for_odds_and_ends() -> None:
    drawers = {"utils.py", "util.py", "helpers.py", "misc.py", "common.py"}
    assert [path for path in sources() if path.name in drawers] == []


def test_tests_are_not_packages() -> None:
    assert [path for path in sources() if path.match("tests/**/__init__.py")] == []


@pytest.mark.parametrize("module", modules())
def test_every_module_imports_without_a_gpu(module: str) -> None:
    importlib.import_module(module)


def test_import_contracts_hold() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def environment_readers(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv"}:
            found.add(node.attr)
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            found |= {name.name for name in node.names} & {"environ", "environb", "getenv"}
    return found


def test_only_two_files_read_the_environment() -> None:
    allowed = {ROOT / "farm" / "config.py", ROOT / "cluster" / "session.py"}
    readers = [
        str(path.relative_to(ROOT))
        for room in ROOMS
        for path in sorted((ROOT / room).rglob("*.py"))
        if path not in allowed and environment_readers(ast.parse(path.read_text("utf-8")))
    ]
    assert readers == []
