"""CUDA source to machine code by NVIDIA's NVRTC library. It needs no driver and no GPU.

Source: "NVRTC" in the CUDA documentation, its user interface and compile options.
"""

from __future__ import annotations

import ctypes
import importlib.util
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

LIBRARIES: Final = ("libnvrtc.so.13", "libnvrtc.so.12")
"""Newest first. Where a package of NVIDIA's is installed its own is taken, else the system's."""
OPTIONS: Final = ("--std=c++17", "--fmad=false", "--ptxas-options=-v")
"""Only IEEE-rounded operations in the order that is written down: the same bits as on a CPU."""


class NvrtcError(RuntimeError):
    """The library is missing, or it refused the source; its log is in the message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """What came of one source for one architecture."""

    code: bytes
    """A cubin, or PTX as text."""
    log: str
    """Of the compiler: registers, spills and shared memory of each kernel."""


def version() -> tuple[int, int]:
    """(major, minor) of the library. Raises NvrtcError where there is none."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    _call("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
    return major.value, minor.value


def compile_source(
    name: str, source: str, headers: Mapping[str, str], architecture: str
) -> Compiled:
    """Compile one file.

    Args:
        name: for messages.
        source: CUDA C++ of the file.
        headers: text of what it includes, by name.
        architecture: "sm_90" for machine code, "compute_90" for PTX.
    Raises NvrtcError: no library, or the source does not compile.
    """
    texts = (ctypes.c_char_p * len(headers))(*(text.encode() for text in headers.values()))
    names = (ctypes.c_char_p * len(headers))(*(key.encode() for key in headers))
    program = ctypes.c_void_p()
    _call(
        "nvrtcCreateProgram",
        ctypes.byref(program),
        source.encode(),
        name.encode(),
        len(headers),
        texts,
        names,
    )
    try:
        return _build(program, name, [f"--gpu-architecture={architecture}", *OPTIONS])
    finally:
        _call("nvrtcDestroyProgram", ctypes.byref(program))


def _build(program: ctypes.c_void_p, name: str, options: Sequence[str]) -> Compiled:
    texts = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    status = _library().nvrtcCompileProgram(program, len(options), texts)
    log = _fetch(program, "nvrtcGetProgramLogSize", "nvrtcGetProgramLog").rstrip(b"\0").decode()
    if status:
        raise NvrtcError(f"{name} does not compile with {' '.join(options)}:\n{log}")
    if any(option.startswith("--gpu-architecture=compute_") for option in options):
        return Compiled(
            code=_fetch(program, "nvrtcGetPTXSize", "nvrtcGetPTX").rstrip(b"\0"), log=log
        )
    return Compiled(code=_fetch(program, "nvrtcGetCUBINSize", "nvrtcGetCUBIN"), log=log)


def _fetch(program: ctypes.c_void_p, sizer: str, getter: str) -> bytes:
    size = ctypes.c_size_t()
    _call(sizer, program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    _call(getter, program, buffer)
    return buffer.raw


def _call(function: str, *arguments: object) -> None:
    library = _library()
    status = getattr(library, function)(*arguments)
    if status:
        library.nvrtcGetErrorString.restype = ctypes.c_char_p
        raise NvrtcError(f"{function}: {library.nvrtcGetErrorString(status).decode()}")


@cache
def _library() -> ctypes.CDLL:
    refused = []
    for name in LIBRARIES:
        for path in (*_packaged(name), name):
            try:
                return ctypes.CDLL(str(path))
            except OSError as error:
                refused.append(str(error))
    raise NvrtcError(
        "no NVRTC library: " + "; ".join(dict.fromkeys(refused)) + ". Next: install the package "
        "nvidia-cuda-nvrtc (CUDA 13) or nvidia-cuda-nvrtc-cu12"
    )


def _packaged(library: str) -> list[Path]:
    """Where NVIDIA's Python packages put a library."""
    found = importlib.util.find_spec("nvidia")
    places = found.submodule_search_locations if found else None
    major = re.sub(r".*\.so\.", "", library)
    folders = (f"cu{major}", "cuda_nvrtc")
    paths = [Path(place, folder, "lib", library) for place in places or () for folder in folders]
    return [path for path in paths if path.exists()]
