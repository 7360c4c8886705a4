"""What ``farm doctor`` says of packages for GPUs, for sets of packages that somebody might have."""

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from farm.finding import Finding, Verdict
from farm.gpu_driver import driver_version
from farm.gpu_packages import GpuMachine, check_gpu_packages, installed_versions

OK, WARN, FAIL = Verdict.OK, Verdict.WARN, Verdict.FAIL
EXTRAS = tomllib.loads((Path(__file__).resolve().parents[3] / "pyproject.toml").read_text())[
    "project"
]["optional-dependencies"]
REQUIREMENTS = ("numpy>=2", *(f"{r}; extra == '{e}'" for e, those in EXTRAS.items() for r in those))
CUDA13 = {
    "cupy-cuda13x": "14.2.0",
    "nvidia-cuda-nvrtc": "13.5.37",
    "tensorrt-cu13": "11.4.0.106",
    "cvcuda-cu13": "0.19.0",
    "pynvvideocodec": "2.2.4",
    "torch": "2.15.0",
    "torchaudio": "2.11.0",
}
CUDA12 = {
    "cupy-cuda12x": "14.2.0",
    "nvidia-cuda-nvrtc-cu12": "12.8.93",
    "tensorrt-cu12": "11.4.0.106",
    "cvcuda-cu12": "0.19.0",
    "pynvvideocodec": "2.2.4",
    "torch": "2.10.0",
    "torchaudio": "2.10.0",
}


def look(
    installed: dict[str, str], gpus: int = 1, driver: str | None = "580.65.06"
) -> list[Finding]:
    machine = GpuMachine(installed=installed, requirements=REQUIREMENTS, gpus=gpus, driver=driver)
    found = list(check_gpu_packages(machine))
    assert all(bool(each.next_step) is (each.verdict is not OK) for each in found)
    return found


def verdicts(found: list[Finding]) -> dict[str, Verdict]:
    assert len({each.check for each in found}) == len(found)
    return {each.check: each.verdict for each in found}


@pytest.mark.parametrize(("installed", "major"), [(CUDA12, 12), (CUDA13, 13)])
def test_all_is_there(installed: dict[str, str], major: int) -> None:
    found = look(installed)
    assert verdicts(found) == {"gpu packages": OK, "gpu driver": OK}
    assert found[0].found == f"7 packages for CUDA {major} as wanted"


def test_nothing_and_no_gpu_is_well() -> None:
    assert verdicts(look({"numpy": "2.4"}, gpus=0, driver=None)) == {"gpu packages": OK}


@pytest.mark.parametrize(
    ("driver", "extra"), [("580.65.06", 13), ("600.1", 13), ("570.86.10", 12), ("470.1", 12)]
)
def test_a_gpu_without_packages(driver: str, extra: int) -> None:
    (found,) = look({}, driver=driver)
    assert found.verdict is WARN
    assert f"swapfarm[cuda{extra}]" in found.next_step
    assert "CPU" in found.found


def test_two_majors_at_once_are_named() -> None:
    (found,) = look({**CUDA13, "cupy-cuda12x": "14.2.0"})
    assert (found.check, found.verdict) == ("gpu packages", FAIL)
    assert "for CUDA 12: cupy-cuda12x 14.2.0;" in found.found
    assert "tensorrt-cu13 11.4.0.106" in found.found
    assert "cuda13" in found.next_step


def test_torch_of_the_other_major_is_found_out_by_its_version() -> None:
    (found,) = look({**CUDA13, "torch": "2.10.0"})
    assert found.verdict is FAIL
    assert "for CUDA 12: torch 2.10.0" in found.found


def test_what_developers_have_is_no_clash() -> None:
    developers = {"nvidia-cuda-nvrtc": "13.5.37", "tensorrt-cu13-bindings": "11.4.0.106"}
    assert verdicts(look({**CUDA12, **developers})) == {"gpu packages": OK, "gpu driver": OK}
    assert verdicts(look(developers, gpus=0, driver=None)) == {"gpu packages": OK}


