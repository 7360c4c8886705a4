"""Puts the CUDA kernels' machine code into a wheel (hatchling's build hook).

NVRTC makes it, without a GPU or a driver, in some ten seconds. Where it is not installed, a wheel
without machine code comes out, and says so; such a one makes its own on a GPU machine when first
used. The code is not in the repository: 1.6 MB that change with every edit of a kernel, and nobody
could review them.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CubinHook(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel" or version == "editable":
            return
        sys.path.insert(0, self.root)
        try:
            from kernels.cuda import modules, nvrtc
        finally:
            sys.path.remove(self.root)
        self._made = tempfile.TemporaryDirectory()
        folder = Path(self._made.name)
        try:
            for capability in modules.ARCHITECTURES:
                path = modules.cubin_path(folder, capability)
                modules.store(path, modules.compile_kernels(f"sm_{capability}").code)
                build_data["force_include"][str(path)] = f"kernels/cuda/cubins/{path.name}"
        except nvrtc.NvrtcError as error:
            self.app.display_warning(f"a wheel without machine code for GPUs: {error}")

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if hasattr(self, "_made"):
            self._made.cleanup()
