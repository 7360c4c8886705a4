"""The kernels as machine code: shipped with the program, or made on this machine and kept."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from kernels.cuda import nvrtc

ARCHITECTURES: Final = (75, 80, 86, 89, 90, 100, 120)
"""Compute capabilities, ten times, that machine code is shipped for. Code runs on later ones of the
same major number too (8.7 takes 8.6's)."""
HERE: Final = Path(__file__).resolve().parent
SHIPPED: Final = HERE / "cubins"
"""Of an installed wheel (scripts/hatch_build.py); a source tree has none."""
_MAGIC: Final = b"\x7fELF"


def compile_kernels(architecture: str) -> nvrtc.Compiled:
    """All kernels as one unit.

    Args:
        architecture: "sm_90" for machine code, "compute_90" for PTX.
    Raises NvrtcError: no library, or it refuses.
    """
    unit = "".join(f'#include "{name}"\n' for name in sources() if name.endswith(".cu"))
    return nvrtc.compile_source("kernels.cu", unit, dict(sources()), architecture)


def machine_code(capability: int, cache_folder: Path, shipped: Path | None = SHIPPED) -> bytes:
    """A cubin for a GPU.

    What was shipped for it, else what this machine made before, else made now and kept.

    Args:
        capability: compute capability times ten: 90 of an H100.
        cache_folder: for what is made here; made when it is missing.
        shipped: None: not what was shipped, since the driver refuses it.
    Raises NvrtcError: it must be made, and there is no library or it refuses.
    """
    if shipped is not None:
        own = [each for each in ARCHITECTURES if each // 10 == capability // 10]
        for each in sorted((each for each in own if each <= capability), reverse=True):
            path = cubin_path(shipped, each)
            if path.exists():
                return path.read_bytes()
    major, minor = nvrtc.version()
    kept = cache_folder / f"kernels-{_digest()}-nvrtc{major}.{minor}-sm_{capability}.cubin"
    if kept.exists() and (code := kept.read_bytes()).startswith(_MAGIC):
        return code
    code = compile_kernels(f"sm_{capability}").code
    store(kept, code)
    return code


def cubin_path(folder: Path, capability: int) -> Path:
    """Where the machine code for one architecture is; another source has another name."""
    return folder / f"kernels-{_digest()}-sm_{capability}.cubin"


def store(path: Path, code: bytes) -> None:
    """Write a file that is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, fresh = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(code)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except BaseException:
        Path(fresh).unlink(missing_ok=True)
        raise


@cache
def sources() -> Mapping[str, str]:
    """The text of each ``*.cu`` and ``*.cuh`` by name."""
    return {
        path.name: path.read_text("utf-8") for path in sorted(HERE.glob("*.cu*")) if path.is_file()
    }


@cache
def _digest() -> str:
    parts = [*nvrtc.OPTIONS, *(part for pair in sorted(sources().items()) for part in pair)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
