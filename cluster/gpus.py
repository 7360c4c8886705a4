"""The GPUs of this machine, by UUID: a slice of one (MIG) has no other name that CUDA takes."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

LIST: Final = ("nvidia-smi", "-L")
MEMORY: Final = ("nvidia-smi", "--query-gpu=uuid,memory.total", "--format=csv,noheader,nounits")
_SECONDS: Final = 30.0
"""In which the driver must answer; it may have to wake GPUs first."""
_LINE: Final = re.compile(r"^(GPU|\s+MIG)\s+(.*?)\s*\(UUID:\s*((?:GPU|MIG)-[^)\s]+)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuName:
    """A GPU, or a slice of one."""

    uuid: str
    name: str
    """Of the model, or of the slice's kind."""
    whole: str
    """UUID of the GPU that it is a slice of; its own, if it is none."""


def machine_gpus(command: Sequence[str] = LIST) -> tuple[GpuName, ...]:
    """The GPUs of this machine that can be worked on; none where the driver is not there."""
    return listed(_said(command))


def listed(text: str) -> tuple[GpuName, ...]:
    """What ``nvidia-smi -L`` says: the slices of GPUs that are cut into some, else the GPUs.

    A GPU in MIG mode can be used by its slices only.
    """
    wholes: dict[str, GpuName] = {}
    slices: dict[str, list[GpuName]] = {}
    now = ""
    for line in text.splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        kind, words, uuid = found.groups()
        name = words.partition(":")[2].strip() or words
        if kind == "GPU":
            now = uuid
            wholes[uuid], slices[uuid] = GpuName(uuid=uuid, name=name, whole=uuid), []
        elif now:
            name = re.sub(r"\s+Device\s+\d+:?$", "", words)
            slices[now].append(GpuName(uuid=uuid, name=f"MIG {name}", whole=now))
    return tuple(each for uuid, gpu in wholes.items() for each in slices[uuid] or (gpu,))


def memory_bytes(command: Sequence[str] = MEMORY) -> dict[str, int]:
    """Memory of each whole GPU by its UUID; what a slice has, the driver does not say here."""
    sizes = {}
    for line in _said(command).splitlines():
        uuid, _, size = line.partition(",")
        if size.strip().isdecimal():
            sizes[uuid.strip()] = int(size) << 20
    return sizes


def seen_bytes(names: Sequence[str], command: Sequence[str] = MEMORY) -> int:
    """Memory of the smallest of some GPUs of this machine.

    Args:
        names: as CUDA_VISIBLE_DEVICES has them. CUDA and the driver may count differently: a
            number may be any GPU.

    Returns: bytes; 0: nobody can tell, as of a slice.
    """
    sizes = memory_bytes(command)
    found = []
    for name in names:
        known = [size for uuid, size in sizes.items() if name.isdecimal() or uuid.startswith(name)]
        found.append(min(known, default=0))
    return min(found, default=0)


def chosen(gpus: Sequence[GpuName], visible: str | None, wanted: Sequence[str]) -> tuple[str, ...]:
    """What CUDA_VISIBLE_DEVICES should be for the lanes of a Ray of our own.

    Args:
        gpus: of the machine.
        visible: what it is in this process; None: it is not set.
        wanted: numbers in ``gpus``, or UUIDs or how they begin; none: all.

    Returns: one word for each; as ``visible`` has them, where that is set.

    Raises:
        LookupError: a wanted one is not there, or not visible.
    """
    if visible is not None:
        there = tuple(word.strip() for word in visible.split(",") if word.strip())
        there = there[: there.index("-1")] if "-1" in there else there
    else:
        there = tuple(gpu.uuid for gpu in gpus)
    if not wanted:
        return there
    found = []
    for word in wanted:
        if word.isdecimal() and int(word) < len(there):
            found.append(there[int(word)])
            continue
        match = [uuid for uuid in there if not word.isdecimal() and uuid.startswith(word)]
        if len(match) != 1:
            raise LookupError(word)
        found += match
    return tuple(dict.fromkeys(found))


def _said(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