@pytest.mark.parametrize(
    ("name", "without"), [("cupy-cuda13x", "nothing runs"), ("tensorrt-cu13", "ONNX Runtime")]
)
def test_what_is_needed_and_missing_is_named(name: str, without: str) -> None:
    found = look({each: version for each, version in CUDA13.items() if each != name})
    assert verdicts(found)[f"gpu package {name}"] is WARN
    assert without in found[0].found


def test_what_is_optional_and_missing_says_what_is_done_instead() -> None:
    found = look({"cupy-cuda13x": "14.2.0", "tensorrt-cu13": "11.4.0.106"})
    assert verdicts(found) == {"gpu packages": OK, "gpu driver": OK}
    for name in set(CUDA13) - {"cupy-cuda13x", "tensorrt-cu13"}:
        assert f"without {name}: " in found[0].found


@pytest.mark.parametrize(
    ("name", "version"),
    [("cupy-cuda13x", "13.0.0"), ("tensorrt-cu13", "10.16.1.11"), ("torch", "2.15.0+cpu")],
)
def test_a_version_that_does_not_go_with_the_others(name: str, version: str) -> None:
    found = look({**CUDA13, name: version})
    assert verdicts(found) == {"gpu packages": WARN, "gpu driver": OK}
    assert f"{name} {version} (wanted " in found[0].found


@pytest.mark.parametrize(
    ("installed", "driver", "verdict", "says"),
    [
        (CUDA13, "580.0", OK, ""),
        (CUDA13, "570.86.10", FAIL, "cuda12"),
        (CUDA13, "470.1", FAIL, "580 or newer"),
        (CUDA12, "570.86.10", OK, ""),
        (CUDA12, "525.60.13", FAIL, "535 or newer"),
    ],
)
def test_the_driver_must_know_the_packages_cuda(
    installed: dict[str, str], driver: str, verdict: Verdict, says: str
) -> None:
    finding = look(installed, driver=driver)[-1]
    assert (finding.check, finding.verdict) == ("gpu driver", verdict)
    assert says in finding.next_step
    assert ("cuda12" in finding.next_step) is (says == "cuda12")


def test_two_packages_of_one_module() -> None:
    found = look({"onnxruntime": "1.31.1", "onnxruntime-gpu": "1.31.1"}, gpus=0, driver=None)
    assert verdicts(found) == {"onnxruntime": FAIL, "gpu packages": OK}


def test_what_is_installed_here_is_found() -> None:
    assert installed_versions()["numpy"]


def test_the_driver_says_its_version(tmp_path: Path) -> None:
    file = tmp_path / "version"
    assert driver_version(file, "no-such-library.so") is None
    file.write_text("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.10  Release\n")
    assert driver_version(file, "no-such-library.so") == "570.86.10"


@pytest.mark.parametrize(("failing", "version"), [("", "580.65.06"), ("init", None), ("get", None)])
def test_nvml_says_it_where_the_kernel_does_not(
    failing: str, version: str | None, tmp_path: Path
) -> None:
    assert shutil.which("gcc"), "gcc is missing: a stand-in of NVML is made with it"
    source = f"""
    #include <string.h>
    static int up;
    int nvmlInit_v2(void) {{ up = {int(failing != "init")}; return !up; }}
    int nvmlSystemGetDriverVersion(char *text, unsigned length) {{
        if (!up || length < 80) return 1;
        strcpy(text, "580.65.06");
        return {int(failing == "get")};
    }}
    int nvmlShutdown(void) {{ return 0; }}
    """
    (tmp_path / "nvml.c").write_text(source)
    library = tmp_path / "libnvidia-ml.so.1"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-o", str(library), str(tmp_path / "nvml.c")], check=True
    )
    assert driver_version(tmp_path / "none", str(library)) == version
