"""FP16 files: what becomes half floats, what stays, and that the rehearsal shows the rounding."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto

from actors.fidelity import compare, demand
from actors.half import rehearse, to_half
from actors.inference.networks import file_name, open_network, resolve_precision
from actors.inference.onnx import Onnx
from actors.models import ModelStore
from benchmarks.standins import build, standin_store
from scheduler.errors import ModelCorrupt, ModelInexact, ModelUnavailable, SettingInvalid
from tests.unit.actors.small_networks import Node, network

NAME = "hyperswap_1a_256"


def numbers(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).random(shape, np.float32)


def made(folder: Path, source: Path) -> tuple[Path, Path]:
    """The FP16 file of a network, and its rehearsal."""
    half, trial = folder / "half.onnx", folder / "trial.onnx"
    assert to_half(source, half) > 0
    rehearse(half, trial)
    return half, trial


def scaled(path: Path, factor: float) -> Path:
    """x times a matrix of ones, times a factor and back: what is between does not show."""
    nodes: list[Node] = [
        ("MatMul", ["input", "ones"], "sum", {}),
        ("Mul", ["sum", "up"], "large", {}),
        ("Mul", ["large", "down"], "output", {}),
    ]
    constants = {"ones": np.ones((4, 4)), "up": factor, "down": 1 / factor}
    network(
        path,
        inputs={"input": ["n", 4]},
        outputs={"output": ["n", 4]},
        nodes=nodes,
        constants=constants,
    )
    return path


@pytest.mark.parametrize("name", [NAME, "inswapper_128", "gfpgan_1.4", "2dfan4"])
def test_inputs_outputs_and_what_it_says_of_itself_stay(name: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(build(name).SerializeToString())
    half, trial = made(tmp_path, path)
    one, other, played = (Onnx.load(each) for each in (path, half, trial))
    assert one.inputs == other.inputs == played.inputs
    assert one.outputs == other.outputs == played.outputs
    assert other.standin
    inner = {each.data_type for each in onnx.load(half).graph.initializer}
    assert TensorProto.FLOAT16 in inner
    kinds = {each.data_type for each in onnx.load(trial).graph.initializer}
    assert TensorProto.FLOAT16 not in kinds


def test_the_rehearsal_is_near_and_not_the_same(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(build(NAME).SerializeToString())
    _, trial = made(tmp_path, path)
    arrays = numbers(2, 512), numbers(2, 3, 256, 256)
    (one, _), (other, _) = Onnx.load(path).run(*arrays), Onnx.load(trial).run(*arrays)
    assert 0 < abs(one - other).max() < 0.01


def test_each_layer_is_rounded(tmp_path: Path) -> None:
    """Against NumPy's half floats, which ONNX Runtime's CPU kernels do not give."""
    half, trial = made(tmp_path, scaled(tmp_path / "net.onnx", 3.0))
    x = numbers(5, 4)
    exact = x.astype(np.float16).astype(np.float32)
    total = (exact @ np.ones((4, 4), np.float32)).astype(np.float16)
    large = (total * np.float16(3)).astype(np.float16)
    wanted = (large.astype(np.float32) * np.float32(np.float16(1 / 3))).astype(np.float16)
    assert np.array_equal(Onnx.load(trial).run(x)[0], wanted.astype(np.float32))
    assert not np.array_equal(Onnx.load(half).run(x)[0], wanted.astype(np.float32))


def test_what_is_too_large_for_half_floats_shows(tmp_path: Path) -> None:
    half, trial = made(tmp_path, scaled(tmp_path / "net.onnx", 30_000.0))
    x = numbers(1, 4) + 1
    assert np.isfinite(Onnx.load(half).run(x)[0]).all()  # why a rehearsal is needed
    assert np.isinf(Onnx.load(trial).run(x)[0]).all()


def test_the_gate_refuses_what_half_floats_cannot_hold(tmp_path: Path) -> None:
    """A swapper that scales its picture up and down again between layers."""
    picture = ["n", 3, 8, 8]
    nodes: list[Node] = [
        ("Conv", ["target", "kernel"], "mixed", {}),
        ("Mul", ["mixed", "up"], "large", {}),
        ("Mul", ["large", "down"], "output", {}),
    ]
    fidelities = []
    for place, factor in enumerate((4.0, 200_000.0)):
        folder = tmp_path / str(place)
        folder.mkdir()
        kernel = np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)
        exact = network(
            folder / "net.onnx",
            inputs={"target": picture},
            outputs={"output": picture},
            nodes=nodes,
            constants={"kernel": kernel, "up": factor, "down": 1 / factor},
        )
        _, trial = made(folder, folder / "net.onnx")
        row = {"target": numbers(1, 3, 8, 8)}
        fidelities.append(compare(exact, Onnx.load(trial), [row], signed=False))
    demand(fidelities[0], "this one", "FP16")
    with pytest.raises(ModelInexact, match="in FP16"):
        demand(fidelities[1], "that one", "FP16")


def test_sums_and_norms_stay_in_float(tmp_path: Path) -> None:
    nodes: list[Node] = [
        ("Conv", ["input", "kernel"], "mixed", {}),
        ("InstanceNormalization", ["mixed", "scale", "bias"], "normal", {}),
        ("ReduceMean", ["normal"], "output", {"axes": [2, 3]}),
    ]
    network(
        tmp_path / "net.onnx",
        inputs={"input": ["n", 3, 8, 8]},
        outputs={"output": ["n", 3, 1, 1]},
        nodes=nodes,
        constants={"kernel": numbers(3, 3, 1, 1), "scale": [1, 1, 1], "bias": [0, 0, 0]},
    )
    half, _ = made(tmp_path, tmp_path / "net.onnx")
    graph = onnx.shape_inference.infer_shapes(onnx.load(half)).graph
    types = {each.name: each.type.tensor_type.elem_type for each in graph.value_info}
    given = {node.op_type: types.get(node.output[0], TensorProto.FLOAT) for node in graph.node}
    assert given["Conv"] == TensorProto.FLOAT16
    assert given["InstanceNormalization"] == given["ReduceMean"] == TensorProto.FLOAT


def test_what_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.onnx"
    with pytest.raises(ModelCorrupt, match="cannot be made FP16"):
        to_half(path, tmp_path / "half.onnx")
    network(
        path,
        inputs={"input": ["n", 4]},
        outputs={"output": ["n", 4]},
        nodes=[("Abs", ["input"], "output", {})],
    )
    with pytest.raises(ModelCorrupt, match="no work"):
        to_half(path, tmp_path / "half.onnx")
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(SettingInvalid, match="onnx is not installed"):
        to_half(path, tmp_path / "half.onnx")


def test_which_file_is_run(tmp_path: Path) -> None:
    store = standin_store(tmp_path, names=[NAME])
    spec, draft = store.registry[NAME], tmp_path / "draft.onnx"
    for made_of, wanted in (("0" * 64, "as it is now"), (spec.sha256, "")):
        to_half(store.path(NAME), draft)
        source = f"quantized:{made_of}#{NAME}.onnx"
        store.keep(replace(spec, name=f"{NAME}.fp16", source=source), draft)
        if wanted:
            with pytest.raises(ModelUnavailable, match=wanted):
                resolve_precision(ModelStore(tmp_path), [NAME], "fp16")
    ready = ModelStore(tmp_path)
    assert resolve_precision(ready, [NAME], "fp16") == "fp16"
    assert resolve_precision(ready, [NAME], "auto") == "fp32"
    assert isinstance(open_network(ready, file_name(NAME, "fp16")), Onnx)
    ready.path(f"{NAME}.fp16").unlink()
    with pytest.raises(ModelUnavailable) as raised:
        ready.path(f"{NAME}.fp16")
    assert f"farm models quantize {NAME} --calibrate VIDEO --to fp16" in raised.value.next_step
