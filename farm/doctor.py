"""Can this machine render? Each check looks at one thing and says what to do about it."""

from __future__ import annotations

import array
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Final

import psutil
from packaging.requirements import Requirement

from farm.config import Settings
from farm.finding import Finding, Verdict
from farm.gpu_driver import driver_version
from farm.gpu_packages import GpuMachine, check_gpu_packages, installed_versions
from scheduler.jobs import EncoderSettings
from scheduler.output import SOFTWARE_ENCODERS

GIB: Final = 1 << 30
ENCODERS: Final = {name: name == EncoderSettings().codec for name in SOFTWARE_ENCODERS}
"""Encoders that need no device; True: the default."""


def check_python(running: tuple[int, int, int]) -> Finding:
    """Whether this Python is one that swapfarm is tested with."""
    found = "Python " + ".".join(map(str, running))
    if running < (3, 11):
        return Finding(
            check="python",
            verdict=Verdict.FAIL,
            found=found,
            next_step="use Python 3.11, 3.12 or 3.13",
        )
    if running >= (3, 14):
        return Finding(
            check="python",
            verdict=Verdict.WARN,
            found=f"{found}, newer than tested",
            next_step="prefer Python 3.11, 3.12 or 3.13",
        )
    return Finding(check="python", verdict=Verdict.OK, found=found)


def check_packages(
    requirements: Iterable[str], installed: Callable[[str], str] = version
) -> Finding:
    """Are the packages that the program declares here, in versions that it accepts?

    Args:
        requirements: requirement strings as the package's metadata has them.
        installed: version of a package by name; raises PackageNotFoundError.
    """
    wrong = []
    right = 0
    for text in requirements:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            present = installed(requirement.name)
        except PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing (wanted {requirement.specifier})")
            continue
        if requirement.specifier.contains(present, prereleases=True):
            right += 1
        else:
            wrong.append(f"{requirement.name} {present} (wanted {requirement.specifier})")
    if wrong:
        return Finding(
            check="packages",
            verdict=Verdict.FAIL,
            found="; ".join(wrong),
            next_step="install swapfarm again in a fresh virtual environment",
        )
    return Finding(check="packages", verdict=Verdict.OK, found=f"{right} packages as wanted")


def check_encoders(available: Iterable[str]) -> Iterator[Finding]:
    """One finding for each encoder; ``available`` names the codecs that PyAV carries."""
    here = set(available)
    for name, needed in ENCODERS.items():
        if name in here:
            yield Finding(check=f"encoder {name}", verdict=Verdict.OK, found="in PyAV")
        else:
            yield Finding(
                check=f"encoder {name}",
                verdict=Verdict.FAIL if needed else Verdict.WARN,
                found="not in this PyAV",
                next_step="install PyAV from its wheel: pip install --force-reinstall "
                "--only-binary av av",
            )


def check_model(name: str, trouble: str | None) -> Finding:
    """Whether a model is here; ``trouble`` says what is not right with it."""
    if trouble is None:
        return Finding(check=f"model {name}", verdict=Verdict.OK, found="here, checksum right")
    return Finding(
        check=f"model {name}",
        verdict=Verdict.WARN,
        found=trouble,
        next_step="farm models pull (submit does it by itself when it needs the model)",
    )


def check_ray(trouble: str | None) -> Finding:
    """``trouble``: what ``import ray`` says when it fails, None when it works."""
    if trouble is None:
        return Finding(check="ray", verdict=Verdict.OK, found=f"Ray {version('ray')}")
    return Finding(
        check="ray",
        verdict=Verdict.FAIL,
        found=f"Ray cannot be imported: {trouble}",
        next_step="install swapfarm again in a fresh virtual environment",
    )


def check_cores(cores: float) -> Finding:
    """``cores``: CPU cores that this process may use, cgroup quota included."""
    found = f"{cores:g} cores"
    if cores < 2:
        return Finding(
            check="cores",
            verdict=Verdict.WARN,
            found=found,
            next_step="it works, slowly; give this machine or container two cores or more",
        )
    return Finding(check="cores", verdict=Verdict.OK, found=found)


def check_memory(available: int, limit: int | None) -> Finding:
    """Bytes of memory that can be had now, and the cgroup's limit where there is one."""
    usable = available if limit is None else min(available, limit)
    found = f"{usable / GIB:.1f} GiB available"
    if limit is not None:
        found += f" (container limit {limit / GIB:.1f} GiB)"
    if usable < 1.5 * GIB:
        return Finding(
            check="memory",
            verdict=Verdict.FAIL,
            found=found,
            next_step="free at least 1.5 GiB; Ray and one lane need that much",
        )
    if usable < 3 * GIB:
        return Finding(
            check="memory",
            verdict=Verdict.WARN,
            found=found,
            next_step="enough for one lane of small video; 3 GiB is comfortable",
        )
    return Finding(check="memory", verdict=Verdict.OK, found=found)


def check_space(name: str, folder: Path, free: int, wanted: int) -> Finding:
    """Free bytes of the file system that ``folder`` is on."""
    found = f"{free / GIB:.1f} GiB free in {folder}"
    if free < wanted:
        return Finding(
            check=name,
            verdict=Verdict.WARN,
            found=found,
            next_step=f"{wanted / GIB:g} GiB is comfortable; free some, or choose another folder",
        )
    return Finding(check=name, verdict=Verdict.OK, found=found)


