"""The extras for GPUs: one major version of CUDA each, and both resolve."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
MAJORS = (12, 13)


def wanted(extra: str) -> dict[str, Requirement]:
    """Requirements of an extra by name, those that it includes opened."""
    found = {}
    for text in EXTRAS[extra]:
        requirement = Requirement(text)
        if requirement.name == "swapfarm":
            for inner in requirement.extras:
                found |= wanted(inner)
        else:
            found[requirement.name] = requirement
    return found


@pytest.mark.parametrize("major", MAJORS)
def test_an_extra_has_all_of_the_gpu_path_for_its_cuda(major: int) -> None:
    nvrtc = "nvidia-cuda-nvrtc" + ("-cu12" if major == 12 else "")
    names = {f"cupy-cuda{major}x", f"cvcuda-cu{major}", f"tensorrt-cu{major}", "pynvvideocodec"}
    assert set(wanted(f"cuda{major}-lean")) == names | {nvrtc}
    assert set(wanted(f"cuda{major}")) == names | {nvrtc, "torch", "torchaudio"}


def test_no_torch_is_right_for_both() -> None:
    """CUDA 13 came with 2.11."""
    twelve, thirteen = (wanted(f"cuda{major}")["torch"].specifier for major in MAJORS)
    for version in ("2.10.0", "2.11.0", "2.13.0", "2.14.0", "2.15.1"):
        assert not (twelve.contains(version) and thirteen.contains(version))
    assert twelve.contains("2.10.0")
    assert not twelve.contains("2.11.0")


def test_tests_on_a_gpu_get_all_that_they_need() -> None:
    """None of them is passed over because a package is missing."""
    makefile = (ROOT / "Makefile").read_text()
    rule = makefile.split("\ntest-gpu:")[1].split("\n\n")[0]
    assert "swapfarm[$(CUDA)-lean]" in rule
    assert "$(TORCH_$(CUDA))" in rule
    assert "$(ONNX_$(CUDA))" in rule
    assert "FAIL_WITHOUT_CUDA=1" in rule
    for major in MAJORS:
        assert f"\nTORCH_cuda{major} := {wanted_text(f'cuda{major}', 'torch')}\n" in makefile


def wanted_text(extra: str, name: str) -> str:
    """A requirement as the extra has it."""
    (found,) = (text for text in EXTRAS[extra] if Requirement(text).name == name)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("major", MAJORS)
def test_an_extra_resolves(major: int, tmp_path: Path) -> None:
    """With the program's own requirements, from what the package index serves; needs a network.

    TensorRT's libraries (gigabytes) are not on it: its bindings of the same version stand for them.
    """
    requirements = wanted(f"cuda{major}")
    tensorrt = requirements.pop(f"tensorrt-cu{major}")
    bindings = f"tensorrt-cu{major}-bindings{tensorrt.specifier}"
    report = tmp_path / "report.json"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--dry-run"]
    pip += ["--ignore-installed", "--quiet", "--report", str(report)]
    every = [*PROJECT["dependencies"], *map(str, requirements.values()), bindings]
    subprocess.run([*pip, "--only-binary", ":all:", *every], check=True, timeout=280)
    found = {
        item["metadata"]["name"].lower().replace("_", "-"): item["metadata"]["version"]
        for item in json.loads(report.read_text())["install"]
    }
    for name, requirement in requirements.items():
        assert requirement.specifier.contains(found[name])
    assert found["torch"].split(".")[:2] == found["torchaudio"].split(".")[:2] or major == 13
    other = MAJORS[1 - MAJORS.index(major)]
    assert not [name for name in found if name.endswith((f"-cu{other}", f"-cuda{other}x"))]
    subprocess.run([*pip, "--no-deps", str(tensorrt)], check=True, timeout=120)
    assert json.loads(report.read_text())["install"][0]["metadata"]["name"].startswith("tensorrt")
