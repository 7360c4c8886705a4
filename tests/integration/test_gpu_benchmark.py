"""benchmarks/gpu.py: it works, shows no figures that are nobody's, and says what it lacks."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from actors.gpu import Gpu
from actors.models import ModelStore
from benchmarks.gpu import HostClock, PlayedCard, measure, show
from tests.support.cuda_device import Devices

pytestmark = pytest.mark.timeout(1200)

ROOT = Path(__file__).resolve().parents[2]


def test_all_of_it_runs_on_kernels_played_by_the_cpu(
    models: ModelStore, devices: Devices, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = PlayedCard(gpu=Gpu(device=devices.usual(), clock=HostClock()))
    given = argparse.Namespace(quick=True, self_test=True, real=False, clip=None)
    found = measure(card, given, tmp_path)
    launches = {row["step"]: row["launches"] for row in found["kernels"]}
    assert launches.pop("crop, same size") == launches.pop("8 crops to a tensor") == 1
    # No face of the small frame that is played here is larger than the crop.
    assert launches.pop("crop, box means") == 1
    assert all(2 <= count <= 12 for count in launches.values()), "as docs/gpu.md says"
    assert all(row["us"] > 0 for row in found["kernels"])
    assert [row["batch"] for row in found["networks"]] == [1, 4]
    (film,) = found["film"]
    assert film["frames"] == 2
    assert film["parts"]["render.compositor"]["gpu_ms_per_frame"] > 0
    assert "render.encoder" in film["parts"]
    show(found | {"film": [film, {"device": "cuda", "lacks": "a GPU"}]})
    told = capsys.readouterr().out
    assert "render.compositor" in told
    assert "not measured: a GPU" in told


def test_without_a_gpu_it_ends_with_one_error(tmp_path: Path) -> None:
    (tmp_path / "cupy.py").write_text("raise ImportError('not on this machine')\n")
    done = subprocess.run(
        [sys.executable, "benchmarks/gpu.py", "--json", str(tmp_path / "gpu.json")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.startswith("error[gpu.unavailable]: CuPy cannot be imported: not on this")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "gpu.json").exists()
