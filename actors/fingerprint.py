"""A name for all that decides what an analysis finds, but the film and the job."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

from actors.registry import Registry

_ROOMS: Final = ("actors", "kernels", "scheduler")
_PACKAGES: Final = (
    *("ai-edge-litert", "av", "dlib-bin", "numpy", "onnxruntime", "opencv-contrib-python-headless"),
)


def analysis_fingerprint(registry: Registry, models: Sequence[str]) -> str:
    """SHA-256 over the program's own source files, its libraries' versions and the models' hashes.

    The sources, not a version number: nobody can forget to raise it, and after an update an old
    analysis is never taken for a new one.

    Args:
        registry: of the models.
        models: names of those that analyses use.
    """
    digest = hashlib.sha256()
    root = Path(__file__).resolve().parent.parent
    for room in _ROOMS:
        for path in sorted((root / room).rglob("*")):
            if path.suffix in (".py", ".csv"):
                digest.update(f"\n{path.relative_to(root)} {path.stat().st_size}\n".encode())
                digest.update(path.read_bytes())
    for package in _PACKAGES:
        digest.update(f"\n{package} {version(package)}".encode())
    for name in models:
        spec = registry[name]
        # Where no hash is known beforehand, the release that the file comes from names it.
        digest.update(f"\n{name} {spec.sha256 or spec.source}".encode())
    return digest.hexdigest()
