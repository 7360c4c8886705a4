"""ONNX Runtime must not report home, whoever loads it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
QUIET = "import actors.inference.onnx; print('loaded')"


def left_behind(program: str, folder: Path) -> list[str]:
    """Names of what a program leaves in its temporary folder."""
    kept = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    surroundings = kept | {"TMPDIR": str(folder), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=surroundings,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "loaded" in done.stdout
    return sorted(path.name for path in folder.iterdir())


def test_nothing_is_left_in_the_temporary_folder(tmp_path: Path) -> None:
    assert left_behind(QUIET, tmp_path) == []


@pytest.mark.parametrize("room", ["farm", "cluster", "actors", "benchmarks", "tests"])
def test_only_one_file_loads_it(room: str) -> None:
    loads = re.compile(r"^\s*(import onnxruntime\b|from onnxruntime import)", re.MULTILINE)
    found = [p.name for p in sorted((ROOT / room).rglob("*.py")) if loads.search(p.read_text())]
    assert found == (["ort.py"] if room == "actors" else [])
