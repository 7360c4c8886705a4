"""Quantising on a film, and a job that then runs in INT8: with stand-ins, on real faces."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import farm.quantizing as quantizing
from actors.fidelity import Fidelity, PointFidelity
from actors.inference.networks import resolve_precision
from actors.models import ModelStore
from benchmarks.standins import standin_store
from farm.halving import halve_model
from farm.quantizing import quantize_model
from scheduler.errors import ModelInexact, SettingInvalid

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("arcface_w600k_r50", "crossface_simswap")


def store_of(folder: Path, models: ModelStore, *names: str, size: str = "tiny") -> ModelStore:
    return standin_store(folder, names=[*names, *NEEDED], size=size, beside=models)


@pytest.mark.parametrize(
    "name", ["hyperswap_1a_256", "inswapper_128", "simswap_256", "blendswap_256", "gpen_bfr_256"]
)
def test_each_kind_of_network_is_calibrated_with_the_films_faces(
    name: str, models: ModelStore, samples: dict[str, Path], tmp_path: Path
) -> None:
    store = store_of(tmp_path, models, name)
    done = quantize_model(store, name, samples["wolfgang_langer"], 8)
    assert done.held_out == 2
    assert done.convolutions > 0
    assert isinstance(done.fidelity, Fidelity)
    assert done.fidelity.psnr > 32
    later = ModelStore(tmp_path)
    assert str(later.path(f"{name}.int8")) == done.path
    small = later.registry[f"{name}.int8"]
    assert small.origin == f"quantized:{store.registry[name].sha256}"
    assert small.standin
    assert small.licence == store.registry[name].licence
    assert replace(small, **of(later.registry[name])) == later.registry[name]


def of(spec: object) -> dict[str, object]:
    keys = ("name", "about", "source", "sha256", "bytes")
    return {key: getattr(spec, key) for key in keys}


def test_codeformer_is_calibrated_with_its_weight(
    models: ModelStore, samples: dict[str, Path], tmp_path: Path
) -> None:
    standin_store(tmp_path, names=["codeformer", *NEEDED], size="small", beside=models)
    store = ModelStore(tmp_path)
    assert quantize_model(store, "codeformer", samples["wolfgang_langer"], 8).convolutions > 0


@pytest.mark.parametrize("name", ["2dfan4", "peppa_wutz"])
def test_landmarkers_are_calibrated_with_the_films_faces(
    name: str, models: ModelStore, samples: dict[str, Path], tmp_path: Path
) -> None:
    store = standin_store(tmp_path, names=[name], size="small", beside=models)
    done = quantize_model(store, name, samples["wolfgang_langer"], 8)
    assert isinstance(done.fidelity, PointFidelity)
    assert done.fidelity.offset < 1
    assert done.convolutions > 0


@pytest.mark.parametrize("name", ["hyperswap_1a_256", "2dfan4"])
def test_fp16_is_compared_on_the_films_faces(
    name: str, models: ModelStore, samples: dict[str, Path], tmp_path: Path
) -> None:
    store = store_of(tmp_path, models, name)
    done = halve_model(store, name, samples["wolfgang_langer"], 8)
    assert (done.faces, done.nodes > 0) == (8, True)
    assert not done.fidelity.shortfalls
    later = ModelStore(tmp_path)
    assert str(later.path(f"{name}.fp16")) == done.path
    assert resolve_precision(later, [name], "fp16") == "fp16"
    assert later.registry[f"{name}.fp16"].standin


def test_what_is_refused_is_not_kept(
    models: ModelStore, samples: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(tmp_path, models, "hyperswap_1a_256")
    before = sorted((tmp_path / "models").iterdir())
    poor = Fidelity(psnr=20.0, ssim=0.99, identity=0.99)
    monkeypatch.setattr(quantizing, "compare", lambda *_, **__: poor)
    with pytest.raises(ModelInexact, match=r"PSNR in dB 20\.0"):
        quantize_model(store, "hyperswap_1a_256", samples["wolfgang_langer"], 8)
    here = [path for path in (tmp_path / "models").iterdir() if path.suffix != ".lock"]
    assert sorted(here) == [path for path in before if path.suffix != ".lock"]


def test_a_film_without_faces(models: ModelStore, samples: dict[str, Path], tmp_path: Path) -> None:
    store = store_of(tmp_path, models, "hyperswap_1a_256")
    with pytest.raises(SettingInvalid, match="0 faces in"):
        quantize_model(store, "hyperswap_1a_256", samples["no_face"], 8)


def test_the_benchmark_holds_int8_to_its_promise(models: ModelStore, tmp_path: Path) -> None:
    report = tmp_path / "precision.json"
    script = ROOT / "benchmarks" / "precision.py"
    environment = {"PYTHONPATH": str(ROOT), "SWAPFARM_CACHE_DIR": str(models.cache)}
    done = subprocess.run(
        [sys.executable, script, "--quick", "--json", report],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(report.read_text())
    assert facts["standin"] is True
    assert facts["fidelity"]["psnr"] > 32
    if {"avx512_vnni", "avx_vnni", "amx_int8"} & set(facts["cpu_flags"]):
        assert facts["int8_ratio"] > 1.8, "2.5 on a quiet machine; this one may be busy"
