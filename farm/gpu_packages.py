"""The packages of the GPU path: which are missing, which clash, and what is done without them.

Nothing of CUDA is imported to find out: names and versions of what is installed, and the driver's,
are enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from farm.finding import Finding, Verdict

DRIVERS: Final = {12: 535, 13: 580}
"""Oldest driver for each major version of CUDA: TensorRT 11 asks for more than CUDA 12 does."""
NEEDED: Final = {
    "cupy": "nothing runs on the GPU",
    "tensorrt": "networks run in ONNX Runtime",
}
"""Without which the GPU path is not what it should be, and what is done then."""
OPTIONAL: Final = {
    "nvrtc": "only GPUs that machine code was shipped for",
    "cvcuda": "our own kernels warp and convert",
    "pynvvideocodec": "PyAV decodes and encodes",
    "torch": "our own kernels warp and convert",
    "torchaudio": "nothing uses it yet",
}
"""The same for the others."""
ONE_MODULE: Final = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino")
"""Packages that bring the same module: the last one that was installed overwrote the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuMachine:
    """What is looked at."""

    installed: Mapping[str, str]
    """Versions by normalised name."""
    requirements: tuple[str, ...]
    """Of swapfarm, its extras too, as its metadata has them."""
    gpus: int
    driver: str | None
    """Version: "580.65.06"; None without one."""


def installed_versions() -> dict[str, str]:
    """Versions of all that is installed, by normalised name."""
    return {canonicalize_name(each.metadata["Name"]): each.version for each in distributions()}


def check_gpu_packages(machine: GpuMachine) -> Iterator[Finding]:
    """What is missing, what clashes, and whether the driver is new enough."""
    yield from _one_module(machine.installed)
    here = {major: _of(machine, major) for major in DRIVERS}
    majors = [major for major in DRIVERS if here[major]]
    if len(majors) > 1:
        yield Finding(
            check="gpu packages",
            verdict=Verdict.FAIL,
            found="; ".join(f"for CUDA {major}: {', '.join(here[major])}" for major in majors),
            next_step="keep one: a fresh virtual environment with "
            f"`pip install 'swapfarm[cuda{_best(machine.driver)}]'`",
        )
    elif majors:
        yield from _single(machine, majors[0])
    elif machine.gpus:
        yield Finding(
            check="gpu packages",
            verdict=Verdict.WARN,
            found="none: all work goes on the CPU",
            next_step=f"pip install 'swapfarm[cuda{_best(machine.driver)}]'",
        )
    else:
        yield Finding(check="gpu packages", verdict=Verdict.OK, found="none, and no GPU")


def _single(machine: GpuMachine, major: int) -> Iterator[Finding]:
    """Findings where all packages are for one major version of CUDA."""
    extra = f"cuda{major}"
    missing, wrong, right = [], [], []
    for requirement in _wanted(machine.requirements, major):
        name = canonicalize_name(requirement.name)
        version = machine.installed.get(name)
        if version is None:
            missing.append(name)
        elif not requirement.specifier.contains(Version(version).base_version, prereleases=True):
            wrong.append(f"{name} {version} (wanted {requirement.specifier})")
        elif "+cpu" in version:
            wrong.append(f"{name} {version} (wanted a build for CUDA {major})")
        else:
            right.append(name)
    if wrong:
        yield Finding(
            check="gpu packages",
            verdict=Verdict.WARN,
            found="; ".join(wrong),
            next_step=f"pip install 'swapfarm[{extra}]'",
        )
    for name in missing:
        without = next((NEEDED[kind] for kind in NEEDED if _is(name, kind)), None)
        if without is not None:
            yield Finding(
                check=f"gpu package {name}",
                verdict=Verdict.WARN,
                found=f"missing: {without}",
                next_step=f"pip install 'swapfarm[{extra}]'",
            )
    said = [f"{len(right)} packages for CUDA {major} as wanted"]
    for name in missing:
        without = next((OPTIONAL[kind] for kind in OPTIONAL if _is(name, kind)), None)
        if without is not None:
            said.append(f"without {name}: {without}")
    if not wrong:
        yield Finding(check="gpu packages", verdict=Verdict.OK, found="; ".join(said))
    if machine.driver is not None:
        yield _driver(machine.driver, major)
    elif machine.gpus == 0:
        yield Finding(
            check="gpu driver",
            verdict=Verdict.OK,
            found="no GPU and no driver: the packages are not used",
        )


def _driver(driver: str, major: int) -> Finding:
    oldest = DRIVERS[major]
    if Version(driver) >= Version(str(oldest)):
        return Finding(check="gpu driver", verdict=Verdict.OK, found=f"{driver}, for CUDA {major}")
    others = [other for other in DRIVERS if Version(driver) >= Version(str(DRIVERS[other]))]
    instead = f", or use `pip install 'swapfarm[cuda{others[-1]}]'` instead" if others else ""
    return Finding(
        check="gpu driver",
        verdict=Verdict.FAIL,
        found=f"{driver} is too old for CUDA {major} (wanted {oldest} or newer)",
        next_step=f"install driver {oldest} or newer{instead}",
    )


def _one_module(installed: Mapping[str, str]) -> Iterator[Finding]:
    both = [name for name in ONE_MODULE if name in installed]
    if len(both) > 1:
        yield Finding(
            check="onnxruntime",
            verdict=Verdict.FAIL,
            found=f"{' and '.join(both)} bring the same module",
            next_step=f"pip uninstall {' '.join(both)}, then install the one that you mean",
        )


def _of(machine: GpuMachine, major: int) -> list[str]:
    """What is installed for a major version of CUDA only, with its version."""
    found = []
    for requirement in _wanted(machine.requirements, major):
        name = canonicalize_name(requirement.name)
        version = machine.installed.get(name)
        # NVRTC compiles for any driver and lives beside its other versions.
        if version is None or _is(name, "nvrtc"):
            continue
        if name.endswith((f"cu{major}", f"cuda{major}x")) or (
            name == "torch"
            and "+cpu" not in version
            and requirement.specifier.contains(Version(version).base_version, prereleases=True)
        ):
            found.append(f"{name} {version}")
    return found


def _wanted(requirements: Iterable[str], major: int) -> list[Requirement]:
    """What the extra of a major version of CUDA asks for, those that it includes opened."""
    found = []
    todo = [f"cuda{major}"]
    seen = set(todo)
    while todo:
        extra = todo.pop()
        for text in requirements:
            requirement = Requirement(text)
            marker = requirement.marker
            if (
                not marker
                or marker.evaluate({"extra": ""})
                or not marker.evaluate({"extra": extra})
            ):
                continue
            if canonicalize_name(requirement.name) == "swapfarm":
                todo += requirement.extras - seen
                seen |= requirement.extras
            else:
                found.append(requirement)
    return sorted(found, key=lambda each: each.name)


def _is(name: str, kind: str) -> bool:
    """Whether a package is of a kind, for whichever CUDA."""
    return name == kind or name.startswith(f"{kind}-cu") or (kind == "nvrtc" and "nvrtc" in name)


def _best(driver: str | None) -> int:
    """The newest major version of CUDA that a driver knows."""
    known = [m for m in DRIVERS if driver and Version(driver) >= Version(str(DRIVERS[m]))]
    return max(known, default=max(DRIVERS) if driver is None else min(DRIVERS))