def check_writable(name: str, folder: Path) -> Finding:
    """Can files be made in ``folder``? It is made where it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return Finding(check=name, verdict=Verdict.OK, found=f"{folder} is writable")
    except OSError as error:
        setting = name.replace(" ", "_")
        return Finding(
            check=name,
            verdict=Verdict.FAIL,
            found=f"{folder}: {error.strerror}",
            next_step=f"set {setting} in the settings file to a folder you may write to",
        )


def check_shared_memory() -> Finding:
    """Frames live in memfds whose descriptors cross abstract unix sockets: send one across."""
    message = b"frame"
    try:
        memory = os.memfd_create("swapfarm-doctor")
        try:
            os.write(memory, message)
            got = _through_abstract_socket(memory, len(message))
        finally:
            os.close(memory)
    except OSError as error:
        return Finding(
            check="shared memory",
            verdict=Verdict.FAIL,
            found=f"memfd or abstract unix sockets do not work: {error}",
            next_step="use Linux 5.4 or newer without a sandbox that forbids them",
        )
    if got != message:
        return Finding(
            check="shared memory",
            verdict=Verdict.FAIL,
            found=f"wrote {message!r} to a memfd, read {got!r} through its descriptor",
            next_step="use a Linux kernel instead of an emulation of one",
        )
    return Finding(check="shared memory", verdict=Verdict.OK, found="memfd and abstract sockets")


def _through_abstract_socket(descriptor: int, size: int) -> bytes:
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(f"\0swapfarm-doctor-{os.getpid()}")
        server.listen(1)
        client.settimeout(5)
        client.connect(server.getsockname())
        accepted, _ = server.accept()
        with accepted:
            accepted.settimeout(5)
            socket.send_fds(client, [b"x"], [descriptor])
            _, received, _, _ = socket.recv_fds(accepted, 1, 1)
    if not received:
        return b""
    try:
        return os.pread(received[0], size, 0)
    finally:
        for each in array.array("i", received):
            os.close(each)


def check_gpu(device_nodes: Iterable[str], driver: str | None) -> Finding:
    """NVIDIA device nodes (``nvidia0``, ...) and the driver's version."""
    gpus = sorted(device_nodes)
    if not gpus:
        return Finding(check="gpu", verdict=Verdict.OK, found="no GPU: CPU path")
    if driver is None:
        return Finding(
            check="gpu",
            verdict=Verdict.WARN,
            found=f"{len(gpus)} NVIDIA device nodes but no driver: CPU path",
            next_step="install the NVIDIA driver, or give the container access to it",
        )
    return Finding(
        check="gpu",
        verdict=Verdict.OK,
        found=f"{len(gpus)} NVIDIA GPUs, driver {driver}; used with --device (docs/gpu-lane.md)",
    )


def cgroup_limits(
    root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> tuple[float | None, int | None]:
    """(cores, bytes) that the cgroup v2 of this process and those above it allow; None: no limit.

    Args:
        root: where the cgroup file system is mounted.
        membership: names the group of this process, relative to the root ("0::/a/b").
    """
    lines = membership.read_text().splitlines() if membership.is_file() else []
    own = next((line[3:] for line in lines if line.startswith("0::")), "/")
    group = root / own.lstrip("/")
    cores: list[float] = []
    memory: list[int] = []
    for place in (group, *(parent for parent in group.parents if parent.is_relative_to(root))):
        if (place / "cpu.max").is_file():
            quota, period = (place / "cpu.max").read_text().split()
            cores += [] if quota == "max" else [int(quota) / int(period)]
        if (place / "memory.max").is_file():
            limit = (place / "memory.max").read_text().strip()
            memory += [] if limit == "max" else [int(limit)]
    return min(cores, default=None), min(memory, default=None)


def import_trouble(module: str) -> str | None:
    """Import a module in a process of its own; the last line of its complaint, None if it works."""
    done = subprocess.run(
        [sys.executable, "-c", f"import {module}"], capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder


def examine(
    settings: Settings, models: Mapping[str, str | None], credentials: Finding
) -> Iterator[Finding]:
    """All findings on this machine, in the order in which a person would ask.

    Args:
        settings: the settings in force.
        models: for each model a first film needs, None when its file is here and intact, else
            what is wrong with it.
        credentials: see ``farm.credential_check``.
    """
    import av.codec

    yield check_python(sys.version_info[:3])
    yield check_packages(requires("swapfarm") or ())
    yield check_ray(import_trouble("ray"))
    yield from check_encoders(av.codec.codecs_available)
    for name, trouble in models.items():
        yield check_model(name, trouble)
    quota, limit = cgroup_limits()
    cores = float(len(os.sched_getaffinity(0)))
    yield check_cores(cores if quota is None else min(cores, quota))
    yield check_memory(psutil.virtual_memory().available, limit)
    yield check_writable("cache dir", settings.cache_dir)
    yield check_writable("state dir", settings.state_dir)
    for name, folder in (("disk", settings.state_dir), ("/dev/shm", Path("/dev/shm"))):
        place = _existing(folder)
        wanted = 5 * GIB if name == "disk" else GIB // 2
        yield check_space(name, place, shutil.disk_usage(place).free, wanted)
    yield credentials
    yield check_shared_memory()
    nodes, driver = [node.name for node in Path("/dev").glob("nvidia[0-9]*")], driver_version()
    yield check_gpu(nodes, driver)
    yield from check_gpu_packages(
        GpuMachine(
            installed=installed_versions(),
            requirements=tuple(requires("swapfarm") or ()),
            gpus=len(nodes),
            driver=driver,
        )
    )
