"""Names for content: of all that decides what an analysis finds, and of files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

from actors.registry import Registry

_ROOMS: Final = ("actors", "kernels", "scheduler")
_BLOCKS: Final = 64
_BLOCK: Final = 64 * 1024
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


def file_fingerprint(path: Path) -> str:
    """32 hex digits that tell a file from others and from itself after a change.

    BLAKE2b over the length and 64 blocks of 64 KiB, evenly spread, the first and the last among
    them: the whole of a small file, and a few milliseconds for a film of any length. Files are
    encoded anew or cut by people, not forged block by block.

    Raises:
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    with path.open("rb") as file:
        if size <= _BLOCKS * _BLOCK:
            digest.update(file.read())
        else:
            for number in range(_BLOCKS):
                file.seek(number * (size - _BLOCK) // (_BLOCKS - 1))
                digest.update(file.read(_BLOCK))
    return digest.hexdigest()
