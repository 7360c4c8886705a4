"""The NVIDIA driver's version, without a package of CUDA."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Final

LENGTH: Final = 96
"""Bytes for a version, more than NVML asks for."""


def driver_version(
    version_file: Path = Path("/proc/driver/nvidia/version"), library: str = "libnvidia-ml.so.1"
) -> str | None:
    """The version ("570.86.10"), None without a driver.

    Args:
        version_file: what the kernel's module says of itself.
        library: NVML, asked where there is no such file (as in WSL).
    """
    return _of_module(version_file) or _of_library(library)


def _of_module(version_file: Path) -> str | None:
    if not version_file.is_file():
        return None
    words = version_file.read_text().split()
    return next((word for word in words if word[0].isdigit() and "." in word), None)


def _of_library(library: str) -> str | None:
    try:
        nvml = ctypes.CDLL(library)
    except OSError:
        return None
    if nvml.nvmlInit_v2() != 0:
        return None
    text = ctypes.create_string_buffer(LENGTH)
    try:
        failed = nvml.nvmlSystemGetDriverVersion(text, ctypes.c_uint(LENGTH))
    finally:
        nvml.nvmlShutdown()
    return None if failed else text.value.decode()
