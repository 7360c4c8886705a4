"""Compiled loops check no index: here the kernels' own tests run with loops that do."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = (
    "tests/unit/kernels",
    "tests/unit/actors/test_stabilizer.py",
    "tests/unit/actors/test_compositor.py",
)


def test_no_loop_leaves_its_arrays(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS],
        cwd=ROOT,
        env={
            **os.environ,
            "NUMBA_BOUNDSCHECK": "1",
            # What is compiled with checks must not be found where the program looks.
            "NUMBA_CACHE_DIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert list(tmp_path.rglob("*.nbc")), "the loops were not compiled anew"
