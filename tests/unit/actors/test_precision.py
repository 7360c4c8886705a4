"""INT8 files: what becomes INT8, what stays; and who decides which file is run."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from actors.face_networks import analysis_models, readers_of
from actors.fan import Fan
from actors.fidelity import (
    LIMITS,
    POINT_LIMITS,
    Fidelity,
    PointFidelity,
    compare,
    compare_points,
    demand,
)
from actors.inference.networks import file_name, open_network, resolve_precision
from actors.inference.onnx import Onnx
from actors.inference.openvino import OpenVino
from actors.inference.runtime import TensorSpec
from actors.models import ModelStore
from actors.quantizer import Row, quantize
from benchmarks.standins import build, standin_store
from scheduler.detection import LandmarkerSettings
from scheduler.errors import ModelCorrupt, ModelInexact, ModelUnavailable, SettingInvalid
from scheduler.jobs import PRECISIONS, AnalyseSettings

NAME = "inswapper_128"


def rows(count: int, seed: int, contrast: float = 1.0) -> list[Row]:
    """Faces and identities as a swapper of 128 pixels takes them."""
    numbers = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        coarse = numbers.random((1, 3, 8, 8)).repeat(16, 2).repeat(16, 3)
        who = numbers.standard_normal((1, 512))
        made.append(
            {
                "target": (coarse * contrast).astype(np.float32),
                "source": (who / np.linalg.norm(who) * contrast).astype(np.float32),
            }
        )
    return made


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A network and its INT8 version."""
    folder = tmp_path_factory.mktemp("int8")
    whole, small = folder / "net.onnx", folder / "net.int8.onnx"
    whole.write_bytes(build(NAME, "small").SerializeToString())
    assert quantize(whole, rows(8, seed=1), small) > 2
    assert {path.name for path in folder.iterdir()} == {whole.name, small.name}
    return whole, small


def test_inner_convolutions_are_int8_per_channel(files: tuple[Path, Path]) -> None:
    before, after = (onnx.load(path).graph for path in files)
    weights = {each.name: each for each in after.initializer}
    made_by = {name: node for node in after.node for name in node.output}
    convolutions = [node for node in after.node if node.op_type == "Conv"]
    kinds = []
    for node in convolutions:
        source = made_by.get(node.input[1])
        quantized = source is not None and source.op_type == "DequantizeLinear"
        kinds.append(quantized)
        if quantized:
            assert weights[source.input[0]].data_type == onnx.TensorProto.INT8
            assert list(weights[source.input[1]].dims) == [weights[source.input[0]].dims[0]]
    assert len(kinds) == sum(node.op_type == "Conv" for node in before.node)
    assert not kinds[0], "the first sees the picture"
    assert not kinds[-1], "the last makes the picture"
    assert all(kinds[1:-1])
    assert sum(each.data_type == onnx.TensorProto.INT8 for each in weights.values())
    assert files[1].stat().st_size < 0.5 * files[0].stat().st_size


def test_a_stand_in_stays_one(files: tuple[Path, Path]) -> None:
    assert Onnx.load(files[1]).standin


def test_the_int8_version_gives_nearly_the_same(files: tuple[Path, Path]) -> None:
    exact, fast = Onnx.load(files[0]), OpenVino.load(files[1])
    found = compare(exact, fast, rows(3, seed=2), signed=False)
    demand(found, NAME)
    assert 32 < found.psnr < 90, "INT8 is not float"
    assert compare(exact, exact, rows(1, seed=2), signed=False) == Fidelity(
        psnr=np.inf, ssim=1.0, identity=1.0
    )


def test_a_badly_quantised_network_is_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    """Calibrated on next to nothing, it cuts off what real faces need."""
    bad = tmp_path / "bad.onnx"
    quantize(files[0], rows(4, seed=3, contrast=0.02), bad)
    found = compare(Onnx.load(files[0]), OpenVino.load(bad), rows(3, seed=2), signed=False)
    with pytest.raises(ModelInexact, match=r"PSNR in dB \d+\.\d \(at least 32\.0\)") as raised:
        demand(found, NAME)
    assert "--precision fp32" in raised.value.next_step


@pytest.mark.parametrize("what", ["psnr", "ssim", "identity"])
def test_each_limit_counts(what: str) -> None:
    demand(LIMITS, NAME)
    for worse in (getattr(LIMITS, what) - 0.01, float("nan")):
        with pytest.raises(ModelInexact):
            demand(replace(LIMITS, **{what: worse}), NAME)


def test_points_are_held_to_their_own_limits() -> None:
    demand(POINT_LIMITS, "2dfan4")
    for worse in (
        replace(POINT_LIMITS, offset=POINT_LIMITS.offset + 0.1),
        replace(POINT_LIMITS, score=POINT_LIMITS.score + 0.01),
        replace(POINT_LIMITS, offset=float("nan")),
    ):
        with pytest.raises(ModelInexact, match=r"at most"):
            demand(worse, "2dfan4")


class Points:
    """A landmarker that says always the same."""

    inputs = (TensorSpec(name="input", shape=(3, 256, 256), dtype="float32"),)
    outputs = ()

    def __init__(self, shift: float, peak: float) -> None:
        places = np.arange(68 * 3, dtype=np.float32).reshape(1, 68, 3)
        places[..., :2] += np.float32(shift)
        places[..., 2] = peak
        self._answer = (places, np.full((1, 68, 64, 64), peak, np.float32))

    def run(self, *_: np.ndarray) -> tuple[np.ndarray, ...]:
        return self._answer


