"""Keeps the plans that TensorRT made on this machine, each in one file.

A plan is the outcome of minutes of measuring and good for one GPU, one version of TensorRT and one
set of flags only. The name of its file is a hash of all these; the file says them again and has a
hash of its content. What is not as it says is deleted and made once more. One plan is made at a
time, whatever asks for it: two builds at once would disturb each other's measurements.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, TypeVar

from actors.inference.engines import BuildFlags, Platform
from scheduler.errors import GpuFailed, storage_error

SCHEMA: Final = 1
"""Of this wrapper: goes up when what it makes of a network changes."""
MAGIC: Final = b"swapfarm plan\n"
LENGTH: Final = 8
"""Bytes of a number."""

Loaded = TypeVar("Loaded")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanKey:
    """All that a plan depends on."""

    network: str
    """SHA-256 of the network's file."""
    platform: Platform
    batches: tuple[int, ...]
    sizes: tuple[tuple[str, tuple[int, ...]], ...]
    """Of inputs whose shape the file leaves open, without the batch."""
    flags: BuildFlags
    schema: int = SCHEMA

    @property
    def text(self) -> bytes:
        """The same key, the same bytes."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text).hexdigest()[:32]


class Plans:
    """Plans in a folder. Safe for many processes at once.

    Args:
        folder: made when the first is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(
        self,
        key: PlanKey,
        load: Callable[[bytes], Loaded | None],
        build: Callable[[bytes], tuple[bytes, bytes]],
    ) -> Loaded:
        """What ``load`` makes of the plan; the plan is built if there is none that is right.

        Args:
            load: gives None for a plan that is damaged or of another platform.
            build: takes what is known of timing, gives the plan and what is known then.

        Raises:
            GpuFailed: what was just built cannot be loaded.
            DiskFull, StorageUnwritable: it cannot be kept.
            Whatever ``load`` and ``build`` raise.
        """
        found = self._kept(key, load)
        if found is not None:
            return found
        with self._alone():
            found = self._kept(key, load)  # another process may have been faster
            if found is not None:
                return found
            # Only here, or it could be what another process has just built.
            with _keeping(self._folder):
                self.path(key).unlink(missing_ok=True)
            timing = self._timing(key.platform)
            plan, measured = build(_bytes(timing))
            self._write(self.path(key), _packed(key, plan))
            if measured:
                self._write(timing, measured)
        found = load(plan)
        if found is None:
            with _keeping(self._folder):
                self.path(key).unlink(missing_ok=True)
            raise GpuFailed(
                "TensorRT does not load the plan that it has just made",
                "a plan for this GPU",
                "see that one version of TensorRT is installed: `farm doctor`",
            )
        return found

    def path(self, key: PlanKey) -> Path:
        return self._folder / f"{key.digest}.plan"

    def _kept(self, key: PlanKey, load: Callable[[bytes], Loaded | None]) -> Loaded | None:
        """What the plan is, if it is here and right."""
        with _keeping(self._folder):
            plan = _unpacked(key, _bytes(self.path(key)))
        return None if plan is None else load(plan)

    def _timing(self, platform: Platform) -> Path:
        digest = hashlib.sha256(json.dumps(asdict(platform), sort_keys=True).encode()).hexdigest()
        return self._folder / f"{digest[:32]}.timing"

    def _write(self, path: Path, content: bytes) -> None:
        # Only one process writes at a time, so the name of what is not whole yet can be fixed.
        fresh = path.with_suffix(".part")
        with _keeping(self._folder):
            with fresh.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with _keeping(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = (self._folder / ".lock").open("w")
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _packed(key: PlanKey, plan: bytes) -> bytes:
    head = key.text
    return b"".join(
        (MAGIC, len(head).to_bytes(LENGTH, "big"), head, hashlib.sha256(plan).digest(), plan)
    )


def _unpacked(key: PlanKey, content: bytes) -> bytes | None:
    """The plan in a file, None if it is another's or damaged."""
    head = key.text
    before = MAGIC + len(head).to_bytes(LENGTH, "big") + head
    if not content.startswith(before):
        return None
    size = hashlib.sha256().digest_size
    digest, plan = content[len(before) :][:size], content[len(before) + size :]
    return plan if hashlib.sha256(plan).digest() == digest else None


def _bytes(path: Path) -> bytes:
    with suppress(FileNotFoundError):
        return path.read_bytes()
    return b""


@contextmanager
def _keeping(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise storage_error(error, str(folder)) from error
