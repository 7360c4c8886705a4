"""The wheel has all it needs, and works from any directory without the source tree."""

import os
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

from kernels.cuda import modules
from kernels.cuda.modules import ARCHITECTURES

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("farm", "cluster", "actors", "scheduler", "kernels")


def call(*command: str | Path, cwd: Path, home: Path | None = None) -> str:
    """Run a command with a home of its own and nothing of ours in the environment."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SWAPFARM_", "XDG_", "PYTHON"))
    }
    if home:
        environment["HOME"] = str(home)
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    call(
        *(sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"),
        *("--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT),
        cwd=folder,
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A throw-away environment with the wheel; everything else comes from the present one."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    call(
        *(sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python),
        *("install", "--quiet", "--no-deps", "--no-index", wheel),
        cwd=folder,
    )
    (packages,) = folder.glob("lib/python3.*/site-packages")
    # The packages of the present environment, but not its .pth files: one of those leads to the
    # source tree, which the wheel must do without.
    here = [each for each in sys.path if each.endswith("site-packages")]
    (packages / "present.pth").write_text("\n".join(here) + "\n")
    return folder


def test_the_wheel_has_every_module_and_every_data_file(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        str(path.relative_to(ROOT))
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    wanted |= {
        f"farm/{path.relative_to(ROOT)}" for path in (ROOT / "configs").rglob("*") if path.is_file()
    }
    assert any(name.startswith("farm/configs/") for name in wanted)
    assert wanted <= inside, sorted(wanted - inside)


def test_the_wheel_has_machine_code_for_each_named_gpu(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    names = [f"kernels/{modules.cubin_path(Path('cuda/cubins'), each)}" for each in ARCHITECTURES]
    assert all(archive.read(name).startswith(b"\x7fELF") for name in names)


def test_the_wheel_has_nothing_else(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert tops == {*ROOMS, f"swapfarm-{version('swapfarm')}.dist-info"}


def test_the_wheel_carries_its_licence_and_is_kept_off_the_index(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    info = f"swapfarm-{version('swapfarm')}.dist-info"
    assert "Apache License" in archive.read(f"{info}/licenses/LICENSE").decode()
    assert "Classifier: Private :: Do Not Upload" in archive.read(f"{info}/METADATA").decode()


def test_the_installed_command_works_from_any_directory(installed: Path, tmp_path: Path) -> None:
    farm = installed / "bin" / "farm"
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    assert call(farm, "--version", cwd=elsewhere, home=tmp_path) == f"farm {version('swapfarm')}\n"
    where = call(
        installed / "bin" / "python",
        *("-c", "import farm, kernels; print(farm.__file__, kernels.__file__)"),
        cwd=elsewhere,
        home=tmp_path,
    )
    assert str(ROOT) not in where
    assert where.count(str(installed)) == 2
    listed = call(farm, "models", "list", cwd=elsewhere, home=tmp_path)
    assert "face" in listed
    call(farm, "submit", "--help", cwd=elsewhere, home=tmp_path)
    assert list(elsewhere.iterdir()) == []
