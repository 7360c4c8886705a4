"""One BLAS thread, so that a solved system has the same bits on every machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import hashlib, sys
import numpy as np
from actors.threads import limit_threads
if sys.argv[1] == "limited":
    limit_threads(1)
random = np.random.default_rng(0)
solved = np.linalg.solve(random.random((471, 471)), random.random((471, 4096)))
print(hashlib.sha256(solved.tobytes()).hexdigest())
"""


def solve(*, threads: int, limited: bool) -> str:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, "limited" if limited else "free"],
        env={"OPENBLAS_NUM_THREADS": str(threads), "PYTHONPATH": str(Path(__file__).parents[3])},
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def test_bits_do_not_depend_on_the_threads_that_a_machine_offers() -> None:
    one = solve(threads=1, limited=False)
    assert solve(threads=2, limited=True) == one
    assert solve(threads=4, limited=True) == one