def test_points_are_compared_in_pixels_of_the_crop() -> None:
    row = {"input": np.zeros((1, 3, 256, 256), np.float32)}
    exact, moved, unsure = Points(0.0, 0.9), Points(0.25, 0.9), Points(0.0, 0.72)
    found = compare_points(exact, moved, [row], Fan)
    assert found.offset == pytest.approx(2**0.5)  # a quarter of a cell, of four pixels, both ways
    assert found.score == 0
    found = compare_points(exact, unsure, [row], Fan)
    assert found == PointFidelity(offset=0.0, score=pytest.approx(0.2))


def test_another_person_is_seen(files: tuple[Path, Path]) -> None:
    network = Onnx.load(files[0])

    def embed(crop: np.ndarray) -> np.ndarray:
        return np.array([crop.mean(), 0.1 * (-1) ** len(asked.append(0) or asked)])

    asked: list[int] = []
    found = compare(network, network, rows(1, seed=0), signed=False, embed=embed)
    assert found.identity < 0.99
    assert len(asked) == 2


def test_what_cannot_be_quantised(tmp_path: Path) -> None:
    target = tmp_path / "out.onnx"
    no_network = tmp_path / "rubbish.onnx"
    no_network.write_bytes(b"rubbish")
    with pytest.raises(ModelCorrupt, match="cannot be prepared"):
        quantize(no_network, rows(1, seed=0), target)
    matrix = tmp_path / "matrix.onnx"
    matrix.write_bytes(build("crossface_ghost").SerializeToString())
    with pytest.raises(ModelCorrupt, match="no convolution"):
        quantize(matrix, [{"input": np.zeros((1, 512), np.float32)}], target)
    assert not target.exists()


def ready_store(folder: Path, made_of: str = "") -> ModelStore:
    """A store with the network and an INT8 file that was made of it, or of another one."""
    store = standin_store(folder, names=[NAME])
    spec = store.registry[NAME]
    draft = folder / "draft.onnx"
    quantize(store.path(NAME), rows(1, seed=0), draft)
    source = f"quantized:{made_of or spec.sha256}#{NAME}.onnx"
    store.keep(replace(spec, name=f"{NAME}.int8", source=source), draft)
    return ModelStore(folder)


def test_which_file_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = standin_store(tmp_path / "plain", names=[NAME])
    for asked in ("fp32", "auto"):
        assert resolve_precision(plain, [NAME], asked) == "fp32"
    with pytest.raises(ModelUnavailable, match=f"no quantised file of {NAME}") as raised:
        resolve_precision(plain, [NAME], "int8")
    assert f"farm models quantize {NAME} --calibrate" in raised.value.next_step
    with pytest.raises(SettingInvalid, match="'int4'"):
        resolve_precision(plain, [NAME], "int4")

    ready = ready_store(tmp_path / "ready")
    answers = {
        asked: resolve_precision(ready, [NAME], asked) for asked in PRECISIONS if asked != "fp16"
    }
    assert answers == {"fp32": "fp32", "int8": "int8", "auto": "int8"}
    with pytest.raises(ModelUnavailable, match=f"no FP16 file of {NAME}") as raised:
        resolve_precision(ready, [NAME], "fp16")
    assert "--to fp16" in raised.value.next_step
    assert resolve_precision(ready, [], "int8") == "fp32"
    monkeypatch.setattr(OpenVino, "installed", lambda: False)
    assert resolve_precision(ready, [NAME], "auto") == "fp32"


def test_an_int8_file_of_another_network_is_not_run(tmp_path: Path) -> None:
    stale = ready_store(tmp_path, made_of="0" * 64)
    assert resolve_precision(stale, [NAME], "auto") == "fp32"
    with pytest.raises(ModelUnavailable, match="as it is now"):
        resolve_precision(stale, [NAME], "int8")


def test_each_file_has_its_runtime(tmp_path: Path) -> None:
    store = ready_store(tmp_path)
    names: Sequence[str] = [file_name(NAME, precision) for precision in ("fp32", "int8")]
    kinds = [type(open_network(store, name)) for name in names]
    assert kinds == [Onnx, OpenVino]


def test_the_precision_says_which_files_a_job_runs() -> None:
    settings = AnalyseSettings(landmarker=LandmarkerSettings(model="many", precision="int8"))
    names = analysis_models(settings)
    assert names[1:] == ("2dfan4.int8", "peppa_wutz.int8", "fan_68_5")
    assert readers_of(settings.landmarker) == ("2dfan4", "peppa_wutz")
    assert readers_of(LandmarkerSettings()) == ()


def test_without_openvino(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(SettingInvalid, match="OpenVINO is not installed") as raised:
        OpenVino.load(files[1])
    assert "swapfarm[openvino]" in raised.value.next_step


def test_without_onnx(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(SettingInvalid, match="onnx is not installed") as raised:
        quantize(files[0], rows(1, seed=0), tmp_path / "out.onnx")
    assert "swapfarm[quantize]" in raised.value.next_step
