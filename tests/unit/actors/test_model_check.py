"""The check of a model against the registry: right ones pass, each kind of wrong one is named."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from actors.model_check import check_model, drawn_face
from actors.registry import ModelSpec, Registry
from benchmarks.standins import PLANS, build
from scheduler.errors import ModelCorrupt, SettingInvalid

REGISTRY = Registry.load()


@pytest.fixture
def save(tmp_path: Path) -> Callable[[onnx.ModelProto], Path]:
    def to_file(model: onnx.ModelProto) -> Path:
        path = tmp_path / "net.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    return to_file


Save = Callable[[onnx.ModelProto], Path]


@pytest.mark.parametrize("name", PLANS)
def test_every_stand_in_fits(name: str, save: Save) -> None:
    found = check_model(REGISTRY[name], save(build(name)))
    assert found.problems == ()
    assert found.standin
    assert len(found.outputs) == len(REGISTRY[name].outputs)


@pytest.mark.parametrize(
    ("name", "other", "problem"),
    [
        ("hyperswap_1a_256", "simswap_256", "1 outputs, not 2"),
        ("simswap_256", "inswapper_128", "input 'target' is [3, 128, 128], not [3, 256, 256]"),
        ("gfpgan_1.4", "codeformer", "inputs that the registry does not know: weight"),
        ("codeformer", "gfpgan_1.4", "no input 'weight'; its inputs are input"),
        ("xseg_1", "2dfan4", "input 'input' is [3, 256, 256], not [256, 256, 3]"),
        ("fairface", "arcface_w600k_r50", "input 'input' is [3, 112, 112], not [3, 224, 224]"),
        ("ghost_1_256", "blendswap_256", "input 'source' is [3, 112, 112], not [512]"),
        ("peppa_wutz", "2dfan4", "2 outputs, not 1"),
    ],
)
def test_another_model_under_the_name(name: str, other: str, problem: str, save: Save) -> None:
    assert problem in check_model(REGISTRY[name], save(build(other))).problems


def test_values_of_another_range(save: Save) -> None:
    """A swapper that takes and gives 0..1 where the registry says -1..1."""
    found = check_model(REGISTRY["ghost_1_256"], save(build("simswap_256")))
    (problem,) = found.problems
    assert problem.startswith("output 0 has values of 0.")
    assert problem.endswith(" only, for a picture of -1 to 1")
    spec = replace(REGISTRY["retinaface_10g"], range=(-90.0, -80.0))
    (problem,) = check_model(spec, save(build("retinaface_10g"))).problems
    assert problem.startswith("output 0 has values of ")
    assert problem.endswith("not of -90 to -80")


def test_an_output_of_another_shape(save: Save) -> None:
    spec = REGISTRY["2dfan4"]
    wrong = replace(spec, outputs=((1, 68, 2), *spec.outputs[1:]))
    assert check_model(wrong, save(build("2dfan4"))).problems == (
        "output 0 is [1, 68, 3], not [1, 68, 2]",
    )


def test_numbers_that_are_none(save: Save) -> None:
    model = build("arcface_w600k_r50")
    for weight in model.graph.initializer:
        if list(weight.dims) == [344, 512]:
            weight.raw_data = np.full((344, 512), np.nan, np.float32).tobytes()
    assert check_model(REGISTRY["arcface_w600k_r50"], save(model)).problems == (
        "output 0 has numbers that are none",
    )


def test_what_cannot_be_checked(tmp_path: Path) -> None:
    with pytest.raises(ModelCorrupt):
        check_model(REGISTRY["2dfan4"], tmp_path / "nothing.onnx")
    with pytest.raises(SettingInvalid, match="dlib") as raised:
        check_model(REGISTRY["dlib_shape_predictor_5"], tmp_path / "points.dat")
    assert "farm models verify dlib_shape_predictor_5" in raised.value.next_step


def test_a_model_of_which_nothing_is_written_down(save: Save) -> None:
    spec = ModelSpec(
        name="net", about="", source="file:/net", licence="", credit="", kind="swapper"
    )
    found = check_model(spec, save(build("inswapper_128")))
    assert found.problems == ()
    assert found.inputs == ("target [3, 128, 128]", "source [512]")


def test_the_drawn_face() -> None:
    face = drawn_face(300, 200)
    assert face.shape == (200, 300, 3)
    assert (face == drawn_face(300, 200)).all()
    assert 0 <= face.min() < 0.2
    assert 0.8 < face.max() <= 1
    red, green, blue = face[75, 150]
    assert red > green > blue, "skin"
