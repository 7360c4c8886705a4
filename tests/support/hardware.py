"""What a `cuda` test does where something is missing, and what GPUs lack by nature.

A package, a library or a driver that is not there is a fault of the machine: the test is skipped
where nobody asked for a GPU, and fails under FAIL_WITHOUT_CUDA=1. A unit that a GPU does not have
is a fact about it: its test then asserts that the program says exactly so.
"""

from __future__ import annotations

import importlib
import os
import subprocess
from typing import Any, Final, NoReturn

import pytest

FAILING: Final = "FAIL_WITHOUT_CUDA"
WITHOUT_NVENC: Final = (
    *("A30", "A100", "A800", "H20", "H100", "H200", "H800", "GH200"),
    *("B100", "B200", "B300", "GB200", "GB300"),
)
"""NVIDIA's matrix of GPUs with encoders: these have none."""
WITH_NVOFA: Final = ((7, 5), (8, 0), (8, 6), (8, 9))
"""Compute capabilities whose chips have an optical flow engine, as its application note says; of
later ones it says nothing."""
WITHOUT_NVOFA: Final = ("GTX 1630", "GTX 1650", "T400", "T600", "T1000", "MX450", "MX550")
"""Of compute capability 7.5 (TU117), and without one."""


def lacking(found: object, install: str = "") -> NoReturn:
    """Ends a test for what a machine should have and has not.

    Args:
        found: what is missing.
        install: how to get it.
    """
    said = f"{found}. Next: {install}" if install else str(found)
    if os.environ.get(FAILING) == "1":
        pytest.fail(said)
    pytest.skip(said)


def package(name: str, install: str) -> Any:
    """A package that a `cuda` test needs. Some raise OSError where CUDA's libraries are missing."""
    try:
        return importlib.import_module(name)
    except (ImportError, OSError, RuntimeError) as error:
        lacking(f"{name} cannot be imported: {error}", install)


def gpu_name(listed: str, uuid: str) -> str:
    """Name of the GPU, or of the one that a slice is cut from.

    Args:
        listed: what ``nvidia-smi -L`` says.
        uuid: as CUDA gives it, with or without "GPU-" before it.
    """
    plain, name = uuid.removeprefix("GPU-").removeprefix("MIG-").lower(), ""
    for line in listed.splitlines():
        if line.startswith("GPU "):
            name = line.partition(":")[2].partition("(UUID")[0].strip()
        if plain in line.lower():
            return name
    raise LookupError(f"no GPU {uuid} in {listed!r}")


def this_gpu(uuid: str) -> str:
    """``gpu_name`` of a GPU of this machine."""
    done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True)
    return gpu_name(done.stdout, uuid)


def has_nvenc(name: str) -> bool:
    """Whether GPUs of a name have an encoder."""
    return not set(name.replace("-", " ").split()) & set(WITHOUT_NVENC)


def must_have_nvofa(name: str, capability: tuple[int, int]) -> bool:
    """Whether GPUs of a name and compute capability are known to have an optical flow engine."""
    return capability in WITH_NVOFA and not any(each in name for each in WITHOUT_NVOFA)
