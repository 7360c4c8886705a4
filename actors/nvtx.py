"""Names of the parts of the work in the time line of NVIDIA's profilers (Nsight Systems)."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

from actors.profiler import Ranges

DOMAIN: Final = "swapfarm"


class NvtxRanges:
    """Ranges by the package ``nvtx``.

    Args:
        nvtx: the package, imported.
    """

    def __init__(self, nvtx: Any) -> None:
        self._nvtx = nvtx

    def push(self, name: str) -> None:
        self._nvtx.push_range(name, domain=DOMAIN)

    def pop(self) -> None:
        self._nvtx.pop_range(domain=DOMAIN)


def open_ranges() -> Ranges | None:
    """Ranges where the package is installed; None: it is not, and nobody could see them."""
    try:
        return NvtxRanges(import_module("nvtx"))
    except ImportError:
        return None
